package chart_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/crds"
)

// The Prometheus operator's published resources, as a Go module.
const (
	prometheusOperator    = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	prometheusOperatorSum = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
)

// moduleFiles returns the directory of a Go module that is used for its files alone, and in no module's graph.
func moduleFiles(t *testing.T, module, sum string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	c.Dir = t.TempDir()
	out, err := c.Output()
	var got struct{ Dir, Sum, Error string }
	if json.Unmarshal(out, &got) != nil || err != nil || got.Error != "" {
		t.Fatalf("fetching %s: %v\n%s", module, err, out)
	}
	if got.Sum != sum {
		t.Fatalf("%s has the sum %s, want %s", module, got.Sum, sum)
	}
	return got.Dir
}

// TestMonitoringIsAccepted: an API server with the Prometheus operator's own resources takes rules and monitors of every
// mode, strictly.
func TestMonitoringIsAccepted(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	published, dir := filepath.Join(moduleFiles(t, prometheusOperator, prometheusOperatorSum), "example", "prometheus-operator-crd"), t.TempDir()
	for _, name := range []string{"monitoring.coreos.com_podmonitors.yaml", "monitoring.coreos.com_prometheusrules.yaml"} {
		content, err := os.ReadFile(filepath.Join(published, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := crds.InstallDir(t.Context(), testkit.Config(t, server, apiserver.Admin), dir); err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, server)
	for _, mode := range []string{"hub", "member", "peer", "witness"} {
		applied := map[string]int{}
		for _, o := range decode(t, run(t, "helm", "template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion,
			"--values", storeValues, "--set", "mode="+mode, "--set", "region=beijing", "--set", "monitoring.podMonitor.enabled=true",
			"--set", "monitoring.prometheusRule.enabled=true", "--set", "monitoring.prometheusRule.alertLabels.team=platform", "--set", "monitoring.podMonitor.labels.release=prometheus")) {
			if kind := o.GetKind(); kind == "PodMonitor" || kind == "PrometheusRule" {
				cluster.apply(t, o)
				applied[kind]++
			}
		}
		if applied["PodMonitor"] == 0 || (applied["PrometheusRule"] == 0 && mode != "witness") {
			t.Errorf("mode %s has %v", mode, applied)
		}
	}
}
