package sim

import (
	"fmt"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// Bound is the time after the last fault within which every region serves again: what is under way
// runs out, the store and then the agents elect a leader, lost regions ask and come back, and the
// hold-down of a region with so many flaps passes.
func Bound(t ownership.Timings, flaps int) time.Duration {
	running := health.Expiry(t) + 2*t.DownAfter + 2*requestTimeout
	elections := 3 * (t.LeaderSession + time.Second)
	return running + elections + 10*t.BeatInterval + health.HoldDown(t, flaps)
}

// mayAccept checks SingleOwner when a gateway has taken a configuration: under its lease it accepts
// writes to the slots that it owns from now on, the last of them an instant before the lease ends, and
// a write may be under way until then.
func (s *Sim) mayAccept(g *gateway) {
	if !g.leased() {
		return
	}
	until := g.p.Clock.TrueTime(g.leaseUntil)
	for slot, owned := range g.owned {
		if !owned {
			continue
		}
		for _, other := range s.regions {
			if end := other.underWay[slot]; other != g.r && end > s.Now() {
				s.violate(SingleOwner, "%s accepts writes to slot %d until %.4fs, and those of region %s are under way until %.4fs",
					g.p.Name, slot, until.Seconds(), other.name, end.Seconds())
			}
		}
		g.r.underWay[slot] = max(g.r.underWay[slot], until)
	}
	if gate := s.store.content.Now().Gates[g.r.name]; !gate.Open && !s.restored {
		s.violate(LostHoldsNoLease, "%s has a lease until %.4fs, and the gate of its region is closed", g.p.Name, until.Seconds())
	}
}

// leaseExtended checks LostHoldsNoLease when an agent counts on a lease.
func (s *Sim) leaseExtended(a *agent) {
	if gate := s.store.content.Now().Gates[a.r.name]; a.lease() > 0 && !gate.Open && !s.restored {
		s.violate(LostHoldsNoLease, "%s extends its lease by %s, and the gate of its region is closed", a.p.Name, a.lease())
	}
}

// gateClosed checks LostHoldsNoLease when the leader's write takes effect.
func (s *Sim) gateClosed(r *region) {
	for _, a := range r.agents {
		if a.lease() > 0 {
			s.violate(LostHoldsNoLease, "the gate of region %s closes, and %s has a lease for another %s", r.name, a.p.Name, a.lease())
		}
	}
	for _, g := range r.gateways {
		if g.leased() {
			s.violate(LostHoldsNoLease, "the gate of region %s closes, and %s has a lease for another %s",
				r.name, g.p.Name, g.leaseUntil-g.p.Clock.Now())
		}
	}
}

// delivered checks NeverBack at an agent.
func (s *Sim) delivered(a *agent, c ownership.Configuration) {
	before := position{a.conf.ClusterID, a.conf.Revision}
	if !a.have {
		before = a.before
	}
	s.neverBack(a.p.Name, before, c)
	if a.have && c.View.Epoch < a.conf.View.Epoch {
		s.violate(NeverBack, "%s goes from epoch %d to %d", a.p.Name, a.conf.View.Epoch, c.View.Epoch)
	}
	if c.ClusterID == a.r.kept.clusterID || a.r.kept.clusterID == 0 {
		a.r.kept = position{c.ClusterID, max(c.Revision, a.r.kept.revision)}
	}
}

// taken checks NeverBack at a gateway.
func (s *Sim) taken(g *gateway, c ownership.Configuration) {
	if g.has {
		s.neverBack(g.p.Name, position{g.conf.ClusterID, g.conf.Revision}, c)
	}
}

func (s *Sim) neverBack(who string, before position, c ownership.Configuration) {
	switch {
	case before.clusterID != 0 && before.clusterID != c.ClusterID:
		s.violate(NeverBack, "%s takes the store %d for the store %d", who, c.ClusterID, before.clusterID)
	case c.Revision < before.revision:
		s.violate(NeverBack, "%s goes from revision %d to %d", who, before.revision, c.Revision)
	}
}

// registered notes that the agent's registration takes effect.
func (s *Sim) registered(a *agent) {
	for _, r := range s.regions {
		for _, other := range r.agents {
			if r == a.r && other != a && other.registration != nil {
				other.superseded = true
			}
		}
	}
}

// agentWrote checks ReplacedWritesNothing when a write takes effect.
func (s *Sim) agentWrote(a *agent, what string) {
	if a.superseded && !s.restored {
		s.violate(ReplacedWritesNothing, "%s writes %s after another agent of its region has registered", a.p.Name, what)
	}
}

// leaderWrote checks what a write of a leader brings about when it takes effect.
func (s *Sim) leaderWrote(l *leader, what string) {
	before, after := s.last, s.store.content.Now()
	s.last = after
	if s.restored {
		return // what these promise is said of one store
	}
	if !s.store.content.Leads(l.term) {
		s.violate(DeposedWritesNothing, "%s writes %s and leads no more", l.a.p.Name, what)
	}
	if after.View.Epoch < before.View.Epoch || what == "view" && after.View.Epoch == before.View.Epoch {
		s.violate(EpochsGrow, "%s commits epoch %d after %d", l.a.p.Name, after.View.Epoch, before.View.Epoch)
	}
	for _, r := range s.regions {
		s.regionMoved(l, r, before, after)
	}
	if s.lostAt > 0 {
		s.measure(before, after)
	}
}

// measure notes the steps that a leader has written, for the test of what it measures.
func (s *Sim) measure(before, after ownership.Configuration) {
	for name, i := range after.Incidents {
		for _, step := range i.Timeline[len(before.Incidents[name].Timeline):] {
			s.measured = append(s.measured, Measured{step.Step, s.Now() - s.lostAt, step.SinceSuspected, step.Approximate})
		}
	}
}

func (s *Sim) regionMoved(l *leader, r *region, before, after ownership.Configuration) {
	if was, is := before.Gates[r.name], after.Gates[r.name]; was != is {
		s.Tracef("%s: gate of %s is %+v", l.a.p.Name, r.name, is)
		if !is.Open {
			s.gateClosed(r)
		}
	}
	was, is := before.View.Regions[r.name], after.View.Regions[r.name]
	if was.State == is.State {
		return
	}
	s.Tracef("%s: region %s goes from %q to %s with epoch %d", l.a.p.Name, r.name, was.State, is.State, after.View.Epoch)
	switch {
	case is.State == ownership.RegionLost:
		s.losses++
	case is.State == ownership.RegionReturning:
		r.returned = s.Now()
	case is.State == ownership.RegionServing && was.State == ownership.RegionReturning:
		s.returns++
		s.holdDownKept(r, was, before)
	}
}

// holdDownKept checks HoldDownKept. The leader's clock may run faster than true time by maxDrift.
func (s *Sim) holdDownKept(r *region, was ownership.RegionRecord, before ownership.Configuration) {
	held := s.Now() - r.returned
	least := time.Duration(float64(health.HoldDown(s.timings, was.Flaps)) / (1 + ownership.MaxDrift))
	for name, other := range before.View.Regions {
		if name != r.name && other.State == ownership.RegionServing && !other.Suspect && other.Role == roleActive && held < least {
			s.violate(HoldDownKept, "region %s serves %s after its return with %d flaps, at least %s are to pass", r.name, held, was.Flaps, least)
		}
	}
}

// unrecovered says what keeps the world from being well again, "" when nothing does.
func (s *Sim) unrecovered() string {
	c := s.store.content.Now()
	for _, r := range s.regions {
		if state := c.View.Regions[r.name].State; state != ownership.RegionServing {
			return fmt.Sprintf("region %s is %q (held: %s)", r.name, state, c.Held[r.name])
		}
		ok := r.witness
		for _, g := range r.gateways {
			ok = ok || g.leased() && (s.o.Takeover || g.owned[r.index])
		}
		if !ok {
			return fmt.Sprintf("no gateway of region %s accepts writes to its slots", r.name)
		}
	}
	return ""
}
