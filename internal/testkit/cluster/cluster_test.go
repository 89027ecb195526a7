//go:build e2e

package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m.Run)) }

func images(t *testing.T, names ...string) []string {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		out = append(out, filepath.Join(root, "bin", "clusters", "images", name+".tar"))
	}
	return out
}

func TestAPodRuns(t *testing.T) {
	w, err := cluster.New(cluster.Options{
		Name: "pod", Regions: []string{"north"}, Images: images(t, "pause", "coredns"), DNS: "multiactive.dev/test/coredns:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("a cluster after %s", time.Since(began))
	north := w.Cluster("north")
	ready := func() {
		t.Helper()
		testkit.Eventually(t, 2*time.Minute, func() error {
			_, err := north.Kubectl(t.Context(), "-n", "kube-system", "wait", "--for=condition=Available", "--timeout=1s", "deployment/coredns")
			return err
		})
	}
	ready()
	t.Logf("DNS after %s", time.Since(began))
	out, err := north.Kubectl(t.Context(), "get", "pods", "-A", "-o", "wide")
	if err != nil || !strings.Contains(out, "10.244.1.") {
		t.Errorf("%s %v", out, err)
	}
	t.Log(out)
}
