package mirror

import (
	"context"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
)

// assign starts what should run and does not. Positions are read once for all
// partitions that have none; without an answer nothing starts, because to take
// "not known" for "none" would copy everything again.
func (e *Engine) assign(ctx context.Context, ready map[string]string, sources map[string]kafka.Topic) error {
	var stored map[topicPartition]kafka.GroupOffset
	now := e.clock.Now()
	for topic, identity := range ready {
		if !e.settleBefore(topic, identity, sources[topic].Partitions) {
			continue
		}
		e.renew(topic, identity)
		e.relimit(topic)
		for n := range int32(sources[topic].Partitions) { //nolint:gosec // a partition count
			p := e.partitionOrNew(topicPartition{topic, n})
			restart, known := e.due(p, identity, now)
			if !restart {
				continue
			}
			at := p.progress.snapshot().acked
			if !known {
				if stored == nil {
					var err error
					if stored, err = e.load(ctx); err != nil {
						return err
					}
				}
				before := stored[topicPartition{topic, n}]
				e.noteUnwatched(p, before, identity)
				at = startAt(before, identity)
			}
			e.begin(p, identity, at)
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
	case p.leaving: // the very topic is back
		return p.left && s.waiting == 0, true
	case s.running:
		if s.acked.offset > p.failedAt {
			p.failures = 0
		}
		return false, true
	case !p.retryAt.IsZero():
		return !p.retryAt.After(now), true
	}
	backoff := min(time.Second<<min(p.failures, 6), maxBackoff)
	p.failures, p.failedAt, p.retryAt = p.failures+1, s.acked.offset, now.Add(backoff)
	e.queued = append(e.queued, func() { e.unread(p) })
	e.log.Warn("partition stopped; trying again", "topic", p.topic, "partition", p.number, "after", backoff, "error", s.err)
	return false, true
}

// renew makes the clients forget a topic that was made anew on their side: they hold on to the identity that
// they saw first.
func (e *Engine) renew(topic, identity string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	source, target := false, false
	for _, p := range e.of(topic) {
		if !p.starting && p.identity != "" && p.identity != identity {
			p.progress.stop()
			source = source || sourceOf(p.identity) != sourceOf(identity)
			target = target || targetOf(p.identity) != targetOf(identity)
		}
	}
	if source || target {
		e.log.Warn("topic was made anew; mirroring it from its start", "topic", topic)
	}
	if source {
		e.forgetSource(topic)
	}
	if target {
		e.queued = append(e.queued, func() { e.producer.PurgeTopicsFromProducing(TargetTopic(e.cfg.Origin, topic)) })
	}
}

// unread ends the fetching of a partition. Only the pump calls it.
func (e *Engine) unread(p *partition) {
	e.consumer.RemoveConsumePartitions(map[string][]int32{p.topic: {p.number}})
}

// startAt is the stored position if it is about this pair of topics, else 0;
// a source that no longer has offset 0 starts at its oldest record.
func startAt(o kafka.GroupOffset, identity string) position {
	of, _ := parseRemark(o.Metadata)
	switch {
	case of != identity:
		return position{0, noEpoch}
	case o.Epoch == nil:
		return position{o.Offset, noEpoch}
	}
	return position{o.Offset, *o.Epoch}
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
	e.remember(out)
	return out, nil
}

// begin queues the (new) start of a partition.
func (e *Engine) begin(p *partition, identity string, at position) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.starting = true
	e.queued = append(e.queued, func() {
		e.unread(p)
		e.mu.Lock()
		p.identity, p.starting, p.leaving, p.left, p.retryAt = identity, false, false, false, time.Time{}
		p.stored, p.storedAt = kafka.GroupOffset{Offset: -1}, time.Time{}
		p.progress.start(at)
		e.mu.Unlock()
		e.consume(p, at)
	})
	e.log.Info("partition starts", "topic", p.topic, "partition", p.number, "offset", at.offset, "epoch", at.epoch, "topicID", sourceOf(identity))
}

// drop has the partitions left that the source no longer has. They are kept until the topic is back, or another
// of its name: what is lost with it shows then.
func (e *Engine) drop(sources map[string]kafka.Topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for tp, p := range e.partitions {
		if s := sources[tp.topic]; s.Err == nil && !s.Exists && p.identity != "" && !p.starting {
			e.leave(p)
		}
	}
}
