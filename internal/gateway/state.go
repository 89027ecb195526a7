package gateway

import (
	"sync/atomic"
	"time"
)

// snapshot is what the gateway acts on: a configuration and the lease that came with it. The two
// change together, so that no request combines an old configuration with a newer lease.
type snapshot struct {
	router   *Router
	version  string
	revision int64
	// leaseUntil on Clock.Boot; home writes end before it. term is another number for every lease that
	// began after the one before had run out.
	leaseUntil time.Duration
	term       int64
	// replaced is closed when another configuration follows.
	replaced chan struct{}
	// admitted counts the home requests under way that this configuration has admitted, earlier those of
	// the configurations before, as far as some may be left.
	admitted *admissions
	earlier  []*admissions
}

func (s *snapshot) leased(now time.Duration) bool { return now < s.leaseUntil }

// state holds the current snapshot; nil before the first.
type state struct {
	current atomic.Pointer[snapshot]
	// settled gets a value when the last home request has ended that the current configuration would
	// not admit.
	settled chan struct{}
}

func (s *state) load() *snapshot { return s.current.Load() }

// install makes a snapshot current. Only the agent client calls it, from one goroutine.
func (s *state) install(next *snapshot) {
	old := s.current.Load()
	if old != nil {
		next.earlier = unfinished(old.earlier)
	}
	if old != nil && old.router == next.router {
		next.replaced, next.admitted = old.replaced, old.admitted
		s.current.Store(next)
		return
	}
	next.replaced, next.admitted = make(chan struct{}), newAdmissions(next.router)
	if old != nil {
		// It may still admit, until the next is stored.
		next.earlier = append(next.earlier, old.admitted)
	}
	s.current.Store(next)
	if old != nil {
		close(old.replaced)
	}
}
