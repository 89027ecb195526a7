package sim

import (
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// book repeats the part of internal/agent.ackBook that fencing needs: what every gateway said last, and
// until when it may count on the lease that it was last given.
type book struct {
	said   map[*gateway]said
	leased map[*gateway]time.Duration
	epoch  int64
}

type said struct {
	epoch int64
	busy  int
}

func newBook() *book {
	return &book{said: map[*gateway]said{}, leased: map[*gateway]time.Duration{}}
}

// note repeats Agent.noteAck and ackBook.note: an epoch counts if it is that of the current routing.
func (b *book) note(q *poll, current int64, news func()) {
	now := said{busy: q.busy}
	if q.has && q.version == current {
		now.epoch = current
		b.epoch = max(b.epoch, current)
	}
	before := b.said[q.from]
	if b.said[q.from] = now; now != before {
		news()
	}
}

// lease repeats ackBook.lease.
func (b *book) lease(g *gateway, now, remaining time.Duration) {
	until := now + remaining + time.Duration(float64(remaining)*2*ownership.MaxDrift)
	b.leased[g] = max(b.leased[g], until)
}

// fenced repeats ackBook.fenced.
func (a *agent) gatewaysFenced(now time.Duration, epoch int64) bool {
	for g, until := range a.book.leased {
		if now >= until || a.s.mutant(SilentGatewayForgotten) && !g.p.Running() {
			delete(a.book.leased, g)
			continue
		}
		said := a.book.said[g]
		if said.epoch != epoch || said.busy > 0 && !a.s.mutant(AckBeforeWritesEnd) {
			return false
		}
	}
	return true
}

// fenced repeats Agent.fenced: an agent that has just registered does not know which leases its
// predecessor handed out, and until it publishes the routing of the epoch, gateways get an earlier one.
func (a *agent) fenced(epoch int64) bool {
	now := a.p.Clock.Now()
	switch {
	case now < a.registeredAt+health.Expiry(a.s.timings) && !a.s.mutant(AckAfterRestart):
		return false
	case (!a.havePublished || a.published.View.Epoch != epoch) && !a.s.mutant(AckBeforeRouting):
		return false
	default:
		return a.gatewaysFenced(now, epoch)
	}
}

// acknowledgeOften repeats the ticker of Agent.acknowledge.
func (a *agent) acknowledgeOften() {
	a.p.After(a.s.timings.BeatInterval/4, func() {
		a.acknowledge()
		a.acknowledgeOften()
	})
}

// acknowledge repeats Agent.acknowledgeOnce (R8, R9): said is what was found out of the epoch so far, and
// it is written if the store does not have it, one write at a time.
func (a *agent) acknowledge() {
	if a.acking || !a.have || a.registration == nil || !a.conf.Gates[a.r.name].Open || a.refused {
		return
	}
	c := a.conf
	if a.said.Epoch != c.View.Epoch {
		a.said = ownership.Ack{Epoch: c.View.Epoch}
	}
	a.findOut(c)
	have := c.Acks[a.r.name]
	said := a.said
	if !said.Fenced && !said.CaughtUp && maps.Equal(said.Applied, have.Applied) || sameAck(said, have) {
		return
	}
	a.acking = true
	a.s.reached(aboutToAcknowledge, a.r.name)
	a.write(a.registration.PutAck(c, said), a.s.timings.RegionLease/2, func(_ int64, err error) {
		a.acking = false
		a.afterWrite(err)
	})
}

// findOut is the first half of Agent.acknowledgeOnce.
func (a *agent) findOut(c ownership.Configuration) {
	fence, catchUp := change.Concerns(c, a.r.name)
	if fence && !a.said.Fenced && a.fenced(c.View.Epoch) {
		a.said.Fenced, a.said.Vector = true, a.r.vector()
	}
	if catchUp && (!a.said.CaughtUp || len(a.said.Stuck) > 0) {
		a.said.CaughtUp, a.said.Stuck = a.caughtUp(c)
	}
	a.said.Applied = a.applied(c)
}

func sameAck(a, b ownership.Ack) bool {
	return a.Epoch == b.Epoch && a.Fenced == b.Fenced && a.CaughtUp == b.CaughtUp && slices.Equal(a.Stuck, b.Stuck) && maps.Equal(a.Applied, b.Applied)
}

// caughtUp repeats Agent.caughtUp and controllers/member/handover: the target, and all that was received
// of a region when its gate was first seen closed.
func (a *agent) caughtUp(c ownership.Configuration) (bool, []string) {
	if a.s.mutant(OpenBeforeCatchUp) {
		return true, nil
	}
	target, ready := change.Target(c, a.r.name)
	if !ready {
		return false, nil
	}
	lost := ownership.Vector{}
	for _, name := range change.LostNow(c) {
		if origin := a.s.regionOf(name); origin != a.r {
			lost[name] = map[string]int64{}
			for i, n := range a.latched(origin, c.Gates[name].Generation) {
				lost[name][serviceUIDs()[i]] = n
			}
		}
	}
	return true, a.r.behind(target.Join(lost))
}

// latched returns what the region had received of another when this gate of it was first seen closed.
func (a *agent) latched(origin *region, generation int64) []int64 {
	l := &a.r.data.latched[origin.index]
	if l.generation != generation {
		*l = latch{generation, slices.Clone(a.r.data.received[origin.index])}
	}
	return l.received
}

// latchEarly is what LatchedBeforeGateClosed does: it takes what was received when others became suspect.
func (a *agent) latchEarly(c ownership.Configuration) {
	for _, origin := range a.s.regions {
		gate := c.Gates[origin.name]
		if a.s.mutant(LatchedBeforeGateClosed) && gate.Open && c.View.Regions[origin.name].Suspect {
			a.latched(origin, gate.Generation+1)
		}
	}
}

// applied repeats Agent.applied.
func (a *agent) applied(c ownership.Configuration) map[string]int64 {
	var out map[string]int64
	for origin, debt := range c.Debts {
		if origin == a.r.name {
			continue
		}
		if c.Acks[a.r.name].Applied[origin] >= debt.Epoch || len(a.r.behind(debt.Vector)) == 0 {
			if out == nil {
				out = map[string]int64{}
			}
			out[origin] = debt.Epoch
		}
	}
	return out
}

// lagging repeats Local.Lagging: services of which another region's entries are old that are not applied
// here. Nothing more arrives from a region whose gate is closed.
func (a *agent) lagging() []string {
	var out []string
	for i, uid := range serviceUIDs() {
		for _, origin := range a.s.regions {
			if origin != a.r && a.conf.Gates[origin.name].Open && a.r.lag(origin, i) > a.s.timings.DownAfter {
				out = append(out, uid)
				break
			}
		}
	}
	return out
}
