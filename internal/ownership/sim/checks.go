package sim

import (
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// mayAccept checks SingleOwner when a gateway has taken a configuration: from now on, until an instant
// before its lease ends, it may accept writes to the cells that it has a right to. Nobody else may have
// one while that lasts, and no write that another has accepted may be under way.
func (s *Sim) mayAccept(g *gateway) {
	if !g.leased() {
		return
	}
	for _, other := range s.regions {
		if other == g.r {
			continue
		}
		for cell, has := range g.rights {
			if has != none && other.underWay[cell] > s.Now() {
				s.violate(SingleOwner, "%s may accept writes to cell %d, and one in region %s is under way until %.4fs",
					g.p.Name, cell, other.name, other.underWay[cell].Seconds())
			}
		}
		for _, og := range other.gateways {
			if !og.leased() {
				continue
			}
			for cell, has := range g.rights {
				if has != none && og.rights[cell] != none {
					s.violate(SingleOwner, "%s may accept writes to cell %d, and %s may until %.4fs",
						g.p.Name, cell, og.p.Name, og.p.Clock.TrueTime(og.leaseUntil).Seconds())
				}
			}
		}
	}
	if gate := s.store.content.Now().Gates[g.r.name]; !gate.Open && !s.restored {
		s.violate(LostHoldsNoLease, "%s has a lease for another %s, and the gate of its region is closed", g.p.Name, g.leaseUntil-g.p.Clock.Now())
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
func (s *Sim) leaderWrote(l *leader, r store.Request) {
	what := r.What
	before, after := s.last, s.store.content.Now()
	s.last = after
	defer s.reached(leaderHasWritten, "")
	if s.restored {
		return // what these promise is said of one store
	}
	if !s.store.content.Leads(l.term) {
		s.violate(DeposedWritesNothing, "%s writes %s and leads no more", l.a.p.Name, what)
	}
	if after.View.Epoch < before.View.Epoch || r.View && after.View.Epoch == before.View.Epoch {
		s.violate(EpochsGrow, "%s commits epoch %d after %d", l.a.p.Name, after.View.Epoch, before.View.Epoch)
	}
	for _, r := range s.regions {
		s.regionMoved(l, r, before, after)
	}
	if s.lostAt > 0 {
		s.measure(before, after)
	}
	if r.View {
		s.viewCommitted(before.View, after.View)
	}
}

// measure notes the steps that a leader has written, for the test of what it measures.
func (s *Sim) measure(before, after ownership.Configuration) {
	for name, i := range after.Incidents {
		for _, step := range i.Timeline[len(before.Incidents[name].Timeline):] {
			took := s.Now() - s.lostAt
			if step.Step == ownership.StepCommitted {
				took = s.lossCommitted // it is told of a while later
			}
			s.measured = append(s.measured, Measured{step.Step, took, step.SinceSuspected, step.Approximate})
		}
	}
}

// viewCommitted counts the changes that are put in force, and lets happen what waits for one to begin.
func (s *Sim) viewCommitted(before, after ownership.View) {
	lost := func(v ownership.View) bool {
		for _, rec := range v.Regions {
			if rec.State == ownership.RegionLost {
				return true
			}
		}
		return false
	}
	if s.lostAt > 0 && s.lossCommitted == 0 && lost(after) {
		s.lossCommitted = s.Now() - s.lostAt
	}
	switch {
	case after.Phase == ownership.PhaseClosing:
		s.reached(closingCommitted, "")
	case before.Phase == ownership.PhaseClosing:
		s.changes[before.Change.Kind]++
	}
}

func (s *Sim) regionMoved(l *leader, r *region, before, after ownership.Configuration) {
	if was, is := before.Gates[r.name], after.Gates[r.name]; was != is {
		s.Tracef("%s: gate of %s is %+v", l.a.p.Name, r.name, is)
		if is.Open {
			r.data.atOpen, r.returned = r.heads(), s.Now()
		} else {
			s.gateClosed(r)
			s.dataAtClose(r)
		}
	}
	was, is := before.View.Regions[r.name], after.View.Regions[r.name]
	if is.Gone && !was.Gone {
		s.declaredGone(r, after)
	}
	if was.State == is.State {
		return
	}
	s.Tracef("%s: region %s goes from %q to %s with epoch %d", l.a.p.Name, r.name, was.State, is.State, after.View.Epoch)
	switch {
	case is.State == ownership.RegionLost:
		s.losses++
	case is.State == ownership.RegionServing && before.View.Previous[r.name].State == ownership.RegionServing:
		// A planned change is undone that was to empty it: it has served all along.
	case is.State == ownership.RegionServing && was.State == ownership.RegionReturning:
		s.returns++
		s.holdDownKept(r, was, before.View.Regions, after.View.Regions)
	}
}

// holdDownKept checks HoldDownKept. The leader's clock may run faster than true time by maxDrift.
func (s *Sim) holdDownKept(r *region, was ownership.RegionRecord, before, after map[string]ownership.RegionRecord) {
	held := s.Now() - r.returned
	least := time.Duration(float64(health.HoldDown(s.timings, was.Flaps)) / (1 + ownership.MaxDrift))
	for name, other := range before {
		if name != r.name && other.State == ownership.RegionServing && after[name].State == ownership.RegionServing && !other.Suspect && other.Role == roleActive && held < least {
			s.violate(HoldDownKept, "region %s serves %s after its return with %d flaps, at least %s are to pass", r.name, held, was.Flaps, least)
		}
	}
}
