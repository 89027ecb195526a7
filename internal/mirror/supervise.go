package mirror

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
)

const (
	// recommitAfter stores unchanged positions again: brokers forget those of
	// an idle group after days, and an outage may last longer.
	recommitAfter = 10 * time.Minute
	maxBackoff    = 30 * time.Second
)

// partition is one source partition. Its fields other than progress are
// guarded by Engine.mu.
type partition struct {
	topic    string
	number   int32
	progress progress
	// identity names the two topics that the progress is about; a topic that
	// was made anew has another.
	identity string
	// starting: the pump will begin it; until then the progress is that of
	// the run before, maybe of another pair of topics, and not to be stored.
	starting bool
	paused   bool
	// failures in a row without an acknowledged record, since failedAt.
	failures int
	failedAt int64
	// retryAt is when a stopped partition is started again; zero while it runs.
	retryAt time.Time
	// stored is the position last committed, and when.
	stored   int64
	storedAt time.Time
}

// supervise compares both clusters once an interval until ctx ends: it makes
// topics, starts partitions and restarts failed ones, measures the lag and
// stores positions. A cluster that does not answer costs its timeout and
// stops nothing of what runs.
func (e *Engine) supervise(ctx context.Context) {
	tick := e.clock.NewTicker(e.set.Interval)
	defer tick.Stop()
	for {
		e.look(ctx)
		e.commit(ctx)
		e.finishLook()
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
	}
}

// look is one comparison.
func (e *Engine) look(ctx context.Context) {
	topics := e.cfg.topics()
	copies := make([]string, len(topics))
	for i, t := range topics {
		copies[i] = TargetTopic(e.cfg.Origin, t)
	}
	// Both are asked, whatever the other says: the report names all that is down.
	targets, err := e.target.Describe(ctx, copies...)
	targetWell := e.saw(ctx, stageTarget, err)
	sources, err := e.source.Describe(ctx, topics...)
	if !e.saw(ctx, stageSource, err) {
		e.forgetLag()
		return
	}
	if !targetWell {
		return
	}
	problems := map[string]error{}
	ready := map[string]string{} // source topic → identity of the pair
	for i, t := range topics {
		pair, err := e.ensure(ctx, t, sources[t], targets[copies[i]])
		switch {
		case err != nil:
			problems[t] = err
			e.metrics.errors.WithLabelValues(e.cfg.Origin, stageTarget).Inc()
		case pair != "":
			ready[t] = pair
		}
	}
	e.setProblems(problems)
	if err := e.assign(ctx, ready, sources); err != nil {
		e.saw(ctx, stageTarget, err)
		return
	}
	e.measure(ctx, sources)
}

// ensure makes the copy of a topic as wide as the topic. It returns the pair's
// identity, or "" when the pair is not complete yet.
func (e *Engine) ensure(ctx context.Context, topic string, source, target kafka.Topic) (string, error) {
	name := TargetTopic(e.cfg.Origin, topic)
	switch {
	case source.Err != nil:
		return "", fmt.Errorf("source topic %s: %w", topic, source.Err)
	case target.Err != nil:
		return "", fmt.Errorf("target topic %s: %w", name, target.Err)
	case !source.Exists:
		return "", nil // made by its region's own controller; nothing to copy yet
	case !target.Exists:
		if err := e.create(ctx, name, source); !errors.Is(err, kafka.ErrTopicExists) {
			return "", err
		}
		return "", nil // made since it was described; the next look sees it
	case target.Partitions < source.Partitions:
		if err := e.target.CreatePartitions(ctx, name, source.Partitions); err != nil {
			return "", err
		}
		e.producer.ForceMetadataRefresh()
		return "", nil
	}
	e.setBatchLimit(name, target)
	return topicID(source) + "/" + topicID(target), nil
}

func topicID(t kafka.Topic) string { return hex.EncodeToString(t.ID[:]) }

// assign starts what should run and does not. Positions are read once for all
// partitions that have none; without an answer nothing starts, because to take
// "not known" for "none" would copy everything again.
func (e *Engine) assign(ctx context.Context, ready map[string]string, sources map[string]kafka.Topic) error {
	var stored map[topicPartition]kafka.GroupOffset
	now := e.clock.Now()
	for topic, identity := range ready {
		e.renew(topic, identity)
		e.relimit(topic)
		for n := range int32(sources[topic].Partitions) { //nolint:gosec // a partition count
			p := e.partitionOrNew(topicPartition{topic, n})
			restart, known := e.due(p, identity, now)
			if !restart {
				continue
			}
			offset := p.progress.snapshot().acked
			if !known {
				if stored == nil {
					var err error
					if stored, err = e.load(ctx); err != nil {
						return err
					}
				}
				offset = startAt(stored[topicPartition{topic, n}], identity)
			}
			e.begin(p, identity, offset)
		}
	}
	e.drop(sources)
	return nil
}

