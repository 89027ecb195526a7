package apachekafka

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Run runs a broker until the test ends. Dir has a default here, a temporary directory. When the test
// fails, the end of the broker's log is shown.
func Run(t testing.TB, o Options) *Broker {
	t.Helper()
	return RunAll(t, o)[0]
}

// RunAll runs brokers at the same time, as Run does.
func RunAll(t testing.TB, all ...Options) []*Broker {
	t.Helper()
	brokers := make([]*Broker, len(all))
	for i, o := range all {
		if o.Dir == "" {
			o.Dir = t.TempDir()
		}
		b, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { end(t, b.options.Name, b) })
		brokers[i] = b
	}
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, b := range brokers {
		wait.Go(func() { errs[i] = b.Start(t.Context()) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return brokers
}

// RunMirrorMaker runs a MirrorMaker until the test ends. Dir has a default here, a temporary directory.
func RunMirrorMaker(t testing.TB, o MirrorMakerOptions) *MirrorMaker {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	m, err := NewMirrorMaker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, m.options.Name, m) })
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// AdminOf returns a client of a broker's superuser that is closed with the test.
func AdminOf(t testing.TB, b *Broker) *kadm.Client {
	t.Helper()
	admin, err := b.Admin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return admin
}

func end(t testing.TB, name string, p interface {
	LogTail() string
	Kill() error
}) {
	t.Helper()
	if t.Failed() {
		t.Logf("end of the log of %s:\n%s", name, p.LogTail())
	}
	if err := p.Kill(); err != nil {
		t.Errorf("ending %s: %v", name, err)
	}
}
