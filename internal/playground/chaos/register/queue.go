package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

const (
	metadataAge    = 2 * time.Second
	commitInterval = 200 * time.Millisecond
)

var errReplaying = errors.New("still reading what had been written before")

// Queue is the Log of a region: its Kafka.
type Queue struct {
	options QueueOptions
	client  *kgo.Client
	admin   *kadm.Client

	mu      sync.Mutex
	applied kadm.Offsets // the next offset to read
	behind  kadm.Offsets // what there was at the start; nil: not known yet
	ready   bool
}

// QueueOptions say where the entries are.
type QueueOptions struct {
	Brokers []string
	// Topic is the region's own; Topics is the pattern of it and of those mirrored from other regions.
	Topic, Topics string
	// Group is committed what has been applied, for those who want to know.
	Group    string
	Register *Register
	Log      *slog.Logger
}

// NewQueue returns a Queue that reads nothing before Run.
func NewQueue(o QueueOptions) (*Queue, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Brokers...), kgo.ConsumeRegex(), kgo.ConsumeTopics(o.Topics),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMaxAge(metadataAge), kgo.MetadataMinAge(metadataAge/4),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.FetchMaxWait(commitInterval),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of Kafka: %w", err)
	}
	return &Queue{options: o, client: client, admin: kadm.NewClient(client), applied: kadm.Offsets{}}, nil
}

// Append implements Log. It returns once the entry is durable, or can never be.
func (q *Queue) Append(ctx context.Context, e history.Entry) error {
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	record := &kgo.Record{Topic: q.options.Topic, Key: []byte(e.Key), Value: value}
	return q.client.ProduceSync(ctx, record).FirstErr()
}

// Ready implements Log.
func (q *Queue) Ready() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ready {
		return nil
	}
	if q.behind == nil {
		return errReplaying
	}
	for _, topic := range q.behind {
		for _, end := range topic {
			if at, _ := q.applied.Lookup(end.Topic, end.Partition); at.At < end.At {
				return fmt.Errorf("%w: %s is read up to %d of %d", errReplaying, end.Topic, at.At, end.At)
			}
		}
	}
	q.ready = true
	return nil
}

// Run applies all topics from their beginning until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { q.commit(ctx) })
	for ctx.Err() == nil {
		fetches := q.client.PollFetches(ctx)
		q.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			var e history.Entry
			if err := json.Unmarshal(r.Value, &e); err != nil {
				q.options.Log.Error("a record is no entry", "topic", r.Topic, "offset", r.Offset, "error", err)
			} else {
				q.options.Register.Apply(e)
			}
			q.applied.Add(kadm.Offset{Topic: r.Topic, Partition: r.Partition, At: r.Offset + 1, LeaderEpoch: -1})
		})
		q.mu.Unlock()
	}
	both.Wait()
	q.client.Close()
}

// commit learns where the topics ended at the start, and then says how far they are applied.
func (q *Queue) commit(ctx context.Context) {
	ticker := time.NewTicker(commitInterval)
	defer ticker.Stop()
	committed := kadm.Offsets{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		q.mu.Lock()
		known := q.behind != nil
		news := kadm.Offsets{}
		q.applied.Each(func(o kadm.Offset) {
			if before, _ := committed.Lookup(o.Topic, o.Partition); before.At < o.At {
				news.Add(o)
			}
		})
		q.mu.Unlock()
		var err error
		if !known {
			err = q.measure(ctx)
		} else if len(news) > 0 && q.Ready() == nil {
			if err = q.admin.CommitAllOffsets(ctx, q.options.Group, news); err == nil {
				news.Each(func(o kadm.Offset) { committed.Add(o) })
			}
		}
		if err != nil && ctx.Err() == nil {
			q.options.Log.Warn("asking Kafka", "error", err)
		}
	}
}

// measure finds out how much there is to read.
func (q *Queue) measure(ctx context.Context) error {
	pattern, err := regexp.Compile(q.options.Topics)
	if err != nil {
		return err
	}
	topics, err := q.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var names []string
	for name := range topics {
		if pattern.MatchString(name) {
			names = append(names, name)
		}
	}
	if !topics.Has(q.options.Topic) {
		return fmt.Errorf("there is no topic %s yet", q.options.Topic)
	}
	ends, err := q.admin.ListEndOffsets(ctx, names...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.behind = ends.Offsets()
	return nil
}
