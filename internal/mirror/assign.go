package mirror

import (
	"context"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
)

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
			if was, _, _ := strings.Cut(p.identity, "/"); !strings.HasPrefix(identity, was+"/") {
				l := e.lossOf(tp)
				l.rewound, l.at = 0, e.clock.Now()
			}
		}
	}
	if !changed {
		return
	}
	e.log.Warn("topic was made anew; mirroring it from its start", "topic", topic)
	e.forget(topic)
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

// drop forgets the partitions that the source no longer has. The clients forget
// a topic that is gone as a whole: one that is made later under its name is
// another, which they would not find.
func (e *Engine) drop(sources map[string]kafka.Topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := map[string]bool{}
	for tp, p := range e.partitions {
		s := sources[tp.topic]
		if s.Err != nil || (s.Exists && int(tp.partition) < s.Partitions) {
			continue
		}
		p.progress.stop()
		delete(e.partitions, tp)
		e.queued = append(e.queued, func() { e.unread(p) })
		gone[tp.topic] = !s.Exists
	}
	for topic := range gone {
		if gone[topic] {
			e.forget(topic)
		}
	}
}

// forget queues that both clients forget a topic.
func (e *Engine) forget(topic string) {
	e.queued = append(e.queued, func() {
		e.consumer.PurgeTopicsFromConsuming(topic)
		e.producer.PurgeTopicsFromProducing(TargetTopic(e.cfg.Origin, topic))
	})
}
