//go:build !e2e

package mirror

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// The tests of this package run on the embedded Kafka, and on Apache Kafka in `make e2e`.

// brokersForget: one that was killed does not know any more what it had of its producers.
const brokersForget = true

// defaultSoakRuns of TestSoak.
const defaultSoakRuns = 3

// inside runs a broker for tests that kill nothing, in this process.
func inside(t *testing.T, name string) string {
	t.Helper()
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", ClusterID: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.Addr()
}

// keepRecords keeps what a broker that does not run has of its topics, and returns what puts it back.
func keepRecords(t *testing.T, b *kafkatest.Broker, _ string) (putBack func()) {
	t.Helper()
	saved := t.TempDir()
	replaceDir(t, saved, b.Dir())
	return func() { t.Helper(); replaceDir(t, b.Dir(), saved) }
}

// elect has the leader elected anew.
func elect(t *testing.T, b *kafkatest.Broker, name string) {
	t.Helper()
	set := kadm.TopicsSet{}
	set.Add(name, 0)
	if _, err := administrator(t, b.Addr).ElectLeaders(t.Context(), kadm.ElectLiveReplica, set); err != nil {
		t.Fatal(err)
	}
}

// startKafka runs a broker that can be killed.
func startKafka(t *testing.T, name string) *kafkatest.Broker {
	t.Helper()
	return kafkatest.StartBroker(t, name)
}
