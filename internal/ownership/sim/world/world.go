package world

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// traceKept is how many events of a trace are kept: the last ones tell the story.
const traceKept = 100

// stream is the second half of the generator's seed, so that seed 1 is not a neighbour of seed 2.
const stream = 0x9e3779b97f4a7c15

// World holds the true time, which no process in it can see, and what is to happen.
type World struct {
	*rand.Rand
	// Extreme clocks run as slowly or as fast as any may.
	Extreme bool

	now     time.Duration
	order   uint64
	pending []event
	tracing bool
	trace   []string
}

// event is something that happens at a time; events of the same time happen in the order in which
// they were planned.
type event struct {
	at    time.Duration
	order uint64
	do    func()
}

// New returns the world of a seed. A traced world is the same one, and slower.
func New(seed uint64, traced bool) *World {
	return &World{Rand: rand.New(rand.NewPCG(seed, stream)), tracing: traced} //nolint:gosec // repeatable on purpose
}

// Now returns the true time since the beginning.
func (w *World) Now() time.Duration { return w.now }

// Between draws a duration in [low, high).
func (w *World) Between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(w.Int64N(int64(high-low)))
}

// Chance reports true with probability p.
func (w *World) Chance(p float64) bool { return p > 0 && w.Float64() < p }

// After plans do for a duration of true time from now; a negative one is now.
func (w *World) After(d time.Duration, do func()) {
	w.order++
	w.push(event{at: w.now + max(d, 0), order: w.order, do: do})
}

// Run lets happen what is planned, until the true time or until stop reports true.
func (w *World) Run(until time.Duration, stop func() bool) {
	for len(w.pending) > 0 && w.pending[0].at <= until && !stop() {
		e := w.pop()
		w.now = e.at
		e.do()
	}
	if !stop() {
		w.now = max(w.now, until)
	}
}

// Tracef adds a line to the trace, if the world keeps one.
func (w *World) Tracef(format string, args ...any) {
	if !w.tracing {
		return
	}
	if len(w.trace) >= 2*traceKept {
		w.trace = append(w.trace[:0], w.trace[traceKept:]...)
	}
	w.trace = append(w.trace, fmt.Sprintf("%10.4fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

// Trace returns the last lines of the trace.
func (w *World) Trace() []string {
	return w.trace[max(0, len(w.trace)-traceKept):]
}

func (w *World) before(i, j int) bool {
	a, b := &w.pending[i], &w.pending[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}

// push and pop keep a binary heap; container/heap would box every event.
func (w *World) push(e event) {
	w.pending = append(w.pending, e)
	for i := len(w.pending) - 1; i > 0; {
		parent := (i - 1) / 2
		if !w.before(i, parent) {
			return
		}
		w.pending[i], w.pending[parent] = w.pending[parent], w.pending[i]
		i = parent
	}
}

func (w *World) pop() event {
	first := w.pending[0]
	last := len(w.pending) - 1
	w.pending[0] = w.pending[last]
	w.pending[last] = event{}
	w.pending = w.pending[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && w.before(child+1, child) {
			child++
		}
		if !w.before(child, i) {
			return first
		}
		w.pending[i], w.pending[child] = w.pending[child], w.pending[i]
		i = child
	}
}
