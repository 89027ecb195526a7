// Package kafkalog keeps deferred requests in a topic of the region's Kafka.
//
// The topic is made by the region's member; this package never makes, changes or deletes one.
package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/requestlog"
)

const (
	// sessionTimeout is how long a gateway that is gone keeps its partitions.
	sessionTimeout    = 12 * time.Second
	heartbeatInterval = 2 * time.Second
	// rebalanceTimeout is how long a gateway may take to let go of a partition.
	rebalanceTimeout = 60 * time.Second
	// maxBuffered records wait for an acknowledgement; whoever comes then is refused.
	maxBuffered = 1000
	// maxFetchBytes bounds what is read ahead of one broker.
	maxFetchBytes = 4 << 20
	// fetchWait is how long a broker may hold a question when there is nothing new.
	fetchWait = time.Second
)

// Options of a log.
type Options struct {
	Kafka kafka.Options
	Topic string
}

// Log is a requestlog.Log.
type Log struct {
	options  Options
	producer *kgo.Client
	admin    *kafka.Client
}

var _ requestlog.Log = (*Log)(nil)

// Group is the consumer group by which the gateways share a topic's partitions. Nothing is committed in
// it: what is done stands in the topic itself.
func Group(topic string) string { return "multiactive.deferred." + topic }

// New checks the options and prepares the log. It does not connect.
func New(o Options) (*Log, error) {
	if o.Topic == "" {
		return nil, errors.New("topic: must be given")
	}
	base, err := kafka.ClientOptions(o.Kafka)
	if err != nil {
		return nil, fmt.Errorf("kafka options: %w", err)
	}
	admin, err := kafka.NewClient(o.Kafka)
	if err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(append(base,
		kgo.DefaultProduceTopic(o.Topic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(maxBuffered), kgo.RecordPartitioner(bySlot()), kgo.UnknownTopicRetries(1),
	)...)
	if err != nil {
		admin.Close()
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	return &Log{options: o, producer: producer, admin: admin}, nil
}

// bySlot puts all records of a slot, which is the record's key, into one partition. Those without one
// say themselves where they belong.
func bySlot() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, partitions int) int {
			if len(r.Key) == 0 {
				return int(r.Partition)
			}
			slot, _ := strconv.Atoi(string(r.Key)) // Append wrote it
			return slot % partitions
		}
	})
}

// Append implements requestlog.Log.
func (l *Log) Append(ctx context.Context, slot int, value []byte) (requestlog.Position, error) {
	return l.produce(ctx, &kgo.Record{Key: []byte(strconv.Itoa(slot)), Value: value})
}

// AppendTo implements requestlog.Log.
func (l *Log) AppendTo(ctx context.Context, partition int32, value []byte) (requestlog.Position, error) {
	return l.produce(ctx, &kgo.Record{Partition: partition, Value: value})
}

func (l *Log) produce(ctx context.Context, record *kgo.Record) (requestlog.Position, error) {
	type result struct {
		record *kgo.Record
		err    error
	}
	done := make(chan result, 1)
	// TryProduce refuses when too many wait already, instead of waiting too.
	l.producer.TryProduce(ctx, record, func(r *kgo.Record, err error) { done <- result{r, err} })
	select {
	case got := <-done:
		if got.err != nil {
			return requestlog.Position{}, fmt.Errorf("storing a record in topic %s: %w", l.options.Topic, got.err)
		}
		return requestlog.Position{Partition: got.record.Partition, Offset: got.record.Offset}, nil
	case <-ctx.Done():
		// The library gives a record up only when it knows what has become of it.
		return requestlog.Position{}, fmt.Errorf("storing a record in topic %s: %w", l.options.Topic, context.Cause(ctx))
	}
}

// Bounds implements requestlog.Log.
func (l *Log) Bounds(ctx context.Context) (map[int32]requestlog.Bounds, error) {
	ends, err := l.admin.EndOffsets(ctx, l.options.Topic)
	if err != nil {
		return nil, err
	}
	starts, err := l.admin.StartOffsets(ctx, l.options.Topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]requestlog.Bounds{}
	for p, end := range ends[l.options.Topic] {
		out[p] = requestlog.Bounds{Start: starts[l.options.Topic][p], End: end}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("topic %s does not exist yet", l.options.Topic)
	}
	return out, nil
}

// client returns one for reading.
func (l *Log) client(opts ...kgo.Opt) (*kgo.Client, error) {
	base, err := kafka.ClientOptions(l.options.Kafka)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(base, append([]kgo.Opt{
		kgo.ConsumeTopics(l.options.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(maxFetchBytes), kgo.FetchMaxPartitionBytes(maxFetchBytes), kgo.FetchMaxWait(fetchWait),
	}, opts...)...)...)
}

// Follow implements requestlog.Log.
func (l *Log) Follow(ctx context.Context, take func([]requestlog.Record), failed func(error)) {
	// A topic that is made a moment later, and partitions that are added, are noticed within seconds.
	consumer, err := l.client(kgo.MetadataMaxAge(10*time.Second), kgo.MetadataMinAge(500*time.Millisecond), kgo.KeepRetryableFetchErrors())
	if err != nil {
		failed(err) // New has checked the options
		return
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) { failed(err) })
		var records []requestlog.Record
		fetches.EachRecord(func(r *kgo.Record) {
			records = append(records, requestlog.Record{Position: requestlog.Position{Partition: r.Partition, Offset: r.Offset}, Value: r.Value})
		})
		if len(records) > 0 {
			take(records)
		}
	}
}

// Hold implements requestlog.Log. The group only shares the partitions out: it reads nothing.
func (l *Log) Hold(ctx context.Context, gained, lost func(partition int32)) {
	var mu sync.Mutex
	held := map[int32]bool{}
	release := func(partitions []int32) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range partitions {
			if held[p] {
				lost(p)
				delete(held, p)
			}
		}
	}
	consumer, err := l.client(
		kgo.ConsumerGroup(Group(l.options.Topic)), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range assigned[l.options.Topic] {
				held[p] = true
				gained(p)
			}
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, revoked map[string][]int32) { release(revoked[l.options.Topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { release(gone[l.options.Topic]) }),
	)
	if err != nil {
		return // New has checked the options
	}
	consumer.PauseFetchTopics(l.options.Topic)
	<-ctx.Done()
	consumer.Close() // leaves the group, and is told what it has lost by that
	mu.Lock()
	rest := make([]int32, 0, len(held))
	for p := range held {
		rest = append(rest, p)
	}
	mu.Unlock()
	release(rest)
}

// Close implements requestlog.Log.
func (l *Log) Close() {
	l.producer.Close()
	l.admin.Close()
}
