package sim

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// equip gives the regions what they have besides machines.
func (s *Sim) equip() {
	s.applyLag = []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, time.Second}[s.IntN(3)]
	for _, r := range s.regions {
		r.underWay = make([]time.Duration, s.cells())
		r.data = newData(len(s.regions), s.cells())
		for _, other := range s.regions {
			if other != r {
				r.links = append(r.links, &link{s: s, from: r, to: other})
			}
		}
		if !r.witness && s.Chance(0.3) {
			r.gatewayCount = 2
		}
	}
}

// bootstrap writes what hub and first leader have written, and starts all processes. Some worlds begin
// with the hub's proposals alone.
func (s *Sim) bootstrap() {
	c := s.store.content
	view := ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}}
	for _, r := range s.regions {
		role := roleActive
		if r.witness {
			role = "Witness"
		}
		c.Do(store.PutRegionIntent(ownership.RegionIntent{Name: r.name, Role: role, Probes: []ownership.Probe{{Name: "edge"}}}))
		view.Regions[r.name] = ownership.RegionRecord{State: ownership.RegionServing, Role: role}
	}
	intents := s.intents()
	if s.quiet || s.o.Harmless || s.Chance(0.8) {
		s.propose(intents)
		first := store.Term{Key: "leader/0"}
		first.Created = c.Do(store.Stand(first.Key, "first")).Revision
		for _, i := range intents {
			c.Do(first.PutServiceRecord(c.Now(), accepted(i)))
		}
		for _, r := range s.regions {
			c.Do(first.OpenGate(c.Now(), r.name))
		}
		c.Do(first.Commit(c.Now(), change.Txn{What: "first", View: view}))
		c.EndSession(first.Key)
	} else {
		s.After(s.Between(0, 10*s.timings.BeatInterval), func() { s.propose(intents) })
	}
	s.last = c.Now()
	s.store.elect()
	for _, r := range s.regions {
		s.startAgent(r)
		for range r.gatewayCount {
			s.startGateway(r)
		}
	}
}

func (s *Sim) regionOf(name string) *region {
	for _, r := range s.regions {
		if r.name == name {
			return r
		}
	}
	return nil
}
