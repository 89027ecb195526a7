package canary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/kafka"
)

// Writer writes a region's canary into the region's own Kafka.
type Writer struct {
	region string
	opts   kafka.Options
	clock  clock.WithTicker
	log    *slog.Logger
}

// NewWriter checks its arguments and connects to nothing yet.
func NewWriter(region string, opts kafka.Options, c clock.WithTicker, log *slog.Logger) (*Writer, error) {
	if region == "" {
		return nil, errors.New("canary writer: region is empty")
	}
	if _, err := kafka.ClientOptions(opts); err != nil {
		return nil, fmt.Errorf("canary writer of region %s: %w", region, err)
	}
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second
	}
	return &Writer{region: region, opts: opts, clock: c, log: log}, nil
}

// Run writes one canary an Interval until the context ends, whose cause it
// returns. Brokers that are down are waited for. It makes the topic when it is
// missing.
func (w *Writer) Run(ctx context.Context) error {
	admin, err := kafka.NewClient(w.opts)
	if err != nil {
		return err
	}
	defer admin.Close()
	base, err := kafka.ClientOptions(w.opts)
	if err != nil {
		return err
	}
	producer, err := kgo.NewClient(append(base, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))...)
	if err != nil {
		return fmt.Errorf("canary writer of region %s: %w", w.region, err)
	}
	defer producer.Close()

	tick := w.clock.NewTicker(Interval)
	defer tick.Stop()
	var next int64 // 0: not known yet where the numbering goes on
	failing := false
	for {
		if next, err = w.once(ctx, admin, producer, next); err != nil && ctx.Err() == nil && !failing {
			w.log.Warn("canary not written; trying again every second", "region", w.region, "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C():
		}
	}
}

// once writes one canary and returns the number of the one after it, or 0 when
// that is to be looked up. A number is used up only when its record is in the
// topic, so that a refused write leaves no gap; one that was written after all
// is at worst repeated, not missing.
func (w *Writer) once(ctx context.Context, admin *kafka.Client, producer *kgo.Client, next int64) (int64, error) {
	if next == 0 {
		var err error
		if next, err = w.resume(ctx, admin); err != nil {
			return 0, err
		}
	}
	value, err := encode(Record{Region: w.region, Sequence: next, Time: w.clock.Now().UTC()})
	if err != nil {
		return next, err
	}
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	record := &kgo.Record{Topic: Topic, Key: []byte(w.region), Value: value}
	if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
		// The topic may be gone, or made anew: forget it, make sure of it, and
		// look again where the numbering goes on.
		producer.PurgeTopicsFromProducing(Topic)
		return 0, fmt.Errorf("writing canary %d: %w", next, err)
	}
	return next + 1, nil
}

// resume makes the topic if needed and reads where the numbering stopped.
func (w *Writer) resume(ctx context.Context, admin *kafka.Client) (int64, error) {
	brokers, err := admin.Brokers(ctx)
	if err != nil {
		return 0, err
	}
	err = admin.Create(ctx, kafka.NewTopic{
		Name: Topic, Partitions: 1, ReplicationFactor: min(3, brokers),
		Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": "86400000"},
	})
	if err != nil && !errors.Is(err, kafka.ErrTopicExists) {
		return 0, err
	}
	ends, err := admin.EndOffsets(ctx, Topic)
	if err != nil {
		return 0, err
	}
	end := ends[Topic][0]
	starts, err := admin.StartOffsets(ctx, Topic)
	if err != nil {
		return 0, err
	}
	if end <= starts[Topic][0] {
		// Nothing there, or all of it expired: numbers of records are no
		// larger than offsets count, so this one is larger than any used.
		return end + 1, nil
	}
	return w.last(ctx, end-1)
}

func (w *Writer) last(ctx context.Context, offset int64) (int64, error) {
	base, err := kafka.ClientOptions(w.opts)
	if err != nil {
		return 0, err
	}
	consumer, err := kgo.NewClient(append(base, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		Topic: {0: kgo.NewOffset().At(offset)},
	}))...)
	if err != nil {
		return 0, err
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	fetches := consumer.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		return 0, fmt.Errorf("reading the last canary: %w", err)
	}
	for r := range fetches.RecordsAll() {
		last, err := decode(r.Value)
		if err != nil {
			return 0, err
		}
		return last.Sequence + 1, nil
	}
	return 0, errors.New("reading the last canary: nothing arrived in time")
}
