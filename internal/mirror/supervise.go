package mirror

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

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
