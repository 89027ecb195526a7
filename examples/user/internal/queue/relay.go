// Package queue moves records between the region's store and its Kafka: the
// relay publishes the outbox, the syncer takes in what every region has
// created. Both repeat after a failure, so whoever reads must accept
// repetitions. It must never log keys or values: they are personal data.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/examples/user/internal/store"
)

const (
	// batch bounds the messages of one claim.
	batch = 200
	// claimFor is how long a relay that dies keeps its messages from the others.
	claimFor = 10 * time.Second
	// publishFor bounds one attempt; it ends before the claim does.
	publishFor = 8 * time.Second
	// farewellFor bounds the last attempt when the process ends.
	farewellFor = 5 * time.Second
)

// Topics names the region-local topic of each kind of message. A kind without
// a topic is not published.
type Topics map[store.Kind]string

// Producer is the part of a Kafka client that the relay uses. It must ask for
// acknowledgement by all in-sync replicas, which is franz-go's default.
type Producer interface {
	ProduceSync(ctx context.Context, rs ...*kgo.Record) kgo.ProduceResults
}

// Relay publishes the outbox, oldest first.
type Relay struct {
	Outbox   store.Outbox
	Producer Producer
	Topics   Topics
	// Name tells this relay from others that share the outbox: random per start.
	Name string
	Now  func() time.Time
	Log  *slog.Logger
}

// Run publishes whenever woken, and at every tick for what others have left
// behind, until ctx ends; then it publishes what is left, for a few seconds at
// most. Failures are logged when they begin and end, and tried again at the next
// tick.
func (r *Relay) Run(ctx context.Context, wake <-chan struct{}, tick <-chan time.Time) {
	defer r.farewell(ctx)
	failing := false
	for {
		err := r.Drain(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			r.Log.Warn("publishing stopped; registrations go on and are published later", "error", err)
		}
		if err == nil && failing {
			r.Log.Info("publishing goes on")
		}
		failing = err != nil
		again := wake
		if failing {
			// A wake-up does not mend a broker: wait for the tick.
			again = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-tick:
		}
	}
}

// farewell hurries what nobody might publish until the process runs again.
func (r *Relay) farewell(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellFor)
	defer cancel()
	if err := r.Drain(last); err != nil {
		r.Log.Warn("messages are left in the outbox until the next start", "error", err)
	}
}

// Drain publishes until the outbox has nothing left for this relay.
func (r *Relay) Drain(ctx context.Context) error {
	for {
		now := r.Now()
		messages, err := r.Outbox.Claim(ctx, r.Name, now, now.Add(claimFor), batch)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return nil
		}
		if err := r.publish(ctx, messages); err != nil {
			return err
		}
	}
}

// publish sends the messages and removes those that the queue acknowledged.
func (r *Relay) publish(ctx context.Context, messages []store.Message) error {
	sending, cancel := context.WithTimeout(ctx, publishFor)
	defer cancel()
	var done []int64
	var sent []store.Message
	var records []*kgo.Record
	for _, m := range messages {
		topic := r.Topics[m.Kind]
		if topic == "" {
			done = append(done, m.Seq)
			continue
		}
		sent = append(sent, m)
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(m.Key), Value: m.Value})
	}
	seqs := make(map[*kgo.Record]int64, len(records))
	for i, rec := range records {
		seqs[rec] = sent[i].Seq
	}
	var failed error
	for _, res := range r.Producer.ProduceSync(sending, records...) {
		if res.Err != nil {
			failed = res.Err
			continue
		}
		done = append(done, seqs[res.Record])
	}
	err := r.Outbox.Done(ctx, done)
	if failed != nil {
		err = errors.Join(fmt.Errorf("publishing: %w", failed), err)
	}
	return err
}
