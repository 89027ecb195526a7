package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// valueBytes is the size of every record's value.
const valueBytes = 1024

// payloads are values as applications have them: text that compresses to about a third.
func payloads() [][]byte {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // text, no secret
	words := make([]string, 512)
	for i := range words {
		words[i] = fmt.Sprintf("%x", random.Uint32())
	}
	all := make([][]byte, 1024)
	for i := range all {
		var value []byte
		for len(value) < valueBytes {
			value = fmt.Appendf(value, `"%s":"%s",`, words[random.IntN(16)], words[random.IntN(len(words))])
		}
		all[i] = value[:valueBytes]
	}
	return all
}

func (w *world) producer(cluster string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.brokers[cluster].Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	}, options...)...)
}

func (w *world) record(c *contender, i int) *kgo.Record {
	return &kgo.Record{Topic: c.topic, Partition: int32(i % partitions), Key: fmt.Appendf(nil, "key-%06d", i%100_000), Value: w.payload[i%len(w.payload)]}
}

// fill writes records to a contender's topic as fast as it goes.
func (w *world) fill(ctx context.Context, c *contender, n int) error {
	client, err := w.producer(north, kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed atomic.Pointer[error]
	for i := range n {
		client.Produce(ctx, w.record(c, i), func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// follower notes when each numbered record of a topic arrives at a consumer.
type follower struct {
	client *kgo.Client
	begin  time.Time
	done   sync.WaitGroup

	mu      sync.Mutex
	arrived map[int]time.Duration
}

func (w *world) follow(ctx context.Context, cluster, topic string, begin time.Time) (*follower, error) {
	ends, err := w.admin[cluster].ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	for p, o := range ends[topic] {
		from[p] = kgo.NewOffset().At(o.Offset)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers[cluster].Addr()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return nil, err
	}
	f := &follower{client: client, begin: begin, arrived: map[int]time.Duration{}}
	f.done.Go(func() { f.read(ctx) })
	return f, nil
}

func (f *follower) read(ctx context.Context) {
	for {
		fetches := f.client.PollFetches(ctx)
		if fetches.IsClientClosed() || ctx.Err() != nil {
			return
		}
		now := time.Since(f.begin)
		f.mu.Lock()
		for r := range fetches.RecordsAll() {
			number := int(binary.BigEndian.Uint64(r.Value)) //nolint:gosec // written from an int
			if _, twice := f.arrived[number]; !twice {
				f.arrived[number] = now
			}
		}
		f.mu.Unlock()
	}
}

func (f *follower) has(number int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.arrived[number]
	return ok
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.arrived)
}

func (f *follower) close() {
	f.client.Close()
	f.done.Wait()
}

// numbered is a record that a follower knows again.
func (w *world) numbered(c *contender, i int) *kgo.Record {
	r := w.record(c, i)
	r.Value = slices.Clone(r.Value)
	binary.BigEndian.PutUint64(r.Value, uint64(i)) //nolint:gosec // from 0 on
	return r
}
