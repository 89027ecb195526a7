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
		for _, refused := range []string{"k8s.io/", "sigs.k8s.io/", "go.etcd.io/", "google.golang.org/grpc", "github.com/twmb/"} {
			if strings.HasPrefix(p, refused) {
				t.Errorf("the gateway imports %s", p)
			}
		}
	}
}
