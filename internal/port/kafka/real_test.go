//go:build e2e

package kafka_test

import (
	"testing"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

// The contract against Apache Kafka, or against brokers of one's own. The embedded one is held to it
// in its own package.
func TestRealContract(t *testing.T) {
	brokers := kafkatest.RealBrokers()
	if brokers == nil {
		brokers = []string{apachekafka.Run(t, apachekafka.Options{Name: "contract"}).Addr()}
	}
	kafkatest.Contract(t, kafka.Options{Brokers: brokers})
}
