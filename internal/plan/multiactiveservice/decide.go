package multiactiveservice

import (
	"maps"
	stdslices "slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
)

// Plan is what to do now.
type Plan struct {
	Steps []Step
	// Rollout is how far a change of the workload has come.
	Rollout *v1alpha1.RolloutStatus
	// RecheckAfter is when a deadline of the rollout passes; 0: there is none.
	RecheckAfter time.Duration
	// Blocked says what a deletion waits for; empty when nothing holds it.
	Blocked string
}

// Decide returns what to do for the service now.
func Decide(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen) Plan {
	if !mas.DeletionTimestamp.IsZero() {
		return decideDeletion(mas, seen)
	}
	var plan Plan
	if !stdslices.Contains(mas.Finalizers, Finalizer) {
		plan.Steps = append(plan.Steps, Step{Kind: StepAddFinalizer})
	}
	if !seen.StoreKnown {
		// What is in force is not known: a slice built now could drop an ownership that is.
		plan.Rollout = mas.Status.Rollout
		return plan
	}
	rollout := decideRollout(now, mas, seen)
	plan.Rollout, plan.RecheckAfter = rollout.status, rollout.recheckAfter
	in := slices.Input{Service: mas, Regions: seen.regions(), Kept: seen.kept(mas)}
	for _, r := range mas.Spec.Regions {
		at := seen.region(r.Name)
		if reason, _ := seen.refusal(mas, r.Name); reason != "" || at.Connection != Connected {
			continue
		}
		want := stamped(mas, desiredSlice(in, r.Name, at.Slice, rollout.carries[r.Name]), at.Slice)
		if !upToDate(want, at.Slice) && !foreign(mas, at.Slice) {
			plan.Steps = append(plan.Steps, Step{Kind: StepStage, Region: r.Name, Slice: want})
		}
	}
	if intent, due := proposal(mas, seen, plan); due {
		plan.Steps = append(plan.Steps, Step{Kind: StepPropose, Intent: intent})
	}
	return plan
}

// desiredSlice returns the slice for a region; one that the rollout has not reached keeps the
// workload that it has.
func desiredSlice(in slices.Input, region string, have *v1alpha1.RegionalService, carries bool) *v1alpha1.RegionalService {
	want := slices.Build(in, region)
	if !carries && have != nil {
		want.Spec.Workload = *have.Spec.Workload.DeepCopy()
		return slices.Sealed(want)
	}
	return want
}

// stamped returns the slice with the stamp that the region has when nothing else differs: a new
// generation alone is no reason to write.
func stamped(mas *v1alpha1.MultiActiveService, want, have *v1alpha1.RegionalService) *v1alpha1.RegionalService {
	if have == nil || foreign(mas, have) || have.Spec.Stamp == want.Spec.Stamp {
		return want
	}
	kept := want.DeepCopy()
	kept.Spec.Stamp = have.Spec.Stamp
	if slices.Sealed(kept); upToDate(kept, have) {
		return kept
	}
	return want
}

// foreign reports whether the region has a RegionalService of this name that belongs to another
// service, or to nobody we know.
func foreign(mas *v1alpha1.MultiActiveService, have *v1alpha1.RegionalService) bool {
	return have != nil && have.Spec.ServiceID != string(mas.UID)
}

// upToDate reports whether the region has the slice: the same was applied last, and nobody has
// changed what it says since.
func upToDate(want, have *v1alpha1.RegionalService) bool {
	return have != nil && have.DeletionTimestamp.IsZero() &&
		have.Annotations[slices.AnnotationApplied] == want.Annotations[slices.AnnotationApplied] &&
		equality.Semantic.DeepDerivative(want.Spec, have.Spec)
}

// proposal returns the intent for the leader, once every region that can be reached has the slice:
// a region that lacks what a configuration names would close the service there.
func proposal(mas *v1alpha1.MultiActiveService, seen Seen, plan Plan) (ownership.ServiceIntent, bool) {
	uid := string(mas.UID)
	if _, accepted := seen.record(uid); accepted {
		return ownership.ServiceIntent{}, false // this version does not change what is in force
	}
	intent := ownership.ServiceIntent{
		UID: uid, Namespace: mas.Namespace, Name: mas.Name, SpecHash: slices.Ownership(mas).Hash,
	}
	if seen.Configuration.ServiceIntents[uid] == intent {
		return intent, false
	}
	staged := 0
	for _, r := range mas.Spec.Regions {
		if reason, _ := seen.refusal(mas, r.Name); reason != "" {
			continue
		}
		switch at := seen.region(r.Name); at.Connection {
		case Connecting:
			return intent, false
		case Unusable:
			continue
		case Connected:
			if !has(at.Slice, intent.SpecHash) || foreign(mas, at.Slice) {
				return intent, false
			}
			staged++
		}
	}
	for _, s := range plan.Steps {
		if s.Kind == StepStage {
			return intent, false
		}
	}
	return intent, staged > 0
}

