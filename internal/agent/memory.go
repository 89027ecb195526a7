package agent

import (
	"context"
	"sync"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// memory is what this agent has itself watched of the regions. It watches as a follower too, so that
// it need not begin when it is elected: R4 asks that whoever closes a gate has itself watched the
// beat standing still, not that it led meanwhile. What another leader watched counts for nothing.
type memory struct {
	lease time.Duration

	mu    sync.Mutex
	watch *health.Watch
	last  time.Duration
}

func newMemory(t ownership.Timings) *memory {
	return &memory{lease: t.RegionLease, watch: health.NewQuietWatch(t)}
}

// look notes what the configuration and the agent's own probes show at now, and lets decide read all
// that was noted. After a gap of a lease without news it begins anew: it has not watched. decide must
// not keep the Watch.
func (m *memory) look(now time.Duration, c ownership.Configuration, own map[string]health.Failing, decide func(*health.Watch)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now-m.last > m.lease {
		m.watch = m.watch.Anew()
	}
	m.last = now
	m.watch.Probed(own)
	m.watch.Update(now, c)
	decide(m.watch)
}

// look notes what the configuration shows now, and what this agent's own probes do.
func (a *Agent) look(now time.Duration, c ownership.Configuration, decide func(*health.Watch)) {
	a.mu.Lock()
	own := a.observer.Failing()
	a.mu.Unlock()
	a.memory.look(now, c, own, decide)
}

// follow keeps the memory while others lead.
func (a *Agent) follow(ctx context.Context) error {
	news, cancel := a.Subscribe()
	defer cancel()
	for {
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c, have := a.Snapshot(); have {
			a.look(a.config.Clock.Boottime(), c, func(*health.Watch) {})
		}
	}
}
