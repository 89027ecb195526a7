package gateway

import (
	"slices"
	"strconv"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// pinnedSlot is where the first list of regions that data is pinned to is among the holders, behind the slots of keys. The
// places of lists are this process's own: others know them by ownership.PinnedSlot.
const pinnedSlot = ownership.SlotCount

// holder says who accepts the home writes of one slot. Regions are indices of Router.regions.
type holder struct {
	// home is the first region in the slot's order, owner the one that accepts home writes now.
	home, owner int16
	// complete: the owner has everything that was ever accepted for the slot; see ownership.Owned.
	complete bool
	// closing: the owner is changing, so there is none (R6).
	closing bool
}

// compileHolders finds out who holds each slot, once for a configuration: requests only look it up.
func (r *Router) compileHolders() {
	o := owners{r: r, next: views(r.cfg.Regions), found: map[[2]uint16]holder{}}
	r.orders = ownership.RankAll(weightsOf(o.next))
	former := r.orders
	if r.cfg.Closing {
		o.before = views(r.cfg.Before)
		if weights := weightsOf(o.before); !slices.Equal(weights, weightsOf(o.next)) {
			former = ownership.RankAll(weights)
		}
	}
	r.holders = make([]holder, 0, ownership.SlotCount+len(r.pins))
	for slot := range ownership.SlotCount {
		pair := [2]uint16{r.orders.Of[slot], former.Of[slot]}
		h, known := o.found[pair]
		if !known {
			h = o.holder(r.orders.Order(slot), former.Order(slot))
			o.found[pair] = h
		}
		r.holders = append(r.holders, h)
	}
	for _, homes := range r.pins {
		r.holders = append(r.holders, o.holder(homes, homes))
	}
}

// owners finds out owners. Few orders of regions are distinct, so what was found is kept by the pair of
// orders: the one to come and the one before.
type owners struct {
	r            *Router
	next, before []ownership.RegionView
	found        map[[2]uint16]holder
}

func (o *owners) holder(order, former []string) holder {
	owned, closing := ownership.PinnedOwner(order, o.next), false
	if o.r.cfg.Closing {
		owned, closing = ownership.Between(ownership.PinnedOwner(former, o.before), owned)
	}
	h := holder{home: noRegion, owner: int16(o.r.index(owned.Region)), complete: owned.Complete, closing: closing} //nolint:gosec // far fewer regions
	if len(order) > 0 {
		h.home = int16(o.r.index(order[0])) //nolint:gosec // far fewer regions
	}
	return h
}

func views(regions []routing.Region) []ownership.RegionView {
	out := make([]ownership.RegionView, len(regions))
	for i := range regions {
		out[i] = regions[i].View()
	}
	return out
}

func weightsOf(regions []ownership.RegionView) []ownership.WeightedRegion {
	out := make([]ownership.WeightedRegion, len(regions))
	for i, r := range regions {
		out[i] = r.WeightedRegion
	}
	return out
}

// pin returns the place of data that is pinned to a list of regions.
func (r *Router) pin(homes []string) int {
	i := slices.IndexFunc(r.pins, func(p []string) bool { return slices.Equal(p, homes) })
	if i < 0 {
		i = len(r.pins)
		r.pins = append(r.pins, homes)
		r.pinValues = append(r.pinValues, []string{strconv.Itoa(ownership.PinnedSlot(homes))})
	}
	return pinnedSlot + i
}

// slotValue is the value of HeaderSlot for a slot. Nobody changes it.
func (r *Router) slotValue(slot int) []string {
	if slot < pinnedSlot {
		return slotValues[slot]
	}
	return r.pinValues[slot-pinnedSlot]
}

// slotValues are those of keys.
var slotValues = func() (values [pinnedSlot][]string) {
	for slot := range values {
		values[slot] = []string{strconv.Itoa(slot)}
	}
	return values
}()

// accepts reports whether this region accepts home writes for a slot as another configuration of the
// service numbers it. Slots of keys have the same numbers everywhere: a change of what maps a request to
// its slot closes the service wholly, and opens it when the requests from before have ended.
func (r *Router) accepts(other *Router, slot int) bool {
	if slot >= pinnedSlot && r != other {
		homes := other.pins[slot-pinnedSlot]
		slot = pinnedSlot + slices.IndexFunc(r.pins, func(p []string) bool { return slices.Equal(p, homes) })
		if slot < pinnedSlot {
			return false
		}
	}
	return !r.cfg.Closed && int(r.holders[slot].owner) == r.self
}

// whyHome says what keeps the slot's home from serving it, and names that region: when the home may own,
// it is another one that was lost with something that nobody else has.
func (r *Router) whyHome(h *holder) (Reason, int) {
	if h.home == noRegion {
		return ReasonNoHome, noRegion
	}
	home := int(h.home)
	if view := r.regions[home].View(); view.MayOwn() {
		lost := slices.IndexFunc(r.regions, func(x region) bool { return x.Unshipped && x.Name != view.Name })
		if lost == noRegion {
			return ReasonHomeAbsent, home
		}
		home = lost
	}
	return r.regions[home].why(), home
}

// why says why a region does not own what it is home to.
func (x *region) why() Reason {
	if x.Excluded {
		return ReasonHomeExcluded
	}
	switch x.State {
	case ownership.RegionReturning:
		return ReasonHomeReturning
	case ownership.RegionDrained:
		return ReasonHomeDrained
	case ownership.RegionLost:
		return ReasonHomeLost
	case ownership.RegionServing: // may own, or was lost and serves again without its last writes shipped
	}
	return ReasonHomeAbsent
}
