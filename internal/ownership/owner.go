package ownership

import (
	"maps"
	"slices"
)

// roleWitness is the role of regions that vote and observe, and own nothing.
const roleWitness = "Witness"

// RegionView is what a configuration says of one region of one service: all that ownership depends
// on.
type RegionView struct {
	WeightedRegion
	// State is empty for a region that the view does not know yet: it owns nothing.
	State RegionState
	// Excluded regions own no slot of the service whatever their state.
	Excluded bool
	// HandedBack lets a Returning region own the service's slots again (R12).
	HandedBack bool
	// Withheld: nobody takes over the slots of this region, which is lost (R10).
	Withheld bool
	// Unshipped: not all that the region accepted before it was lost may have reached the others.
	Unshipped bool
	// Behind are the regions whose slots an Unshipped region may have owned with everything in them.
	Behind []string
	// Awaits are the regions that own none of this one's slots yet (R10).
	Awaits []string
	// Lacks are the regions that may lack what this one had given away before it was lost.
	Lacks []string
}

// MayOwn reports whether the region may own slots of the service at all.
func (r RegionView) MayOwn() bool {
	if r.Excluded {
		return false
	}
	return r.State == RegionServing || (r.State == RegionReturning && r.HandedBack)
}

// Owned is who owns a slot.
type Owned struct {
	// Region that owns the slot, "" when none does.
	Region string
	// Complete is false while a lost region may have accepted writes to the slot that Region does not
	// have: Region then serves the flows that may be taken over, and no others.
	Complete bool
}

// Home returns the slot's home region: the first in its order whatever the regions' states, ""
// when no region has a weight.
func Home(slot int, regions []WeightedRegion) string {
	if ranked := Rank(slot, regions); len(ranked) > 0 {
		return ranked[0]
	}
	return ""
}

// Owner returns who owns the slot. It is for one configuration that is in force; between two of them,
// Closing says which slots nobody owns (R6).
func Owner(slot int, regions []RegionView) Owned {
	return firstOwner(Rank(slot, weighted(regions)), regions)
}

// PinnedOwner is Owner for a flow whose data has a fixed home: homes ranks the regions, and
// regions that are not in the list never own it.
func PinnedOwner(homes []string, regions []RegionView) Owned {
	return firstOwner(homes, regions)
}

// Between returns who accepts home writes for a slot while the view is Closing, from its owners in the
// last Open configuration and in the next: nobody if they differ (R6). Until the next is Open, the
// owner has no more than it had. A service of which more than regions and weights change is closed
// wholly, since its requests may map to other slots.
func Between(before, next Owned) (owned Owned, closing bool) {
	if before.Region != next.Region {
		return Owned{}, true
	}
	return Owned{Region: next.Region, Complete: before.Complete && next.Complete}, false
}

// firstOwner returns the first region in the order that may own, unless one that precedes it lets
// nobody take over, or awaits that very region.
func firstOwner(order []string, regions []RegionView) Owned {
	var passed []RegionView
	for _, name := range order {
		i := slices.IndexFunc(regions, func(r RegionView) bool { return r.Name == name })
		switch {
		case i < 0 || regions[i].Excluded:
		case regions[i].MayOwn():
			for _, p := range passed {
				if slices.Contains(p.Awaits, name) {
					return Owned{}
				}
			}
			return Owned{Region: name, Complete: complete(name, order, regions)}
		case regions[i].Withheld:
			return Owned{}
		default:
			passed = append(passed, regions[i])
		}
	}
	return Owned{}
}

// complete reports whether no other region, now lost, may have been the last that owned the slot with
// everything in it, and the owner has what those gave away: unless it is the first in the order and
// served when such a region was lost. Then it had its slots itself.
func complete(owner string, order []string, regions []RegionView) bool {
	for _, lost := range regions {
		if lost.Name == owner {
			continue
		}
		if lost.Unshipped && lastComplete(order, lost, regions) == lost.Name {
			return false
		}
		if slices.Contains(lost.Lacks, owner) && (owner != order[0] || slices.Contains(lost.Behind, owner)) {
			return false
		}
	}
	return true
}

