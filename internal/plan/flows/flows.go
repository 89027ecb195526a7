// Package flows computes, from a service's ownership and the agreed view, how each flow is
// served: the one place where "degraded" is decided, for statuses, gateways and flags alike. It
// is pure.
package flows

import (
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// State is how one flow is served.
type State struct {
	Name string
	Core bool
	// State is Available, Degraded or Unavailable.
	State v1alpha1.FlowState
	// Action that affected requests meet; empty while Available. Takeover and Defer are not acted
	// on yet and read Reject here.
	Action v1alpha1.HomeLossAction
	// AffectedPercent of the keys, rounded up; 0 while Available.
	AffectedPercent int32
}

// Evaluate returns the state of every flow in declared order. record may be the zero value for a
// service that nothing is excluded from.
func Evaluate(own v1alpha1.OwnershipSlice, behaviours []v1alpha1.FlowBehaviour, view ownership.View, record ownership.ServiceRecord) []State {
	byName := make(map[string]v1alpha1.FlowBehaviour, len(behaviours))
	for _, b := range behaviours {
		byName[b.Name] = b
	}
	anyServes := slices.ContainsFunc(own.Regions, func(r v1alpha1.RegionWeight) bool { return serves(view, r.Name) })
	affected := affectedSlots(own, view, record)
	states := make([]State, 0, len(own.Flows))
	for _, f := range own.Flows {
		b := byName[f.Name]
		s := State{Name: f.Name, Core: b.Tier == v1alpha1.TierCore, State: v1alpha1.FlowAvailable}
		switch {
		case !anyServes:
			s.State, s.Action, s.AffectedPercent = v1alpha1.FlowUnavailable, v1alpha1.HomeLossReject, 100
		case f.ServedBy == v1alpha1.ServedByHomeRegion:
			s.home(f, b, affected, view, record)
		}
		states = append(states, s)
	}
	return states
}

func (s *State) home(f v1alpha1.FlowRouting, b v1alpha1.FlowBehaviour, affected int, view ownership.View, record ownership.ServiceRecord) {
	if len(f.Pinned) > 0 {
		affected = 0
		if !Owns(view, record, f.Pinned[0]) {
			affected = ownership.SlotCount
		}
	}
	if affected == 0 {
		return
	}
	s.Action = v1alpha1.HomeLossReject
	if b.OnHomeLoss != nil && b.OnHomeLoss.Action == v1alpha1.HomeLossReadOnly {
		s.Action = v1alpha1.HomeLossReadOnly
	}
	s.State = v1alpha1.FlowDegraded
	s.AffectedPercent = int32((affected*100 + ownership.SlotCount - 1) / ownership.SlotCount)
	if affected == ownership.SlotCount && s.Action == v1alpha1.HomeLossReject {
		s.State = v1alpha1.FlowUnavailable
	}
}

// Owns says whether a region may own slots of a service now.
func Owns(view ownership.View, record ownership.ServiceRecord, region string) bool {
	return regions(view, record, []ownership.WeightedRegion{{Name: region}})[0].MayOwn()
}

func regions(view ownership.View, record ownership.ServiceRecord, of []ownership.WeightedRegion) []ownership.RegionView {
	return ownership.Configuration{View: view}.RegionViews(record, of)
}

func serves(view ownership.View, region string) bool {
	s := view.Regions[region].State
	return s == ownership.RegionServing || s == ownership.RegionReturning
}

// affectedSlots counts the slots whose home may not own them.
func affectedSlots(own v1alpha1.OwnershipSlice, view ownership.View, record ownership.ServiceRecord) int {
	weighted := make([]ownership.WeightedRegion, 0, len(own.Regions))
	for _, r := range own.Regions {
		weighted = append(weighted, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
	}
	views := regions(view, record, weighted)
	if !slices.ContainsFunc(views, func(r ownership.RegionView) bool { return r.Weight > 0 && !r.MayOwn() }) {
		return 0 // the normal day, without ranking every slot
	}
	n := 0
	for slot := range ownership.SlotCount {
		if owned := ownership.Owner(slot, views); owned.Region == "" || !owned.Complete {
			n++
		}
	}
	return n
}
