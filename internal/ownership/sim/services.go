package sim

import (
	"strconv"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// The services of every world. All have one user for each region that serves, whose home that is.
const (
	// plainUID fails over by itself.
	plainUID = "plain"
	// stuckUID does too, and what it has to apply is stuck at times (R10).
	stuckUID = "stuck"
	// manualUID waits for a person after a loss.
	manualUID = "manual"
)

func serviceUIDs() []string { return []string{plainUID, stuckUID, manualUID} }

// stuckIndex is that of stuckUID in serviceUIDs.
const stuckIndex = 1

// spec is an ownership spec: the regions' weights, and how users map to slots.
type spec struct {
	weights []ownership.WeightedRegion
	// shift is how a user's key is read: with another one every user falls into another slot.
	shift int
	hash  string
}

// makeSpecs finds a slot for each region that serves, and the specs that hubs may propose; the first is
// in force at the beginning.
func (s *Sim) makeSpecs() {
	var even []ownership.WeightedRegion
	for _, r := range s.regions {
		if !r.witness {
			even = append(even, ownership.WeightedRegion{Name: r.name, Weight: 1})
		}
	}
	for _, w := range even {
		slot := 0
		for ownership.Home(slot, even) != w.Name {
			slot++
		}
		s.slots = append(s.slots, slot)
	}
	s.specs = map[string]*spec{}
	for _, weights := range [][]int32{{1, 1, 1, 1, 1}, {3, 1, 1, 1, 1}, {1, 5, 1, 1, 1}, {0, 1, 1, 1, 1}} {
		for shift := range 2 {
			x := &spec{shift: shift}
			for i, w := range even {
				x.weights = append(x.weights, ownership.WeightedRegion{Name: w.Name, Weight: weights[i]})
			}
			keys := []ownership.SpecKey{{Name: "user", Normalize: []string{strconv.Itoa(shift)}}}
			x.hash = ownership.Spec{Regions: x.weights, Keys: keys}.Hash()
			s.specs[x.hash] = x
			s.hashes = append(s.hashes, x.hash)
		}
	}
}

// A cell is one user of one service: what has one owner at any time. Writes are to cells.
func (s *Sim) cells() int { return len(serviceUIDs()) * len(s.slots) }

func (s *Sim) serviceOf(cell int) int { return cell / len(s.slots) }

// slotOf returns the slot that a cell's requests fall into under a spec.
func (s *Sim) slotOf(cell int, x *spec) int {
	return s.slots[(cell+x.shift)%len(s.slots)]
}

// owners says who owns every cell in a configuration, as gateways have it from their routing. It repeats
// what makes routing of a configuration: a service that has no record, or of which more than regions and
// weights change, is closed.
func (s *Sim) owners(c ownership.Configuration) []ownership.Owned {
	if s.known.owners != nil && s.known.at == (position{c.ClusterID, c.Decided}) && !s.restored {
		return s.known.owners
	}
	c = s.asRead(c)
	owners := make([]ownership.Owned, s.cells())
	for i, uid := range serviceUIDs() {
		record, there := c.Services[uid]
		if !there {
			continue
		}
		next := s.specs[record.SpecHash]
		views := c.RegionViews(record, next.weights)
		state, regions, closing := c.Before(record)
		if closing && s.specs[state.SpecHash].shift != next.shift && !s.mutant(KeyChangeMovedOnly) {
			continue
		}
		for k := range s.slots {
			cell := i*len(s.slots) + k
			owned := ownership.Owner(s.slotOf(cell, next), views)
			if closing {
				before := s.specs[state.SpecHash]
				slot := s.slotOf(cell, before)
				if s.mutant(KeyChangeMovedOnly) {
					slot = s.slotOf(cell, next)
				}
				was := ownership.Owner(slot, ownership.Views(state, regions, before.weights))
				owned, _ = ownership.Between(was, owned)
			}
			owners[cell] = owned
		}
	}
	s.known.at, s.known.owners = position{c.ClusterID, c.Decided}, owners
	return owners
}

// intents returns what the hub proposes first.
func (s *Sim) intents() []ownership.ServiceIntent {
	var out []ownership.ServiceIntent
	for _, uid := range serviceUIDs() {
		i := ownership.ServiceIntent{UID: uid, Namespace: "n", Name: uid, SpecHash: s.hashes[0], Manual: uid == manualUID}
		if s.Chance(0.5) {
			i.Handback = ownership.HandbackAutomatic
		}
		if s.Chance(0.8) { // a hub of an earlier version does not say which
			for _, w := range s.specs[s.hashes[0]].weights {
				i.Regions = append(i.Regions, w.Name)
			}
		}
		out = append(out, i)
	}
	return out
}

func accepted(i ownership.ServiceIntent) ownership.ServiceRecord {
	return ownership.ServiceRecord{
		UID: i.UID, Namespace: i.Namespace, Name: i.Name, Handback: i.Handback,
		ServiceState: ownership.ServiceState{SpecHash: i.SpecHash, Regions: i.Regions, Manual: i.Manual},
	}
}

// propose writes the first proposals.
func (s *Sim) propose(intents []ownership.ServiceIntent) {
	for _, i := range intents {
		s.store.content.Do(store.PutServiceIntent(i))
	}
	s.store.committed()
}