func has(slice *v1alpha1.RegionalService, hash string) bool {
	return slice != nil && stdslices.ContainsFunc(slice.Spec.Ownership, func(o v1alpha1.OwnershipSlice) bool { return o.Hash == hash })
}

// decideDeletion stops the routing first, then deletes the slices, and lets the service go when no
// region has it any more. Topics and data stay.
func decideDeletion(mas *v1alpha1.MultiActiveService, seen Seen) Plan {
	plan := Plan{Rollout: mas.Status.Rollout}
	if !stdslices.Contains(mas.Finalizers, Finalizer) {
		return plan
	}
	if !seen.StoreKnown || !seen.StoreConnected {
		plan.Blocked = "the coordination store does not answer, so nobody can agree to stop routing: see its members"
		return plan
	}
	gone, due := withdrawal(mas, seen)
	if due {
		plan.Steps = append(plan.Steps, Step{Kind: StepPropose, Intent: gone})
	}
	// Also one that is not accepted waits until the store has it as deleted: the leader may be
	// accepting what it has read a moment ago.
	if record, accepted := seen.record(string(mas.UID)); due || accepted && !record.Deleted {
		plan.Blocked = "waiting for the coordination store's leader to stop routing"
		return plan
	}
	holding, unreachable := seen.remaining(mas)
	for _, name := range holding {
		if seen.region(name).Slice.DeletionTimestamp.IsZero() {
			plan.Steps = append(plan.Steps, Step{Kind: StepDelete, Region: name})
		}
	}
	switch {
	case len(unreachable) > 0:
		plan.Blocked = "cannot reach " + strings.Join(unreachable, ", ") + " to delete what runs there: make its cluster reachable (see " +
			"its Region); or, if it is gone for good, remove the finalizer " + Finalizer + " by hand, and delete the RegionalService " +
			"there should the region ever return"
	case len(holding) > 0:
		plan.Blocked = "waiting for " + strings.Join(holding, ", ") + " to let go of the service"
	default:
		if _, proposed := seen.Configuration.ServiceIntents[string(mas.UID)]; proposed {
			plan.Steps = append(plan.Steps, Step{Kind: StepWithdraw})
		}
		plan.Steps = append(plan.Steps, Step{Kind: StepRemoveFinalizer})
	}
	return plan
}

// withdrawal returns the intent that asks the leader to stop routing, if it has not been asked.
func withdrawal(mas *v1alpha1.MultiActiveService, seen Seen) (ownership.ServiceIntent, bool) {
	uid := string(mas.UID)
	record, accepted := seen.record(uid)
	intent, proposed := seen.Configuration.ServiceIntents[uid]
	due := (accepted && !record.Deleted || proposed) && !intent.Deleted
	return ownership.ServiceIntent{
		UID: uid, Namespace: mas.Namespace, Name: mas.Name, SpecHash: record.SpecHash, Deleted: true,
	}, due
}

// remaining returns the regions that have the service, and those that may have it and cannot be
// reached.
func (s Seen) remaining(mas *v1alpha1.MultiActiveService) (holding, unreachable []string) {
	for _, name := range s.names(mas) {
		at := s.region(name)
		switch {
		case at.Region == nil || at.Region.Spec.Role == v1alpha1.RegionRoleWitness:
		case at.Connection == Connected:
			if at.Slice != nil && !foreign(mas, at.Slice) {
				holding = append(holding, name)
			}
		case declares(mas, name) || reported(mas, name):
			unreachable = append(unreachable, name)
		}
	}
	return holding, unreachable
}

// reported says whether the service was in the region when its status was last written.
func reported(mas *v1alpha1.MultiActiveService, region string) bool {
	return stdslices.ContainsFunc(mas.Status.Regions, func(r v1alpha1.ServiceRegionStatus) bool { return r.Name == region })
}

// names returns the declared regions in order, then the others by name.
func (s Seen) names(mas *v1alpha1.MultiActiveService) []string {
	var out []string
	for _, r := range mas.Spec.Regions {
		out = append(out, r.Name)
	}
	for _, name := range stdslices.Sorted(maps.Keys(s.Regions)) {
		if !declares(mas, name) {
			out = append(out, name)
		}
	}
	return out
}
