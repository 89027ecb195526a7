package sim

import (
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// memory repeats internal/agent.memory: what an agent has watched, as a follower too.
type memory struct {
	timings ownership.Timings
	watch   *health.Watch
	last    time.Duration
}

// newMemory returns an empty memory, with the timings that a mutant breaks.
func (s *Sim) newMemory() *memory {
	t := s.timings
	if s.mutant(NoDriftMargin) {
		t.RegionLease = time.Duration(float64(t.RegionLease) / (1 + ownership.MaxDrift))
	}
	if s.mutant(NoHoldDown) {
		t.UpAfter = 0
	}
	return &memory{timings: t, watch: health.NewQuietWatch(t)}
}

// look repeats Agent.look and memory.look.
func (a *agent) look() *health.Watch {
	m, now := a.memory, a.p.Clock.Now()
	if now-m.last > m.timings.RegionLease {
		m.watch = m.watch.Anew()
	}
	m.last = now
	m.watch.Probed(a.observer.Failing())
	m.watch.Update(now, a.conf)
	return m.watch
}

// inherit breaks the rule that what a predecessor watched counts for nothing (R4).
func (a *agent) inherit() {
	m := a.memory
	m.watch, m.last = health.NewQuietWatch(m.timings), a.p.Clock.Now()
	m.watch.Update(m.last-health.Expiry(m.timings), a.conf)
}
