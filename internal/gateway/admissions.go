package gateway

import "sync/atomic"

// admissions counts, by slot, the home requests under way that one configuration has admitted. A region
// acknowledges that it has let go of a slot only when none is left (R8): the gateway tells its agent how
// many there are with every poll.
type admissions struct {
	router *Router
	slots  []atomic.Int32
}

func newAdmissions(r *Router) *admissions {
	return &admissions{router: r, slots: make([]atomic.Int32, len(r.holders))}
}

// beyond counts the requests that a configuration would not admit.
func (a *admissions) beyond(r *Router) int {
	n := 0
	for slot := range a.slots {
		if c := a.slots[slot].Load(); c > 0 && !r.accepts(a.router, slot) {
			n += int(c)
		}
	}
	return n
}

func (a *admissions) empty() bool {
	for slot := range a.slots {
		if a.slots[slot].Load() > 0 {
			return false
		}
	}
	return true
}

// unfinished returns those that have requests under way. Whoever was replaced admits no more.
func unfinished(list []*admissions) []*admissions {
	var out []*admissions
	for _, a := range list {
		if !a.empty() {
			out = append(out, a)
		}
	}
	return out
}

// busy counts the home requests under way that were admitted under an earlier configuration and that this
// one would not admit. It falls, and a request that comes too late raises it for an instant: this one
// admits no others.
func (s *snapshot) busy() int {
	n := 0
	for _, a := range s.earlier {
		n += a.beyond(s.router)
	}
	return n
}

// admit notes a home request before it is sent, and reports whether the snapshot that it was decided by
// is still the current one. It counts first and looks then, while the agent client replaces the snapshot
// first and counts then: so either the request is counted before the agent hears of the new
// configuration, or it is decided anew by that.
func (s *state) admit(snap *snapshot, slot int) bool {
	snap.admitted.slots[slot].Add(1)
	if s.load() == snap {
		return true
	}
	s.ended(snap, slot)
	return false
}

// ended notes that an admitted request has ended. The last one that the current configuration would not
// admit is told to the agent at once.
func (s *state) ended(snap *snapshot, slot int) {
	snap.admitted.slots[slot].Add(-1)
	if now := s.load(); now.admitted == snap.admitted || now.busy() > 0 {
		return
	}
	select {
	case s.settled <- struct{}{}:
	default: // it will be told
	}
}
