//go:build !e2e

package mirror

import (
	"testing"

	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// The tests of this package run on the embedded Kafka, and on Apache Kafka in `make e2e`.

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

// startKafka runs a broker that can be killed.
func startKafka(t *testing.T, name string) *kafkatest.Broker {
	t.Helper()
	return kafkatest.StartBroker(t, name)
}
