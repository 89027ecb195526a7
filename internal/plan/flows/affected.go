package flows

import (
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// affected counts the slots whose requests cannot be served as declared: those of flows that another
// region may take over, and all others, which need an owner that has everything.
type affected struct{ takeover, others int }

// judge tells which slots are affected.
type judge struct {
	next, before []ownership.RegionView
	// closing: owners are changing; lost: because a region is.
	closing, lost bool
}

// judgeOf ranks the state before a change by the weights that are to come. With other weights that is
// not what it was, but weights change only while every region has what it is to own.
func judgeOf(own v1alpha1.OwnershipSlice, c ownership.Configuration, record ownership.ServiceRecord) judge {
	weighted := make([]ownership.WeightedRegion, 0, len(own.Regions))
	for _, r := range own.Regions {
		weighted = append(weighted, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
	}
	j := judge{next: c.RegionViews(record, weighted)}
	if state, regions, closing := c.Before(record); closing {
		j.before, j.closing = ownership.Views(state, regions, weighted), true
		j.lost = c.View.Change == nil || !c.View.Change.Kind.Planned()
	}
	return j
}

// owned returns who serves the slots that have an order, as far as that tells whether a flow is
// degraded. While owners change because a region is lost, nobody serves what it owned. A planned change
// is a pause of moments in which requests wait: it changes no state before it is done.
func (j judge) owned(order []string) ownership.Owned {
	next := ownership.PinnedOwner(order, j.next)
	if !j.closing {
		return next
	}
	before := ownership.PinnedOwner(order, j.before)
	if !j.lost {
		return before
	}
	owned, _ := ownership.Between(before, next)
	return owned
}

// keys counts the slots of partition keys.
func (j judge) keys() affected {
	if allOwn(j.next) && allOwn(j.before) {
		return affected{} // the normal day, without ranking every slot
	}
	weighted := make([]ownership.WeightedRegion, 0, len(j.next))
	for _, r := range j.next {
		weighted = append(weighted, r.WeightedRegion)
	}
	orders := ownership.RankAll(weighted)
	var out affected
	for i, n := range orders.Count() {
		out = out.and(j.owned(orders.Distinct[i]), n)
	}
	return out
}

// pinned counts all slots or none, for a flow whose data has a fixed home.
func (j judge) pinned(homes []string) affected {
	return affected{}.and(j.owned(homes), ownership.SlotCount)
}

func (a affected) and(o ownership.Owned, slots int) affected {
	if o.Region == "" {
		a.takeover += slots
	}
	if o.Region == "" || !o.Complete {
		a.others += slots
	}
	return a
}

// allOwn reports whether every region with a weight may own, and none was lost with something that the
// others lack.
func allOwn(regions []ownership.RegionView) bool {
	return !slices.ContainsFunc(regions, func(r ownership.RegionView) bool {
		return r.Weight > 0 && (!r.MayOwn() || r.Unshipped)
	})
}
