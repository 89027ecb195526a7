package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

// podsOf returns the Pods of what was rendered, by the names of what makes them.
func podsOf(t *testing.T, manifests []byte) map[string]corev1.Pod {
	t.Helper()
	pods := map[string]corev1.Pod{}
	for _, o := range decode(t, manifests) {
		var path []string
		switch o.GetKind() {
		case "Pod":
		case "Deployment", "StatefulSet":
			path = []string{"spec", "template"}
		default:
			continue
		}
		content := o.Object
		for _, key := range path {
			content = content[key].(map[string]any)
		}
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, &pod, len(path) > 0); err != nil {
			t.Fatal(err)
		}
		claims, _, err := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		if err != nil {
			t.Fatal(err)
		}
		for _, claim := range claims {
			name, _, _ := unstructured.NestedString(claim.(map[string]any), "metadata", "name")
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name})
		}
		pod.Name, pod.Namespace = strings.ToLower(o.GetKind())+"-"+o.GetName(), namespace
		pods[o.GetKind()+"/"+o.GetName()] = pod
	}
	return pods
}

// checkArguments are those of the Pod that `helm test` runs.
func checkArguments(t *testing.T, mode string, coordination []string) []string {
	t.Helper()
	pod, rendered := podsOf(t, run(t, "helm", "template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion,
		"--set", "mode="+mode, "--set", "region=north", "--set", "coordination.endpoints={"+strings.Join(coordination, ",")+"}"))["Pod/multiactive-"+mode+"-check"]
	if !rendered || pod.Annotations["helm.sh/hook"] != "test" {
		t.Fatalf("mode %s has no Pod for `helm test`", mode)
	}
	if program := pod.Spec.Containers[0].Command; len(program) != 1 || program[0] != "/manager" {
		t.Fatalf("the Pod runs %v", program)
	}
	return pod.Spec.Containers[0].Args
}

func buildManager(t *testing.T) string {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	manager := filepath.Join(t.TempDir(), "manager")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", manager, "./cmd/manager")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the manager: %v\n%s", err, out)
	}
	return manager
}

func adminKubeconfig(t *testing.T, server *apiserver.Server) string {
	t.Helper()
	content, err := server.Kubeconfig(apiserver.Admin)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// What `helm test` runs says what is missing, and is content when nothing is.
func TestHelmTest(t *testing.T) {
	manager := buildManager(t)
	server := testkit.StartServer(t, apiserver.Options{})
	kubeconfig := adminKubeconfig(t, server)
	store := testkit.StartStore(t, etcdstore.Options{}, "north")
	check := func(when, mode string, passes bool, lines ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), manager, append(checkArguments(t, mode, store.Endpoints()), "--kubeconfig="+kubeconfig)...)
		out, err := c.CombinedOutput()
		if (err == nil) != passes {
			t.Errorf("%s, as a %s: %v, want it to pass: %t\n%s", when, mode, err, passes, out)
		}
		for _, line := range lines {
			if !strings.Contains(string(out), line) {
				t.Errorf("%s, as a %s: nothing says %q in\n%s", when, mode, line, out)
			}
		}
	}
	check("without resources", "hub", false, "FAILED  regions: the cluster lacks the resource", "ok      coordination store")
	testkit.InstallCRDs(t, server)
	check("with all", "hub", true, "ok      multiactiveservices", "ok      coordination store")
	check("with all", "member", true, "ok      replicationlinks")
	check("with all", "peer", true, "ok      regionincidents", "ok      regionalservices")
	if err := store.Kill(); err != nil {
		t.Fatal(err)
	}
	check("without a store", "member", false, "FAILED  coordination store", "ok      regionalservices")
}

// Every Pod of the chart and of the kustomize bases is taken where nothing else is allowed.
func TestPodsAreRestricted(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	client, err := kubernetes.NewForConfig(testkit.Config(t, server, apiserver.Admin))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	all := map[string]corev1.Pod{}
	for _, mode := range []string{"hub", "member", "peer", "witness"} {
		chart := run(t, "helm", "template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion,
			"--values", storeValues, "--set", "mode="+mode, "--set", "region=beijing")
		for name, pod := range podsOf(t, chart) {
			all["chart, "+mode+", "+name] = pod
		}
		if mode == "witness" {
			continue
		}
		for name, pod := range podsOf(t, run(t, "kustomize", "build", "config/"+mode)) {
			all["kustomize, "+mode+", "+name] = pod
		}
	}
	if len(all) != 13 {
		t.Errorf("%d Pods, want 13: managers and checks of three modes, four members of the store, and three of kustomize", len(all))
	}
	take := func(pod corev1.Pod) error {
		pod.Spec.ServiceAccountName, pod.Spec.PriorityClassName = "", ""
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), &pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	for name, pod := range all {
		if err := take(pod); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		pod.Spec.Containers[0].SecurityContext = nil
		if err := take(pod); err == nil {
			t.Fatalf("%s is taken without a security context as well: nothing is enforced", name)
		}
	}
}
