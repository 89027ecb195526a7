package health

import "time"

// standing is what the observers of a region have said of it, all together, since enough of them beat.
type standing struct {
	from time.Duration
	// denied: they beat for downAfter, and no majority of them reported the region unreachable.
	denied bool
	// confirmed, since a time: a majority does. seen: the agent has seen that come up.
	confirmed, seen bool
	since           time.Duration
}

// confirm notes since when a majority reports the region unreachable.
func (w *Watch) confirm(now time.Duration, name string, v verdict) {
	if len(v.observers) < minObservers {
		delete(w.standing, name)
		return
	}
	s, known := w.standing[name]
	if !known {
		s.from = now
	}
	switch {
	case !v.confirmed:
		s.confirmed, s.denied = false, s.denied || now-s.from >= w.timings.DownAfter
	case !s.confirmed:
		s.confirmed, s.since, s.seen = true, now, s.denied
	}
	w.standing[name] = s
}

// fresh reports whether what a majority reports of the region is no leftover of a time in which the
// observers, the store or this agent stood still: the agent has seen it come up while all went on, or
// stand for downAfter, in which an observer that reaches the region again takes its report back.
func (w *Watch) fresh(now time.Duration, region string) bool {
	s := w.standing[region]
	return s.confirmed && (s.seen || now-s.since >= w.timings.DownAfter)
}
