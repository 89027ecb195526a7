package mariadb

import (
	"database/sql"
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
	servers := make([]*Server, len(all))
	for i, o := range all {
		if o.Dir == "" {
			o.Dir = shortDir(t)
		}
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { end(t, s) })
		servers[i] = s
	}
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, s := range servers {
		wait.Go(func() { errs[i] = s.Start(t.Context()) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return servers
}

// Root returns connections of the superuser, in sessions that write no binary log, closed with the test.
func Root(t testing.TB, s *Server) *sql.DB {
	t.Helper()
	db := s.Superuser()
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func end(t testing.TB, s *Server) {
	t.Helper()
	if t.Failed() {
		t.Logf("end of the log of %s:\n%s", s.options.Name, s.LogTail())
	}
	if err := s.Kill(); err != nil {
		t.Errorf("ending %s: %v", s.options.Name, err)
	}
}

// shortDir returns a directory whose path is short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "db") //nolint:usetesting // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
