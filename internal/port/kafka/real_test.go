//go:build e2e

package kafka_test

import (
	"testing"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// The contract against a real Kafka. The embedded one is held to it in its own package.
func TestRealKafka(t *testing.T) {
	brokers := kafkatest.RealBrokers()
	if brokers == nil {
		t.Fatalf("no real Kafka: set %s=host:port", kafkatest.BrokersVariable)
	}
	kafkatest.Contract(t, brokers)
}
