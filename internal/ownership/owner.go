package ownership

import "slices"

// RegionView is what the agreed configuration says of one region of one service. Weight, State,
// Excluded and HandedBack are all that ownership depends on.
type RegionView struct {
	WeightedRegion
	// State is empty for a region that the view does not know yet: it owns nothing.
	State RegionState
	// Excluded regions own no slot of the service whatever their state.
	Excluded bool
	// HandedBack lets a Returning region own the service's slots again (R12).
	HandedBack bool
}

// MayOwn reports whether the region may own slots of the service at all.
func (r RegionView) MayOwn() bool {
	if r.Excluded {
		return false
	}
	return r.State == RegionServing || (r.State == RegionReturning && r.HandedBack)
}

// RegionViews says what the configuration decided of a service's regions, in the given order.
func (c Configuration) RegionViews(service ServiceRecord, regions []WeightedRegion) []RegionView {
	views := make([]RegionView, len(regions))
	for i, r := range regions {
		views[i] = RegionView{
			WeightedRegion: r,
			State:          c.View.Regions[r.Name].State,
			Excluded:       slices.Contains(service.Excluded, r.Name),
			HandedBack:     slices.Contains(service.HandedBack, r.Name),
		}
	}
	return views
}

// Home returns the slot's home region: the first in its order whatever the regions' states, ""
// when no region has a weight.
func Home(slot int, regions []WeightedRegion) string {
	if ranked := Rank(slot, regions); len(ranked) > 0 {
		return ranked[0]
	}
	return ""
}

// Owner returns the first region in the slot's order that may own it, "" when none may. It moves
// slots as soon as a state changes and is therefore only for callers that keep R6 to R8 between
// two configurations; HomeOwner is for those that do not.
func Owner(slot int, regions []RegionView) string {
	return firstOwner(Rank(slot, weighted(regions)), regions)
}

// PinnedOwner is Owner for a flow whose data has a fixed home: homes ranks the regions, and
// regions that are not in the list never own it.
func PinnedOwner(homes []string, regions []RegionView) string {
	return firstOwner(homes, regions)
}

// HomeOwner returns the slot's home region if that may own it, and "" otherwise: no other region
// ever takes over, so no slot can have two owners whatever the order in which regions learn of a
// change.
func HomeOwner(slot int, regions []RegionView) string {
	home := Home(slot, weighted(regions))
	return firstOwner([]string{home}, regions)
}

func firstOwner(ranked []string, regions []RegionView) string {
	for _, name := range ranked {
		for _, r := range regions {
			if r.Name == name && r.MayOwn() {
				return name
			}
		}
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
