package mirror

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
)

// commit stores the positions that changed, or that were stored long ago, each with what is known to be lost: one is
// never stored without the other, so that a mirror which starts again tells what this one would.
func (e *Engine) commit(ctx context.Context) {
	now := e.clock.Now()
	var offsets []kafka.GroupOffset
	var moved []*partition
	e.mu.Lock()
	open := e.openGaps()
	for tp, p := range e.partitions {
		if p.starting || p.identity == "" {
			continue
		}
		at := p.progress.snapshot().acked
		if from, is := open[tp]; is && from.offset < at.offset {
			at = from // what is lost in the gap is not known yet
		}
		o := kafka.GroupOffset{
			Topic: TargetTopic(e.cfg.Origin, tp.topic), Partition: tp.partition, Offset: at.offset, Metadata: remark(p.identity, e.losses[tp]),
		}
		if o.Offset == p.stored.Offset && o.Metadata == p.stored.Metadata && now.Sub(p.storedAt) < recommitAfter {
			continue
		}
		if at.epoch >= 0 {
			o.Epoch = &at.epoch
		}
		moved, offsets = append(moved, p), append(offsets, o)
	}
	departed := e.takeDeparted()
	e.mu.Unlock()
	if len(offsets)+len(departed) == 0 {
		return
	}
	if err := e.target.CommitOffsets(ctx, Group(e.cfg.Origin), append(departed, offsets...)); err != nil {
		if ctx.Err() == nil {
			e.metrics.errors.WithLabelValues(e.cfg.Origin, stageCommit).Inc()
			e.log.Warn("positions not stored; a restart now would repeat records", "error", err)
		}
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, p := range moved {
		if of, _ := parseRemark(offsets[i].Metadata); p.identity == of {
			p.stored, p.storedAt = offsets[i], now
		}
	}
	clear(e.departed)
}

// takeDeparted returns the last positions of partitions that are not there any more. Only supervise adds any. The
// caller holds the lock.
func (e *Engine) takeDeparted() []kafka.GroupOffset {
	var out []kafka.GroupOffset
	for at, o := range e.departed {
		o.Metadata = remark(o.Metadata, e.losses[at])
		out = append(out, o)
	}
	return out
}

// openGaps are the first gaps of partitions that are still to be judged. The caller holds the lock.
func (e *Engine) openGaps() map[topicPartition]position {
	open := map[topicPartition]position{}
	for _, g := range e.gaps {
		if first, is := open[g.at]; !is || g.from.offset < first.offset {
			open[g.at] = g.from
		}
	}
	return open
}

func (e *Engine) pendingGaps() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.gaps)
}

// storedLoss is a loss as it is stored.
type storedLoss struct {
	Records   int64     `json:"records,omitempty"`
	Rewound   *int64    `json:"rewound,omitempty"`
	Recalled  int64     `json:"recalled,omitempty"`
	Unwatched bool      `json:"unwatched,omitempty"`
	At        time.Time `json:"at"`
}

// remark is what is stored with an offset: the pair of topics that it is about and, behind a space, what is lost.
func remark(identity string, l *loss) string {
	if l == nil {
		return identity
	}
	s := storedLoss{Records: l.records, Recalled: l.recalled, Unwatched: l.unwatched, At: l.at.UTC().Truncate(time.Second)}
	if l.rewound >= 0 {
		s.Rewound = &l.rewound
	}
	text, err := json.Marshal(s)
	if err != nil {
		return identity // a time beyond the year 9999
	}
	return identity + " " + string(text)
}

// parseRemark is the reverse of remark. A loss that is not understood is none: the position counts all the same.
func parseRemark(stored string) (identity string, l *loss) {
	identity, text, has := strings.Cut(stored, " ")
	s := storedLoss{}
	if !has || json.Unmarshal([]byte(text), &s) != nil {
		return identity, nil
	}
	l = &loss{records: s.Records, rewound: -1, recalled: s.Recalled, unwatched: s.Unwatched, at: s.At}
	if s.Rewound != nil {
		l.rewound = *s.Rewound
	}
	return identity, l
}

// remember takes over what another mirror knew to be lost, from what it has stored.
func (e *Engine) remember(stored map[topicPartition]kafka.GroupOffset) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, o := range stored {
		_, l := parseRemark(o.Metadata)
		if _, known := e.losses[at]; !known && l != nil && e.clock.Since(l.at) <= tellLosses {
			e.losses[at] = l
		}
	}
}
