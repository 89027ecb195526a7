package chart_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

// bundleOf makes a mode's bundle for OLM, and returns its directory and what the mode's kustomize base says.
func bundleOf(t *testing.T, mode, version string) (dir string, base []byte, err error) {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), mode)
	base = run(t, "kustomize", "build", "config/"+mode)
	c := exec.CommandContext(t.Context(), "go", "run", "./hack/bundle", "--mode", mode, "--version", version, "--image", "registry.example.com/multiactive", "--out", dir)
	c.Dir, c.Stdin = root, bytes.NewReader(base)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	return dir, base, err
}

// operatorsKinds are the resources of OLM itself.
func operatorsKinds(t *testing.T, name string) []byte {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/operator-framework/api")
	c.Dir = filepath.Join(root, "hack", "tools", "olm")
	module, err := c.Output()
	if err != nil {
		t.Fatalf("finding OLM's resources: %v", err)
	}
	content, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(module)), "crds", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// manifestsOf reads a bundle, and leaves its ClusterServiceVersion aside.
func manifestsOf(t *testing.T, dir string) (csv *unstructured.Unstructured, others []*unstructured.Unstructured) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "manifests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range decode(t, content) {
			if o.GetKind() == "ClusterServiceVersion" {
				csv = o
				continue
			}
			others = append(others, o)
		}
	}
	if csv == nil {
		t.Fatal("there is no ClusterServiceVersion")
	}
	return csv, others
}

// TestBundles: OLM's own validation accepts each mode's bundle, a real API server everything in it, and the manager the
// arguments that it has there with the variables of a Subscription. Its rights are those of the kustomize base, and
// those for one namespace stay there.
func TestBundles(t *testing.T) {
	manager := buildManager(t)
	store := testkit.StartStore(t, etcdstore.Options{}, "north")
	server := testkit.StartServer(t, apiserver.Options{})
	kubeconfig := adminKubeconfig(t, server)
	cluster := newCluster(t, server)
	for _, o := range decode(t, operatorsKinds(t, "operators.coreos.com_clusterserviceversions.yaml")) {
		cluster.apply(t, o)
	}
	cluster.mapper.Reset()
	testkit.InstallCRDs(t, server) // waits until they are served, those of OLM as well: they were made before
	for _, mode := range []string{"hub", "member", "peer"} {
		t.Run(mode, func(t *testing.T) {
			dir, base, err := bundleOf(t, mode, "v0.4.0")
			if err != nil {
				t.Fatal(err)
			}
			run(t, "operator-verify", "manifests", filepath.Join(dir, "manifests"))
			csv, others := manifestsOf(t, dir)
			for _, o := range append(others, csv) {
				o.SetNamespace(namespace) // where OLM applies them; without meaning for the cluster's own
				if slices.Contains([]string{"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}, o.GetKind()) {
					o.SetNamespace("")
				}
				cluster.apply(t, o)
			}
			install, _, _ := unstructured.NestedMap(csv.Object, "spec", "install", "spec")
			checkBundledRights(t, mode, install, others, decode(t, base))
			checkBundledManager(t, mode, manager, kubeconfig, store.Endpoints(), cluster, install)
		})
	}
}

func checkBundledRights(t *testing.T, mode string, install map[string]any, bundled, base []*unstructured.Unstructured) {
	t.Helper()
	account := "multiactive-" + mode
	permissions, _, _ := unstructured.NestedSlice(install, "clusterPermissions")
	if len(permissions) != 1 || install["permissions"] != nil {
		t.Fatalf("there are %d cluster permissions, and %v for namespaces, which OLM gives everywhere", len(permissions), install["permissions"])
	}
	find := func(list []*unstructured.Unstructured, kind string) any {
		for _, o := range list {
			if o.GetKind() == kind && o.GetName() == account {
				return o.Object["rules"]
			}
		}
		return nil
	}
	given := permissions[0].(map[string]any)
	if given["serviceAccountName"] != account {
		t.Errorf("the account is %v", given["serviceAccountName"])
	}
	if diff := cmp.Diff(find(base, "ClusterRole"), given["rules"]); diff != "" {
		t.Errorf("rights in the cluster (-base +bundle)\n%s", diff)
	}
	if want := find(base, "Role"); want == nil || !cmp.Equal(want, find(bundled, "Role")) {
		t.Errorf("rights in the namespace: (-base +bundle)\n%s", cmp.Diff(want, find(bundled, "Role")))
	}
}

func checkBundledManager(t *testing.T, mode, manager, kubeconfig string, endpoints []string, cluster cluster, install map[string]any) {
	t.Helper()
	deployments, _, _ := unstructured.NestedSlice(install, "deployments")
	deployment := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "spec": deployments[0].(map[string]any)["spec"],
		"metadata": map[string]any{"name": "multiactive-" + mode, "namespace": namespace},
	}}
	cluster.apply(t, deployment)
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	container := containers[0].(map[string]any)
	if container["image"] != "registry.example.com/multiactive:v0.4.0" {
		t.Errorf("the image is %v", container["image"])
	}
	args, _, _ := unstructured.NestedStringSlice(container, "args")
	if text := strings.Join(args, " "); strings.Contains(text, "multiactive.dev/operator") || (mode != "member" && !strings.Contains(text, "--webhook-cert-dir=/tmp/k8s-webhook-server/serving-certs")) {
		t.Errorf("arguments are %s", text)
	}
	command := func(env ...string) (string, error) {
		c := exec.CommandContext(t.Context(), manager, append(args, "--check", "--kubeconfig="+kubeconfig)...)
		c.Env = append(os.Environ(), env...)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := command(); err == nil || !strings.Contains(out, "--coordination-endpoints is required") {
		t.Errorf("without variables: %v\n%s", err, out)
	}
	variables := []string{"MULTIACTIVE_MANAGER_COORDINATION_ENDPOINTS=" + strings.Join(endpoints, ","), "MULTIACTIVE_MANAGER_REGION=north"}
	if out, err := command(variables...); err != nil {
		t.Errorf("with the variables of a Subscription: %v\n%s", err, out)
	}
}

func TestBundlesNeedAVersion(t *testing.T) {
	for _, version := range []string{"", "dev", "0.4", "1.2.3; true"} {
		if _, _, err := bundleOf(t, "hub", version); err == nil {
			t.Errorf("version %q is taken", version)
		}
	}
}
