package mirror

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// tellLosses is for how long a loss at the source is told of. A mirror that starts again does not know of it.
const tellLosses = 24 * time.Hour

// gap is a run of offsets that the source did not have when they were read.
type gap struct {
	at       topicPartition
	from, to int64
}

// loss is what is known to be lost of a partition.
type loss struct {
	// records were deleted before they were copied; rewound is the offset at which the source began again below
	// what was read, -1 if it never did.
	records, rewound int64
	at               time.Time
}

// noteGap keeps a run of offsets that were not there: compacted, aborted, or deleted before they were read.
func (e *Engine) noteGap(at topicPartition, from, to int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gaps = append(e.gaps, gap{at, from, to})
}

// noteRewound keeps that a source began again below what was read.
func (e *Engine) noteRewound(at topicPartition, offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lossOf(at)
	l.rewound, l.at = offset, e.clock.Now()
}

// lossOf returns what is known to be lost of a partition, to be added to. The caller holds the lock.
func (e *Engine) lossOf(at topicPartition) *loss {
	l, known := e.losses[at]
	if !known {
		l = &loss{rewound: -1}
		e.losses[at] = l
	}
	return l
}

// inherit takes over what another engine, which has ended, knows to be lost.
func (e *Engine) inherit(before *Engine) {
	before.mu.Lock()
	defer before.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, l := range before.losses {
		known := *l
		e.losses[at] = &known
	}
}

// judge tells which gaps are of deleted records: those below the oldest that the source has.
func (e *Engine) judge(starts map[string]map[int32]int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range e.gaps {
		lost := min(g.to, starts[g.at.topic][g.at.partition]) - g.from
		if lost <= 0 {
			continue
		}
		l := e.lossOf(g.at)
		l.records, l.at = l.records+lost, e.clock.Now()
		e.metrics.lost.WithLabelValues(e.cfg.Origin, g.at.topic).Add(float64(lost))
		e.log.Warn("records were deleted at the source before they were copied", "topic", g.at.topic, "partition", g.at.partition, "from", g.from, "records", lost)
	}
	e.gaps = nil
	now := e.clock.Now()
	for at, l := range e.losses {
		if now.Sub(l.at) > tellLosses {
			delete(e.losses, at)
		}
	}
}

// Losses says what is known to be lost, sorted, a line each: the topic, a colon, a sentence.
func (e *Engine) Losses() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for at, l := range e.losses {
		var what []string
		if l.records > 0 {
			what = append(what, fmt.Sprintf("%d records were deleted at the source before they were copied", l.records))
		}
		if l.rewound >= 0 {
			what = append(what, fmt.Sprintf("the source began again at offset %d, below what was read: it has lost records, or the topic was made anew", l.rewound))
		}
		out = append(out, fmt.Sprintf("%s: partition %d: %s (%s)", at.topic, at.partition, strings.Join(what, ", and "), l.at.UTC().Format(time.RFC3339)))
	}
	slices.Sort(out)
	return out
}
