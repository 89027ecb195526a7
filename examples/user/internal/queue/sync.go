package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// maxPoll bounds how many records are taken at once, and so how many are
// repeated after a crash.
const maxPoll = 500

// Consumer is the part of a Kafka client that the syncer uses. It must not
// commit offsets by itself.
type Consumer interface {
	PollRecords(ctx context.Context, maxPollRecords int) kgo.Fetches
	CommitRecords(ctx context.Context, rs ...*kgo.Record) error
	AllowRebalance()
}

// ConsumerOptions returns the options of a consumer in the group for all
// topics that match one of the patterns: from the beginning, committing only
// what was stored.
func ConsumerOptions(group string, patterns ...string) []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeRegex(),
		kgo.ConsumeTopics(patterns...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// A mirror may make a region's topic at any time.
		kgo.MetadataMaxAge(5 * time.Second),
		kgo.MetadataMinAge(time.Second),
	}
}

// Syncer takes in the accounts, ledger entries and changes of all regions, this one
// included: what is here already is skipped.
type Syncer struct {
	Store store.Replica
	// Accounts and Ledger match the topics of each kind. They name every region:
	// an open prefix would also read topics of other tenants.
	// Ledger and Changes may be nil: none of these are read.
	Accounts, Ledger, Changes *regexp.Regexp
	Log                       *slog.Logger
}

// Run consumes until ctx ends or the client is closed. After a store error the record is tried again
// at the next tick: nothing is skipped.
func (s *Syncer) Run(ctx context.Context, c Consumer, tick <-chan time.Time) {
	for {
		fetches := c.PollRecords(ctx, maxPoll)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			s.Log.Warn("reading from Kafka failed; it is tried again", "topic", topic, "partition", partition, "error", err)
		})
		records := fetches.Records()
		for _, r := range records {
			if !s.applyUntilStored(ctx, r, tick) {
				return
			}
		}
		if err := c.CommitRecords(ctx, records...); err != nil {
			// The records come again after a restart and are skipped then.
			s.Log.Warn("committing offsets failed", "error", err)
		}
		c.AllowRebalance()
	}
}

// applyUntilStored tries until the record is stored, or returns false when ctx
// has ended before.
func (s *Syncer) applyUntilStored(ctx context.Context, r *kgo.Record, tick <-chan time.Time) bool {
	for {
		err := s.Apply(ctx, r)
		if err == nil {
			return true
		}
		s.Log.Warn("storing a record failed; it is tried again",
			"topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-tick:
		}
	}
}

// Apply stores one record, or keeps it aside when it is malformed or
// contradicts what is here. An error means that the store did neither.
func (s *Syncer) Apply(ctx context.Context, r *kgo.Record) error {
	applied, err := s.store(ctx, r)
	if bad, ok := errors.AsType[*malformedError](err); ok {
		return s.reject(ctx, r, bad.Error())
	}
	if err != nil {
		return err
	}
	if applied == store.Conflict {
		return s.reject(ctx, r, "another record holds its unique key here")
	}
	return nil
}

func (s *Syncer) store(ctx context.Context, r *kgo.Record) (store.Applied, error) {
	switch {
	case s.Accounts.MatchString(r.Topic):
		a, err := decode[user.Account](r)
		if err != nil {
			return "", err
		}
		return s.Store.ApplyAccount(ctx, a)
	case s.Ledger != nil && s.Ledger.MatchString(r.Topic):
		e, err := decode[user.Entry](r)
		if err != nil {
			return "", err
		}
		return s.Store.ApplyEntry(ctx, e)
	case s.Changes != nil && s.Changes.MatchString(r.Topic):
		c, err := decode[user.Change](r)
		if err != nil {
			return "", err
		}
		return s.Store.ApplyChange(ctx, c)
	default:
		return "", &malformedError{"the topic matches no pattern"}
	}
}

func (s *Syncer) reject(ctx context.Context, r *kgo.Record, reason string) error {
	s.Log.Error("record kept aside in table quarantine: a person must look at it",
		"topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "reason", reason)
	return s.Store.Reject(ctx, store.Rejected{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Reason: reason, Value: r.Value,
	})
}

// malformedError says why a record can never be applied, without its content.
type malformedError struct{ why string }

func (e *malformedError) Error() string { return e.why }

func decode[T interface{ Check() error }](r *kgo.Record) (T, error) {
	var v T
	// The decoder's own error may quote the value.
	if json.Unmarshal(r.Value, &v) != nil {
		return v, &malformedError{"the value is not the expected JSON"}
	}
	if err := v.Check(); err != nil {
		return v, &malformedError{fmt.Sprintf("the value is incomplete: %v", err)}
	}
	return v, nil
}
