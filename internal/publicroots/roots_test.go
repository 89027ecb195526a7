package publicroots

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// asked has this test's process say how many authorities it knows; a process reads them once.
const asked = "PUBLICROOTS_ASKED"

// A program on a machine that knows no authority, such as a Pod of the empty image, knows the public ones.
func TestRootsWithoutAny(t *testing.T) {
	if os.Getenv(asked) != "" {
		pool, err := x509.SystemCertPool()
		if err != nil || pool.Equal(x509.NewCertPool()) {
			t.Fatalf("no authority is known: %v", err)
		}
		return
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootsWithoutAny$")
	command.Env = append(os.Environ(), asked+"=1", "SSL_CERT_FILE="+nowhere, "SSL_CERT_DIR="+nowhere)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
