package redis

import "testing"

// Run runs a server until the test ends. Dir has a default here, a temporary directory. When the test
// fails, the end of the server's log is shown.
func Run(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", s.options.Name, s.LogTail())
		}
		if err := s.Kill(); err != nil {
			t.Errorf("ending %s: %v", s.options.Name, err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
