package mirror

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
)

// tellLosses is for how long a loss at the source is told of, also by a mirror that starts again: it is stored with the
// position.
const tellLosses = 24 * time.Hour

// gap is a run of offsets that the source did not have when they were read.
type gap struct {
	at topicPartition
	// from is where they begin, behind the last record that was read.
	from position
	to   int64
}

// loss is what is known to be lost of a partition.
type loss struct {
	// records were deleted before they were copied; rewound is the offset at which the source began again below
	// what was read, -1 if it never did, and recalled how many offsets had been read from there on.
	records, rewound, recalled int64
	// unwatched: the topic was made anew while no mirror ran, and what was lost with it nobody knows.
	unwatched bool
	at        time.Time
}

// noteGap keeps a run of offsets that were not there: compacted, aborted, or deleted before they were read.
func (e *Engine) noteGap(at topicPartition, from position, to int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gaps = append(e.gaps, gap{at, from, to})
}

// noteRewound keeps that a source that was read up to an offset began again below it.
func (e *Engine) noteRewound(at topicPartition, read, offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lossOf(at)
	l.rewound, l.recalled, l.at = offset, l.recalled+read-offset, e.clock.Now()
	if p := e.partitions[at]; p != nil {
		p.end = offset // what was behind it is gone
	}
}

// noteMadeAnew counts what is lost of a partition whose topic was deleted and made anew: all that the source is
// known to have had and that has not arrived. Markers of transactions, and what was aborted, count too. The caller
// holds the lock.
func (e *Engine) noteMadeAnew(p *partition) {
	l := e.lossOf(topicPartition{p.topic, p.number})
	lost := max(0, p.end-p.progress.snapshot().acked.offset)
	p.end = 0
	l.records, l.rewound, l.recalled, l.at = l.records+lost, 0, 0, e.clock.Now()
	e.metrics.lost.WithLabelValues(e.cfg.Origin, p.topic).Add(float64(lost))
	e.log.Warn("the source's topic was deleted and made anew", "topic", p.topic, "partition", p.number, "lost", lost)
}

// noteUnwatched keeps that the stored position of a partition that this mirror meets for the first time is about
// another topic: it was deleted and made anew while no mirror ran.
func (e *Engine) noteUnwatched(p *partition, stored kafka.GroupOffset, identity string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if of, _ := parseRemark(stored.Metadata); p.identity != "" || of == "" || sourceOf(of) == sourceOf(identity) {
		return
	}
	l := e.lossOf(topicPartition{p.topic, p.number})
	l.rewound, l.recalled, l.unwatched, l.at = 0, 0, true, e.clock.Now()
	e.log.Warn("the source's topic was deleted and made anew while no mirror ran", "topic", p.topic, "partition", p.number)
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

// judge tells which of the first gaps are of deleted records: those below the oldest that the source has.
func (e *Engine) judge(starts map[string]map[int32]int64, first int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range e.gaps[:first] {
		lost := min(g.to, starts[g.at.topic][g.at.partition]) - g.from.offset
		if lost <= 0 {
			continue
		}
		l := e.lossOf(g.at)
		l.records, l.at = l.records+lost, e.clock.Now()
		e.metrics.lost.WithLabelValues(e.cfg.Origin, g.at.topic).Add(float64(lost))
		e.log.Warn("records were deleted at the source before they were copied", "topic", g.at.topic, "partition", g.at.partition, "from", g.from.offset, "records", lost)
	}
	e.gaps = slices.Clone(e.gaps[first:])
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
		switch {
		case l.recalled > 0:
			what = append(what, fmt.Sprintf("the source began again at offset %d, below what was read: it has lost records, or the topic was made anew; %d were copied before that it has not got", l.rewound, l.recalled))
		case l.rewound >= 0:
			what = append(what, fmt.Sprintf("the source began again at offset %d, below what was read: it has lost records, or the topic was made anew", l.rewound))
		}
		if l.unwatched {
			what = append(what, "that was while no mirror ran: how many records had not been copied is not known")
		}
		out = append(out, fmt.Sprintf("%s: partition %d: %s (%s)", at.topic, at.partition, strings.Join(what, ", and "), l.at.UTC().Format(time.RFC3339)))
	}
	slices.Sort(out)
	return out
}
