package sim

import (
	"fmt"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// retryEvery is that of package change.
const retryEvery = 30 * time.Second

// Bound is the time after the last fault within which every region serves again and owns its slots: what
// is under way runs out, the store and then the agents elect a leader, lost regions ask and come back, the
// hold-down of a region with so many flaps passes, and changes of owners are carried out, one of which may
// have to be tried again.
func Bound(t ownership.Timings, flaps int) time.Duration {
	running := health.Expiry(t) + 2*t.DownAfter + 2*requestTimeout
	elections := 3 * (t.LeaderSession + time.Second)
	changes := retryEvery + 4*t.PlannedLimit
	return running + elections + 10*t.BeatInterval + health.HoldDown(t, flaps) + changes
}

// OwnerBound is the time after a loss within which every slot that may be taken over has an owner, if
// nothing else goes wrong: the others find out, the lease runs out, the store and then the agents elect a
// leader, who watches the beat for the whole of its time, and the survivors catch up.
func OwnerBound(t ownership.Timings) time.Duration {
	evidence := t.DownAfter + 3*(t.ProbeInterval+t.ProbeTimeout)
	elections := 2 * (t.LeaderSession + time.Second)
	return evidence + elections + health.Expiry(t) + t.LossLimit + 4*t.BeatInterval
}

// unrecovered says what keeps the world from being well again, and whose promise that breaks; "" when
// nothing does.
func (s *Sim) unrecovered() (Invariant, string) {
	c := s.store.content.Now()
	for _, r := range s.regions {
		rec := c.View.Regions[r.name]
		switch {
		case r.gone && !rec.Gone && rec.State != "":
			return Recovers, fmt.Sprintf("region %s is %s and not declared lost for good", r.name, rec.State)
		case r.gone:
			continue
		case rec.State != ownership.RegionServing:
			return Recovers, fmt.Sprintf("region %s is %q (held: %s)", r.name, rec.State, c.Held[r.name])
		}
		for _, g := range r.gateways {
			if !g.leased() {
				return Recovers, fmt.Sprintf("%s holds no lease", g.p.Name)
			}
		}
	}
	for _, uid := range serviceUIDs() {
		if intent, record := c.ServiceIntents[uid], c.Services[uid]; record.UID == "" || record.SpecHash != intent.SpecHash {
			return Recovers, fmt.Sprintf("service %s has spec %q, %q is proposed", uid, record.SpecHash, intent.SpecHash)
		}
	}
	return OwnerInTime, s.astray(c)
}

// astray says which cell does not belong to the first region in its order that is there, with everything.
func (s *Sim) astray(c ownership.Configuration) string {
	owners := s.owners(c)
	for cell, owned := range owners {
		x := s.specs[c.Services[serviceUIDs()[s.serviceOf(cell)]].SpecHash]
		for _, name := range ownership.Rank(s.slotOf(cell, x), x.weights) {
			r := s.regionOf(name)
			if r.gone {
				continue
			}
			if owned.Region != name || !owned.Complete {
				return fmt.Sprintf("cell %d belongs to %+v, its home is %s", cell, owned, name)
			}
			if !r.accepts(cell, all) {
				return fmt.Sprintf("no gateway of region %s accepts writes to cell %d", name, cell)
			}
			break
		}
	}
	return ""
}

// accepts reports whether a gateway of the region accepts writes to a cell, at least some of them.
func (r *region) accepts(cell int, least right) bool {
	for _, g := range r.gateways {
		if g.leased() && g.p.Running() && g.rights[cell] >= least {
			return true
		}
	}
	return false
}

// ownersInTime checks OwnerInTime after a loss that is all that goes wrong.
func (s *Sim) ownersInTime() {
	for cell := range s.cells() {
		if serviceUIDs()[s.serviceOf(cell)] == manualUID {
			continue // a person has to approve
		}
		owned := false
		for _, r := range s.regions {
			owned = owned || r.accepts(cell, takeover)
		}
		if !owned {
			s.violate(OwnerInTime, "%s after the loss nobody accepts writes to cell %d", OwnerBound(s.timings), cell)
		}
	}
}
