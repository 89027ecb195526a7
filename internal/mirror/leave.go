package mirror

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
)

// settleBefore reports whether a topic may be mirrored that stands in the place of another: what was read of the
// one before has arrived then, or cannot arrive, and what is lost of it is known. The target's topic is the same.
func (e *Engine) settleBefore(topic, identity string, partitions int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	settled := true
	before := slices.DeleteFunc(e.of(topic), func(p *partition) bool {
		return p.starting || p.identity == "" || sourceOf(p.identity) == sourceOf(identity)
	})
	for _, p := range before {
		e.leave(p)
		settled = settled && p.left && p.progress.snapshot().waiting == 0
	}
	if !settled {
		return false
	}
	for _, p := range before {
		e.noteMadeAnew(p)
		if int(p.number) >= partitions {
			p.progress.stop()
			e.departed[topicPartition{topic, p.number}] = kafka.GroupOffset{
				Topic: TargetTopic(e.cfg.Origin, topic), Partition: p.number, Offset: p.progress.snapshot().acked.offset, Metadata: p.identity,
			}
			delete(e.partitions, topicPartition{topic, p.number})
		}
	}
	return true
}

// of returns the partitions of a topic, which are numbered from 0 on. The caller holds the lock.
func (e *Engine) of(topic string) []*partition {
	var out []*partition
	for n := int32(0); ; n++ {
		p, known := e.partitions[topicPartition{topic, n}]
		if !known {
			return out
		}
		out = append(out, p)
	}
}

// leave has a partition not read any more; what was read goes on to the target. The caller holds the lock.
func (e *Engine) leave(p *partition) {
	if p.leaving {
		return
	}
	p.leaving, p.left = true, false
	e.queued = append(e.queued, func() {
		e.unread(p)
		e.mu.Lock()
		defer e.mu.Unlock()
		p.left = true
	})
	e.forgetSource(p.topic)
}

// forgetSource queues that the consumer forgets a topic: one that is made later under its name is another,
// which it would not find. The caller holds the lock.
func (e *Engine) forgetSource(topic string) {
	e.queued = append(e.queued, func() { e.consumer.PurgeTopicsFromConsuming(topic) })
}

// consume begins to read a partition. Only the pump calls it.
//
// Told the epoch, the client asks the source where that ends (KIP-320): a source that was truncated and has grown past
// the position since has other records below it.
func (e *Engine) consume(p *partition, at position) {
	e.consumer.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.number: kgo.NewOffset().At(at.offset).WithEpoch(at.epoch)}})
}
