package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// What stands behind markers alone is tested with transactions against Apache Kafka (test/mirrormaker).
func TestNothing(t *testing.T) {
	b := kafkatest.StartBroker(t, "here")
	admin := kafkatest.NewAdmin(t, b.Addr)
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: "a.b", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		kafkatest.Produce(t, []string{b.Addr}, &kgo.Record{Topic: "a.b", Value: []byte("x")})
	}
	for name, test := range map[string]struct {
		from, to int64
		want     bool
	}{
		"all of it":        {0, 3, false},
		"the last":         {2, 3, false},
		"behind the last":  {3, 3, true},
		"the wrong way":    {3, 1, true},
		"farther than any": {0, 5000, false},
	} {
		got, err := admin.Nothing(t.Context(), "a.b", 0, test.from, test.to)
		if err != nil || got != test.want {
			t.Errorf("%s: nothing is there: %t, %v; want %t", name, got, err, test.want)
		}
	}
	ends, err := admin.StableOffsets(t.Context(), "a.b", "no.such")
	if err != nil || ends["a.b"][0] != 3 || len(ends["no.such"]) > 0 {
		t.Errorf("stable offsets are %v, %v", ends, err)
	}
}
