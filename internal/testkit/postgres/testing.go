package postgres

import (
	"os"
	"sync"
	"testing"
)

// Run runs a server until the test ends. Dir has a default here, a temporary directory. When the test
// fails, the end of the server's log is shown.
func Run(t testing.TB, o Options) *Server {
	t.Helper()
	return RunAll(t, o)[0]
}

// RunAll runs servers at the same time, as Run does.
func RunAll(t testing.TB, all ...Options) []*Server {
	t.Helper()
	servers, failures := make([]*Server, len(all)), make([]error, len(all))
	var wait sync.WaitGroup
	for i, o := range all {
		if o.Dir == "" {
			o.Dir = openDir(t)
		}
		wait.Go(func() {
			if servers[i], failures[i] = New(t.Context(), o); failures[i] == nil {
				failures[i] = servers[i].Start(t.Context())
			}
		})
	}
	wait.Wait()
	for _, s := range servers {
		if s != nil {
			t.Cleanup(func() { end(t, s) })
		}
	}
	for _, err := range failures {
		if err != nil {
			t.Fatal(err)
		}
	}
	return servers
}

func end(t testing.TB, s *Server) {
	t.Helper()
	if t.Failed() {
		t.Logf("end of the log of %s:\n%s", s.options.Name, s.LogTail())
	}
	if err := s.Close(); err != nil {
		t.Errorf("ending %s: %v", s.options.Name, err)
	}
}

// openDir returns a directory that the user can enter whom the server runs as.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postgres-") //nolint:usetesting // only root may enter those of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
