//go:build e2e

package mirror

import (
	"path/filepath"
	"testing"

	"multiactive.dev/operator/internal/testkit/apachekafka"
)

// The tests of this package run on Apache Kafka, and on the embedded one in `make test`.

// brokersForget: one that was killed knows still what it has of its producers.
const brokersForget = false

// defaultSoakRuns of TestSoak.
const defaultSoakRuns = 50

// inside runs a broker for tests that kill nothing.
func inside(t *testing.T, name string) string {
	t.Helper()
	return startKafka(t, name).Addr
}

// startKafka runs a broker that can be killed.
func startKafka(t *testing.T, name string) *broker {
	t.Helper()
	dir := t.TempDir()
	b := apachekafka.Run(t, apachekafka.Options{Name: name, Dir: dir, Properties: map[string]string{
		// One that was killed is taken for alive for as long, and its successor is refused.
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
	}})
	return &broker{t: t, broker: b, dir: dir, Addr: b.Addr()}
}

type broker struct {
	t      *testing.T
	broker *apachekafka.Broker
	dir    string
	// Addr stays the same through restarts.
	Addr string
}

// Dir is where its data are.
func (b *broker) Dir() string { return b.dir }

// keepRecords keeps what a broker that does not run has of a topic, and returns what puts it back. What is known of
// leaders stays as it is.
func keepRecords(t *testing.T, b *broker, name string) (putBack func()) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(b.dir, "*", name+"-0"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the directories of topic %s are %q: %v", name, found, err)
	}
	saved := t.TempDir()
	replaceDir(t, saved, found[0])
	return func() { t.Helper(); replaceDir(t, found[0], saved) }
}

// elect has the leader elected anew; a broker that was started has been.
func elect(*testing.T, *broker, string) {}

// Kill ends it at once.
func (b *broker) Kill() {
	b.t.Helper()
	if err := b.broker.Kill(); err != nil {
		b.t.Fatal(err)
	}
}

// Start starts it again.
func (b *broker) Start() {
	b.t.Helper()
	if err := b.broker.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}
