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
	// Action that affected requests meet; empty while Available. Takeover means that they are refused
	// until there is an owner.
	Action v1alpha1.HomeLossAction
	// AffectedPercent of the keys, rounded up; 0 while Available.
	AffectedPercent int32
}

// Evaluate returns the state of every flow in declared order. own is the ownership that the record
// names; the record may be the zero value for a service that nothing was decided of.
func Evaluate(own v1alpha1.OwnershipSlice, behaviours []v1alpha1.FlowBehaviour, c ownership.Configuration, record ownership.ServiceRecord) []State {
	byName := make(map[string]v1alpha1.FlowBehaviour, len(behaviours))
	for _, b := range behaviours {
		byName[b.Name] = b
	}
	anyServes := slices.ContainsFunc(own.Regions, func(r v1alpha1.RegionWeight) bool { return Serves(c.View, r.Name) })
	j := judgeOf(own, c, record)
	keys := j.keys()
	states := make([]State, 0, len(own.Flows))
	for _, f := range own.Flows {
		b := byName[f.Name]
		s := State{Name: f.Name, Core: b.Tier == v1alpha1.TierCore, State: v1alpha1.FlowAvailable}
		switch {
		case !anyServes:
			s.State, s.Action, s.AffectedPercent = v1alpha1.FlowUnavailable, v1alpha1.HomeLossReject, 100
		case f.ServedBy != v1alpha1.ServedByHomeRegion:
		case len(f.Pinned) > 0:
			s.home(action(b), j.pinned(f.Pinned))
		default:
			s.home(action(b), keys)
		}
		states = append(states, s)
	}
	return states
}

// action is what affected requests of a flow meet.
func action(b v1alpha1.FlowBehaviour) v1alpha1.HomeLossAction {
	if b.OnHomeLoss == nil {
		return v1alpha1.HomeLossReject
	}
	return b.OnHomeLoss.Action
}

// home sets the state of a flow that is served in its home region.
func (s *State) home(action v1alpha1.HomeLossAction, slots affected) {
	n := slots.others
	if action == v1alpha1.HomeLossTakeover {
		n = slots.takeover
	}
	if n == 0 {
		return
	}
	s.Action, s.State = action, v1alpha1.FlowDegraded
	s.AffectedPercent = int32((n*100 + ownership.SlotCount - 1) / ownership.SlotCount) //nolint:gosec // at most 100
	if n == ownership.SlotCount && action != v1alpha1.HomeLossReadOnly && action != v1alpha1.HomeLossDefer {
		s.State = v1alpha1.FlowUnavailable
	}
}

// Owns says whether a region may own slots of a service now: while owners change, also when they have.
func Owns(c ownership.Configuration, record ownership.ServiceRecord, region string) bool {
	one := []ownership.WeightedRegion{{Name: region}}
	if state, regions, closing := c.Before(record); closing && !ownership.Views(state, regions, one)[0].MayOwn() {
		return false
	}
	return c.RegionViews(record, one)[0].MayOwn()
}

// Serves reports whether the agreed view has users be sent to a region.
func Serves(view ownership.View, region string) bool {
	s := view.Regions[region].State
	return s == ownership.RegionServing || s == ownership.RegionReturning
}
