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
	// leaseUntil on Clock.Boot; home writes end before it.
	leaseUntil time.Duration
	// replaced is closed when another configuration follows.
	replaced chan struct{}
}

func (s *snapshot) leased(now time.Duration) bool { return now < s.leaseUntil }

// state holds the current snapshot; nil before the first.
type state struct{ current atomic.Pointer[snapshot] }

func (s *state) load() *snapshot { return s.current.Load() }

// install makes a snapshot current. Only the agent client calls it, from one goroutine.
func (s *state) install(next *snapshot) {
	old := s.current.Load()
	if old != nil && old.router == next.router {
		next.replaced = old.replaced
		s.current.Store(next)
		return
	}
	next.replaced = make(chan struct{})
	s.current.Store(next)
	if old != nil {
		close(old.replaced)
	}
}