// lastComplete returns who owned the slot with everything in it when a region was lost: the first in
// the order that had not been drained, nor excluded, before.
func lastComplete(order []string, lost RegionView, regions []RegionView) string {
	for _, name := range order {
		if slices.Contains(lost.Behind, name) ||
			slices.ContainsFunc(regions, func(r RegionView) bool { return r.Name == name && r.Excluded }) {
			continue
		}
		return name
	}
	return ""
}

func weighted(regions []RegionView) []WeightedRegion {
	w := make([]WeightedRegion, len(regions))
	for i, r := range regions {
		w[i] = r.WeightedRegion
	}
	return w
}

// RegionViews says what the configuration decided of a service's regions, in the given order. While
// the view is Closing it is what is to come.
func (c Configuration) RegionViews(service ServiceRecord, regions []WeightedRegion) []RegionView {
	return Views(service.ServiceState, c.View.Regions, regions)
}

// Before returns what was in force before the change that is under way: the service's state and the
// regions' (R6). ok is false while the view is Open.
func (c Configuration) Before(service ServiceRecord) (state ServiceState, regions map[string]RegionRecord, ok bool) {
	if c.View.Phase != PhaseClosing {
		return ServiceState{}, nil, false
	}
	state = service.ServiceState
	if service.Base == c.View.Base && service.Previous != nil {
		state = *service.Previous
	}
	return state, c.View.Previous, true
}

// Views says what a service's state and the regions' records make of a service's regions.
func Views(service ServiceState, records map[string]RegionRecord, regions []WeightedRegion) []RegionView {
	views := make([]RegionView, len(regions))
	for i, r := range regions {
		rec := records[r.Name]
		v := RegionView{
			WeightedRegion: r, State: rec.State,
			Excluded:   slices.Contains(service.Excluded, r.Name),
			HandedBack: rec.ReturnedEpoch != 0 && service.HandedBack[r.Name] == rec.ReturnedEpoch,
			Unshipped:  rec.Unshipped || rec.Rehearses(), Behind: rec.Behind, Awaits: rec.Awaits, Lacks: rec.Lacks,
		}
		v.Withheld = service.withholds(r.Name, rec) && !v.MayOwn()
		views[i] = v
	}
	return views
}

// withholds reports whether a region's loss lets nobody take over. What was received of a region is
// caught up with even if the rest is given up.
func (s ServiceState) withholds(region string, rec RegionRecord) bool {
	stuck, held := s.Withheld[region]
	return (rec.Unshipped || rec.Gone) && held && stuck == rec.LostEpoch ||
		rec.Unshipped && s.Manual && s.Approved[region] != rec.LostEpoch
}

// MayOwn returns the regions that may own slots of a service in this state, sorted.
func (s ServiceState) MayOwn(records map[string]RegionRecord) []string {
	return s.those(records, RegionView.MayOwn)
}

// Withholding returns the regions whose slots nobody takes over, sorted.
func (s ServiceState) Withholding(records map[string]RegionRecord) []string {
	return s.those(records, func(r RegionView) bool { return r.Withheld })
}

func (s ServiceState) those(records map[string]RegionRecord, which func(RegionView) bool) []string {
	names := s.Regions
	if len(names) == 0 { // a hub that does not say: any but the witnesses
		names = slices.DeleteFunc(slices.Sorted(maps.Keys(records)), func(r string) bool { return records[r].Role == roleWitness })
	}
	weights := make([]WeightedRegion, len(names))
	for i, name := range names {
		weights[i] = WeightedRegion{Name: name}
	}
	var out []string
	for _, v := range Views(s, records, weights) {
		if which(v) {
			out = append(out, v.Name)
		}
	}
	return out
}
