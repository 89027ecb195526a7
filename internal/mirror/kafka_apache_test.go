//go:build e2e

package mirror

import (
	"testing"

	"multiactive.dev/operator/internal/testkit/apachekafka"
)

// The tests of this package run on Apache Kafka, and on the embedded one in `make test`.

// inside runs a broker for tests that kill nothing.
func inside(t *testing.T, name string) string {
	t.Helper()
	return startKafka(t, name).Addr
}

// startKafka runs a broker that can be killed.
func startKafka(t *testing.T, name string) *broker {
	t.Helper()
	b := apachekafka.Run(t, apachekafka.Options{Name: name})
	return &broker{t: t, broker: b, Addr: b.Addr()}
}

type broker struct {
	t      *testing.T
	broker *apachekafka.Broker
	// Addr stays the same through restarts.
	Addr string
}

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
