package operation

import (
	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// In peer mode the Operations of one name are one order, in however many clusters they are applied. The
// store keeps it, with what became of it, until the last of them is deleted: a cluster that was away must
// not have it carried out once more.

// join decides about an order that the store has already, in the name of other regions' Operations or of
// ones that are gone; false when it has none.
func join(o *v1alpha1.Operation, seen Seen, record ownership.OrderRecord, taken bool) (Plan, bool) {
	have, given := seen.Configuration.OrderIntents[seen.name(o)]
	want := intended(o, seen)
	if o.Spec.Service != nil && seen.Service == nil {
		want.Service = have.Service // there is none to compare with: an order about it may have ended long ago
	}
	switch {
	case given && !have.Same(want):
		return answered(v1alpha1.OperationRefused, v1alpha1.ReasonOrderInvalid, "refused, nothing was done: another region has an Operation of this "+
			"name with another spec. Order anew under another name"), true
	case given && taken:
		plan := followed(o, seen, record)
		plan.Steps = append(give(o, want), plan.Steps...)
		return plan, true
	case taken:
		// The last one that gave it was deleted a moment ago.
		return Plan{Answer: untaken(o, seen), RecheckAfter: recheck}, true
	}
	return Plan{}, false
}

// decideEndAsPeer keeps an order that has ended for as long as the Operation is there.
func decideEndAsPeer(o *v1alpha1.Operation, seen Seen) Plan {
	if hasFinalizer(o) && seen.StoreKnown && !seen.given(o) {
		return Plan{Steps: []Step{{Kind: StepRemoveFinalizer}}}
	}
	return Plan{}
}
