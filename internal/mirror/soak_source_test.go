package mirror

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

const (
	// soakKeys is how many keys each partition has. A key stays in its partition.
	soakKeys = 5
	// soakEvery is how often a writer writes a record.
	soakEvery = 10 * time.Millisecond
)

// acked is a record that the source has acknowledged, or else may have.
type acked struct {
	key         string
	acked       bool
	incarnation int
	partition   int32
	offset      int64
}

// soakSource is a topic of one region that is written all the time.
type soakSource struct {
	region, addr, topic string
	partitions          int
	incarnation         int
	// ids of the topic, and how many records the source had of it when it was deleted, by incarnation.
	ids []string
	had []int64

	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	records []acked // by number
}

func newSoakSource(t *testing.T, c *soakCluster, name string, partitions int) *soakSource {
	t.Helper()
	src := &soakSource{region: c.region, addr: c.addr, topic: name, partitions: partitions}
	topic(t, src.addr, name, partitions)
	src.made(t)
	return src
}

// made waits until the brokers know the topic as it should be, and keeps its identity.
func (src *soakSource) made(t *testing.T) {
	t.Helper()
	admin := kafkatest.NewAdmin(t, src.addr)
	kafkatest.Eventually(t, "topic "+src.topic, func() error {
		all, err := admin.Describe(t.Context(), src.topic)
		if err != nil {
			return err
		}
		got := all[src.topic]
		if !got.Exists || got.Partitions != src.partitions {
			return fmt.Errorf("is %+v", got)
		}
		src.ids = append(src.ids[:src.incarnation], topicID(got))
		return nil
	})
}

func (src *soakSource) remake(t *testing.T, partitions int) {
	t.Helper()
	src.had = append(src.had, src.end(t))
	remake(t, src.addr, src.topic, partitions)
	src.partitions = partitions
	src.incarnation++
	src.made(t)
}

func (src *soakSource) grow(t *testing.T, partitions int) {
	t.Helper()
	kafkatest.Eventually(t, "raising "+src.topic, func() error {
		return kafkatest.NewAdmin(t, src.addr).CreatePartitions(t.Context(), src.topic, partitions)
	})
	src.partitions = partitions
	src.made(t)
}

// begin writes in the background until halt.
func (src *soakSource) begin(t *testing.T) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(src.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.UnknownTopicRetries(100), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, src.stop = context.WithCancel(t.Context())
	src.done = make(chan struct{})
	go func() {
		defer close(src.done)
		defer client.Close()
		tick := time.NewTicker(soakEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				_ = client.Flush(context.WithoutCancel(ctx)) // only ever the end of its context
				return
			case <-tick.C:
				src.write(client)
			}
		}
	}()
	t.Cleanup(src.stop)
}

// write writes one record. The number is its value.
func (src *soakSource) write(client *kgo.Client) {
	src.mu.Lock()
	number := len(src.records)
	partition := int32(number % src.partitions)
	key := fmt.Sprintf("%d-%d-%d", src.incarnation, partition, number/src.partitions%soakKeys)
	src.records = append(src.records, acked{key: key, incarnation: src.incarnation})
	src.mu.Unlock()
	r := &kgo.Record{Topic: src.topic, Partition: partition, Key: []byte(key), Value: fmt.Append(nil, number)}
	client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if err != nil {
			return
		}
		src.mu.Lock()
		defer src.mu.Unlock()
		a := &src.records[number]
		a.acked, a.partition, a.offset = true, r.Partition, r.Offset
	})
}

// halt returns when everything that was written is acknowledged, or refused.
func (src *soakSource) halt(t *testing.T) {
	t.Helper()
	src.stop()
	select {
	case <-src.done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("what was written to %s of %s is not acknowledged", src.topic, src.region)
	}
}

// end is how many records the source has of the present topic. A broker that was killed may have some twice.
func (src *soakSource) end(t *testing.T) (n int64) {
	t.Helper()
	all, err := kafkatest.NewAdmin(t, src.addr).EndOffsets(t.Context(), src.topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range all[src.topic] {
		n += end
	}
	return n
}
