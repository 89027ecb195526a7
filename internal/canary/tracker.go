package canary

import (
	"sync"
	"time"
)

// Reading is what is known about the canary of one origin.
type Reading struct {
	// Known is false until a canary has been seen; the rest then means nothing.
	Known bool
	// Age is the reader's clock minus the newest canary's time, at least 0. It
	// includes the difference between the two regions' clocks.
	Age time.Duration
	// Sequence is that of the newest canary.
	Sequence int64
	// Missing counts sequence numbers that were jumped over since the reader
	// started: records that the link lost. A late one is taken off again.
	Missing int64
}

// Tracker keeps the newest canary of every origin. It is safe for concurrent
// use; its zero value is ready.
type Tracker struct {
	mu   sync.Mutex
	seen map[string]*state
}

type state struct {
	newest Record
	holes  []hole
	// lost counts numbers whose hole is no longer remembered.
	lost int64
}

// hole is a run of sequence numbers that were jumped over.
type hole struct{ from, to int64 }

// maxHoles bounds the memory for one origin; beyond it the oldest hole is only
// counted, and nothing late can fill it any more.
const maxHoles = 1024

// Observe takes a canary that arrived. Repeated ones change nothing.
func (t *Tracker) Observe(r Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = map[string]*state{}
	}
	s, ok := t.seen[r.Region]
	if !ok {
		t.seen[r.Region] = &state{newest: r}
		return
	}
	switch {
	case r.Sequence > s.newest.Sequence:
		if r.Sequence > s.newest.Sequence+1 && r.Time.After(s.newest.Time) {
			s.open(hole{s.newest.Sequence + 1, r.Sequence - 1})
		}
		s.newest = r
	case r.Time.After(s.newest.Time):
		// The numbering started again: the source's topic was made anew.
		s.newest = r
	default:
		s.fill(r.Sequence)
	}
}

func (s *state) open(h hole) {
	s.holes = append(s.holes, h)
	if len(s.holes) > maxHoles {
		s.lost += size(s.holes[0])
		s.holes = s.holes[1:]
	}
}

func (s *state) fill(sequence int64) {
	for i, h := range s.holes {
		if sequence < h.from || sequence > h.to {
			continue
		}
		rest := make([]hole, 0, len(s.holes)+1)
		rest = append(rest, s.holes[:i]...)
		if h.from < sequence {
			rest = append(rest, hole{h.from, sequence - 1})
		}
		if sequence < h.to {
			rest = append(rest, hole{sequence + 1, h.to})
		}
		s.holes = append(rest, s.holes[i+1:]...)
		return
	}
}

func size(h hole) int64 { return h.to - h.from + 1 }

// Read says what is known about an origin at a moment.
func (t *Tracker) Read(origin string, now time.Time) Reading {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.seen[origin]
	if !ok {
		return Reading{}
	}
	out := Reading{Known: true, Age: max(0, now.Sub(s.newest.Time)), Sequence: s.newest.Sequence}
	out.Missing = s.lost
	for _, h := range s.holes {
		out.Missing += size(h)
	}
	return out
}
