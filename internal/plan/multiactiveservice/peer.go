package multiactiveservice

import (
	stdslices "slices"
	"strings"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/plan/copies"
)

// Peers is what a hub knows besides, in peer mode, of the copies of one service.
type Peers struct {
	Verdict copies.Verdict
	// Region that this hub runs in, and what of the service its own cluster has.
	Region string
	Local  copies.State
	// Finalized: that copy has Finalizer.
	Finalized bool
	// Ballot that this hub acts with, 0 while another one acts.
	Ballot int64
	// Unsettled are the regions of the service whose Region objects have no majority.
	Unsettled []string
}

// decideAsPeer decides what the copies come to. What is shared is done by the one hub that acts; this
// cluster's own copy is every hub's own matter.
func decideAsPeer(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen) Plan {
	p := seen.Peers
	plan := Plan{Rollout: mas.Status.Rollout}
	if why := p.frozen(); why != "" {
		plan.Blocked = why
	} else {
		plan = decideShared(now, mas, seen)
	}
	released := stdslices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Kind == StepRemoveFinalizer }) || seen.gone(mas)
	plan.Steps = stdslices.DeleteFunc(plan.Steps, func(s Step) bool {
		return p.Ballot == 0 || s.Kind == StepAddFinalizer || s.Kind == StepRemoveFinalizer
	})
	switch add, remove := p.Verdict.OwnFinalizer(p.Local, p.Finalized, released); {
	case add:
		plan.Steps = append([]Step{{Kind: StepAddFinalizer}}, plan.Steps...)
	case remove:
		plan.Steps = append(plan.Steps, Step{Kind: StepRemoveFinalizer})
	}
	return plan
}

// frozen says why nothing is changed; empty when something may be.
func (p Peers) frozen() string {
	switch {
	case p.Verdict.Outcome == copies.Undecided:
		return p.Verdict.Report().Message
	case len(p.Unsettled) > 0:
		return "nothing is changed, because no majority of the regions has the same Region " + strings.Join(p.Unsettled, ", ") +
			": see its condition SpecInSync"
	}
	return ""
}

// decideShared decides as a hub that is alone would, under the ballot of this one. Before it changes
// anything of a service, every slice of it gets that ballot: whoever led before can then undo nothing.
func decideShared(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen) Plan {
	held := mas.DeepCopy()
	held.Finalizers = []string{Finalizer} // what becomes of the copies' own is decided elsewhere
	if met := seen.highestBallot(); seen.Peers.Ballot > 0 && met > seen.Peers.Ballot {
		return Plan{Rollout: mas.Status.Rollout, MetBallot: met}
	}
	plan := decide(now, held, seen)
	plan.Steps = append(plan.Steps, seen.strays(held)...)
	if seen.Peers.Ballot > 0 && len(plan.Steps) > 0 && held.DeletionTimestamp.IsZero() {
		seen.restamp = true
		plan = decide(now, held, seen)
		plan.Steps = append(plan.Steps, seen.strays(held)...)
	}
	return plan
}

// strays returns what to do about slices of this name that a former leader wrote under an identity which
// nobody knows: it was cut off before it could propose the service, and another leader has given that
// another identity meanwhile. Nobody is routed to them.
func (s Seen) strays(mas *v1alpha1.MultiActiveService) []Step {
	var steps []Step
	for _, name := range s.names(mas) {
		at := s.region(name)
		if at.Slice == nil || !foreign(mas, at.Slice) || !at.Slice.DeletionTimestamp.IsZero() {
			continue
		}
		_, accepted := s.record(at.Slice.Spec.ServiceID)
		_, proposed := s.Configuration.ServiceIntents[at.Slice.Spec.ServiceID]
		if s.StoreConnected && !accepted && !proposed && at.Slice.Spec.Stamp.Ballot > 0 && at.Slice.Spec.Stamp.Ballot < s.Peers.Ballot {
			steps = append(steps, Step{Kind: StepDelete, Region: name})
		}
	}
	return steps
}

// gone reports whether nothing is left of a deleted service whose deletion is not this hub's to complete:
// the coordination store has forgotten it, and no region that can be reached has it.
func (s Seen) gone(mas *v1alpha1.MultiActiveService) bool {
	uid := string(mas.UID)
	_, accepted := s.record(uid)
	_, proposed := s.Configuration.ServiceIntents[uid]
	others := s.Peers.Ballot == 0 || s.Peers.Verdict.Outcome == copies.Undecided
	if !others || !s.StoreKnown || !s.StoreConnected || accepted || proposed {
		return false
	}
	for _, at := range s.Regions {
		if at.Slice != nil && !foreign(mas, at.Slice) {
			return false
		}
	}
	return true
}

// highestBallot returns the highest ballot of the slices that can be read.
func (s Seen) highestBallot() int64 {
	highest := int64(0)
	for _, at := range s.Regions {
		if at.Slice != nil {
			highest = max(highest, at.Slice.Spec.Stamp.Ballot)
		}
	}
	return highest
}

// stamp returns what a slice is stamped with that is written now. A hub that is alone counts with its
// object's generation, and keeps the ballot of those that were there before it; peers, whose objects count
// differently, go on from the highest stamp that can be read.
func (s Seen) stamp(mas *v1alpha1.MultiActiveService) v1alpha1.SliceStamp {
	out := v1alpha1.SliceStamp{Ballot: s.highestBallot(), Generation: mas.Generation}
	if s.Peers != nil {
		out.Ballot = s.Peers.Ballot
	}
	if out.Ballot == 0 && s.Peers == nil {
		return out
	}
	out.Generation = 1
	for _, at := range s.Regions {
		if at.Slice == nil || foreign(mas, at.Slice) {
			continue
		}
		out.Generation = max(out.Generation, at.Slice.Spec.Stamp.Generation+1)
		if acted := at.Slice.Status.ActedStamp; acted != nil && acted.ServiceID == at.Slice.Spec.ServiceID {
			out.Generation = max(out.Generation, acted.Stamp.Generation+1)
		}
	}
	return out
}

// stampedSlice stamps a slice.
func stampedSlice(want *v1alpha1.RegionalService, stamp v1alpha1.SliceStamp) *v1alpha1.RegionalService {
	want.Spec.Stamp = stamp
	return slices.Sealed(want)
}
