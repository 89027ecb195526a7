package region

import (
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/copies"
)

// Peers is what a hub knows besides, in peer mode, of the copies of one Region.
type Peers struct {
	Verdict copies.Verdict
	// Region that this hub runs in, and what of the Region its own cluster has.
	Region string
	Local  copies.State
	// Finalized: that copy has Finalizer.
	Finalized bool
	// Acts: this hub is the one that changes what is shared.
	Acts bool
}

// decideAsPeer decides what the copies come to. The proposal is the matter of the one hub that acts; the
// connection and this cluster's own copy are every hub's.
func decideAsPeer(rg *v1alpha1.Region, seen Seen) Plan {
	p := seen.Peers
	var plan Plan
	if p.Verdict.Outcome == copies.Undecided {
		plan.Blocked = p.Verdict.Report().Message
	} else {
		held := rg.DeepCopy()
		held.Finalizers = []string{Finalizer} // what becomes of the copies' own is decided below
		plan = decide(held, seen)
	}
	released := slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Kind == StepRemoveFinalizer }) || forgotten(rg, seen)
	plan.Steps = slices.DeleteFunc(plan.Steps, func(s Step) bool {
		shared := s.Kind == StepPropose || s.Kind == StepWithdraw
		return shared && !p.Acts || s.Kind == StepAddFinalizer || s.Kind == StepRemoveFinalizer
	})
	switch add, remove := p.Verdict.OwnFinalizer(p.Local, p.Finalized, released); {
	case add:
		plan.Steps = append([]Step{{Kind: StepAddFinalizer}}, plan.Steps...)
	case remove:
		plan.Steps = append(plan.Steps, Step{Kind: StepRemoveFinalizer})
	}
	return plan
}

// forgotten reports whether the coordination store has let go of a Region whose deletion is not this hub's
// to complete.
func forgotten(rg *v1alpha1.Region, seen Seen) bool {
	_, proposed := seen.Configuration.RegionIntents[rg.Name]
	others := !seen.Peers.Acts || seen.Peers.Verdict.Outcome == copies.Undecided
	return others && seen.StoreKnown && seen.StoreConnected && !proposed
}