// due says whether a partition is to be started, and whether its progress is
// about the present pair of topics.
func (e *Engine) due(p *partition, identity string, now time.Time) (restart, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := p.progress.snapshot()
	switch {
	case p.starting:
		return false, true
	case p.identity != identity:
		return true, false
	case s.running:
		if s.acked > p.failedAt {
			p.failures = 0
		}
		return false, true
	case !p.retryAt.IsZero():
		return !p.retryAt.After(now), true
	}
	backoff := min(time.Second<<min(p.failures, 6), maxBackoff)
	p.failures, p.failedAt, p.retryAt = p.failures+1, s.acked, now.Add(backoff)
	e.queued = append(e.queued, func() { e.unread(p) })
	e.log.Warn("partition stopped; trying again", "topic", p.topic, "partition", p.number, "after", backoff, "error", s.err)
	return false, true
}

// renew makes both clients forget a topic that was made anew on one of the
// sides: they hold on to the identity that they saw first.
func (e *Engine) renew(topic, identity string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := false
	for tp, p := range e.partitions {
		if tp.topic == topic && !p.starting && p.identity != "" && p.identity != identity {
			changed = true
			p.progress.stop()
		}
	}
	if !changed {
		return
	}
	e.log.Warn("topic was made anew; mirroring it from its start", "topic", topic)
	e.queued = append(e.queued, func() {
		e.consumer.PurgeTopicsFromConsuming(topic)
		e.producer.PurgeTopicsFromProducing(TargetTopic(e.cfg.Origin, topic))
	})
}

// unread ends the fetching of a partition. Only the pump calls it.
func (e *Engine) unread(p *partition) {
	e.consumer.RemoveConsumePartitions(map[string][]int32{p.topic: {p.number}})
}

// startAt is the stored position if it is about this pair of topics, else 0;
// a source that no longer has offset 0 starts at its oldest record.
func startAt(o kafka.GroupOffset, identity string) int64 {
	if o.Metadata != identity {
		return 0
	}
	return o.Offset
}

func (e *Engine) load(ctx context.Context) (map[topicPartition]kafka.GroupOffset, error) {
	offsets, err := e.target.GroupOffsets(ctx, Group(e.cfg.Origin))
	if err != nil {
		return nil, err
	}
	out := make(map[topicPartition]kafka.GroupOffset, len(offsets))
	for _, o := range offsets {
		if topic, ok := e.localName(o.Topic); ok {
			out[topicPartition{topic, o.Partition}] = o
		}
	}
	return out, nil
}

// begin queues the (new) start of a partition at an offset.
func (e *Engine) begin(p *partition, identity string, offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.starting = true
	e.queued = append(e.queued, func() {
		e.unread(p)
		e.mu.Lock()
		p.identity, p.starting, p.retryAt = identity, false, time.Time{}
		p.stored, p.storedAt = -1, time.Time{}
		p.progress.start(offset)
		e.mu.Unlock()
		e.consumer.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.number: kgo.NewOffset().At(offset)}})
	})
	e.log.Info("partition starts", "topic", p.topic, "partition", p.number, "offset", offset)
}

// drop forgets the partitions that the source no longer has.
func (e *Engine) drop(sources map[string]kafka.Topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for tp, p := range e.partitions {
		if s := sources[tp.topic]; s.Err != nil || (s.Exists && int(tp.partition) < s.Partitions) {
			continue
		}
		p.progress.stop()
		delete(e.partitions, tp)
		e.queued = append(e.queued, func() { e.unread(p) })
	}
}

// commit stores the positions that changed, or that were stored long ago.
func (e *Engine) commit(ctx context.Context) {
	now := e.clock.Now()
	var offsets []kafka.GroupOffset
	var moved []*partition
	e.mu.Lock()
	for tp, p := range e.partitions {
		acked := p.progress.snapshot().acked
		if p.starting || p.identity == "" || (acked == p.stored && now.Sub(p.storedAt) < recommitAfter) {
			continue
		}
		moved = append(moved, p)
		offsets = append(offsets, kafka.GroupOffset{
			Topic: TargetTopic(e.cfg.Origin, tp.topic), Partition: tp.partition, Offset: acked, Metadata: p.identity,
		})
	}
	e.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	if err := e.target.CommitOffsets(ctx, Group(e.cfg.Origin), offsets); err != nil {
		if ctx.Err() == nil {
			e.metrics.errors.WithLabelValues(e.cfg.Origin, stageCommit).Inc()
			e.log.Warn("positions not stored; a restart now would repeat records", "error", err)
		}
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, p := range moved {
		if p.identity == offsets[i].Metadata {
			p.stored, p.storedAt = offsets[i].Offset, now
		}
	}
}
