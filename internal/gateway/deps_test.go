package gateway

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies keeps the gateway small: one runs beside every service in every region.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "multiactive.dev/operator/cmd/gateway").Output()
	if err != nil {
		t.Fatalf("listing the gateway's dependencies: %v", err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("only %d packages were listed", len(packages))
	}
	for _, p := range packages {
		for _, refused := range []string{"k8s.io/", "sigs.k8s.io/", "go.etcd.io/", "google.golang.org/grpc"} {
			if strings.HasPrefix(p, refused) {
				t.Errorf("the gateway imports %s", p)
			}
		}
	}
	// The request path knows deferred requests by a port; only the program brings Kafka's client along.
	out, err = exec.CommandContext(t.Context(), "go", "list", "-deps", "multiactive.dev/operator/internal/gateway").Output()
	if err != nil {
		t.Fatalf("listing the request path's dependencies: %v", err)
	}
	if strings.Contains(string(out), "github.com/twmb/") {
		t.Error("the request path imports Kafka's client")
	}
}
