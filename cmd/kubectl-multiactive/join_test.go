package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

func testJoin(t *testing.T, w *hubWorld) {
	server := testkit.StartServer(t, apiserver.Options{Name: "beijing"})
	testkit.InstallCRDs(t, server)
	there := testkit.Config(t, server, apiserver.Admin)
	w.contexts = map[string]*rest.Config{"bj": there}
	region, err := client.New(there, client.Options{Scheme: w.scheme})
	must(t, err)

	w.expect(exitUsage, "join", "Beijing", "--region-context", "bj").has("cannot be a region's name")
	w.expect(exitUsage, "join", "beijing").has("--region-context is required")
	w.expect(exitUsage, "join", "beijing", "--region-context", "bj", "--probe", "edge").has("not name=url")
	w.expect(exitUsage, "join", "beijing", "--region-context", "bj", "--server", "http://1.2.3.4").has("no https address")
	w.expect(0, "join", "beijing", "--region-context", "bj", "--dry-run").has("made       ServiceAccount multiactive-system/multiactive-hub-access in the region's cluster", "Nothing was made")
	if err := w.client.Get(t.Context(), client.ObjectKey{Name: "beijing"}, &v1alpha1.Region{}); err == nil {
		t.Error("a dry run has made a Region")
	}

	w.expect(0, "join", "beijing", "--region-context", "bj", "--probe", "edge=https://edge.bj.example.com/healthz", "--allowed-namespaces", "team=accounts").
		has("made       Region beijing in the hub's cluster", "good until ", "helm install multiactive charts/multiactive --kube-context bj", "--set region=beijing")
	again := w.expect(0, "join", "beijing", "--region-context", "bj")
	again.has("there      Region beijing", "there      ClusterRole multiactive-hub-access", "written    Secret multiactive-system/beijing")
	if strings.Contains(again.text, "Without probes") {
		t.Error("it does not look at the Region that is there")
	}
	rg := &v1alpha1.Region{}
	must(t, w.client.Get(t.Context(), client.ObjectKey{Name: "beijing"}, rg))
	if len(rg.Spec.Probes) != 1 || rg.Spec.AllowedNamespaces.Selector.MatchLabels["team"] != "accounts" {
		t.Errorf("the Region is %+v", rg.Spec)
	}

	// What the hub has been given does what the hub needs, and nothing else.
	secret := &corev1.Secret{}
	must(t, w.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "beijing"}, secret))
	access, err := clusters.Parse(secret.Data[kubeconfigKey])
	must(t, err)
	asHub, err := client.New(access.Config(), client.Options{Scheme: w.scheme})
	must(t, err)
	must(t, asHub.List(t.Context(), &v1alpha1.RegionalServiceList{}))
	if err := asHub.List(t.Context(), &corev1.SecretList{}); err == nil {
		t.Error("the hub's account may list Secrets in the region's cluster")
	}
	if err := asHub.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}); err == nil {
		t.Error("the hub's account may make namespaces in the region's cluster")
	}
	sa := &corev1.ServiceAccount{}
	must(t, region.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: hubAccess}, sa))
	if sa.Annotations["meta.helm.sh/release-name"] != "multiactive" || sa.Annotations["meta.helm.sh/release-namespace"] != namespace {
		t.Errorf("Helm would not take it over: %v", sa.Annotations)
	}
	w.expect(exitFailed, "doctor").has("warn  member/beijing", "its member has followed no coordination store yet")
}

// join gives the hub's account what the chart does.
func TestJoinIsTheChart(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "charts", "multiactive", "templates", "hub-access.yaml"))
	must(t, err)
	text := regexp.MustCompile(`(?s)\{\{- /\*.*?\*/ -\}\}`).ReplaceAllString(string(content), "")
	text = regexp.MustCompile(`(?m)^\{\{.*\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\{\{.*?\}\}`).ReplaceAllString(text, "x")
	text = regexp.MustCompile(`labels: x`).ReplaceAllString(text, "labels: {}")
	found := 0
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		want := map[string][]rbacv1.PolicyRule{"ClusterRole": clusterRules("peer"), "Role": leaseRules()}[role.Kind]
		if want == nil {
			continue
		}
		found++
		if diff := cmp.Diff(role.Rules, want); diff != "" {
			t.Errorf("%s (-chart +join):\n%s", role.Kind, diff)
		}
	}
	if found != 2 {
		t.Errorf("%d roles are in the chart's file, want 2", found)
	}
}
