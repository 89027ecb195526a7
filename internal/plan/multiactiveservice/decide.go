package multiactiveservice

import (
	"maps"
	stdslices "slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/announcement"
	"multiactive.dev/operator/internal/plan/order"
	"multiactive.dev/operator/internal/plan/recheck"
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
	// MetBallot is higher than this hub's own, which has to rise before it acts; 0: none is.
	MetBallot int64
}

// Decide returns what to do for the service now.
func Decide(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen) Plan {
	var plan Plan
	if seen.Peers != nil {
		plan = decideAsPeer(now, mas, seen)
	} else {
		plan = decide(now, mas, seen)
	}
	seen.decideDNS(mas, &plan)
	return plan
}

func decide(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen) Plan {
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
	plan.Rollout, plan.RecheckAfter = rollout.status, recheck.Sooner(rollout.recheckAfter, announcement.Next(now, seen.Announced))
	in := slices.Input{Service: mas, Regions: seen.regions(), Stores: seen.usableStores(mas), Kept: seen.kept(mas)}
	for _, r := range mas.Spec.Regions {
		at := seen.region(r.Name)
		if reason, _ := seen.refusal(mas, r.Name); reason != "" || at.Connection != Connected {
			continue
		}
		want := seen.stamped(mas, seen.desiredSlice(in, r.Name, rollout.carries[r.Name]), at.Slice)
		if !upToDate(want, at.Slice) && !foreign(mas, at.Slice) {
			plan.Steps = append(plan.Steps, Step{Kind: StepStage, Region: r.Name, Slice: want})
		}
	}
	plan.Steps = append(plan.Steps, leave(mas, seen, in)...)
	if intent, due := proposal(mas, seen, plan); due {
		plan.Steps = append(plan.Steps, Step{Kind: StepPropose, Intent: intent})
	}
	return plan
}

// desiredSlice returns the slice for a region; one that the rollout has not reached keeps the
// workload that it has. Whoever survives a pending drain is prepared for it at once, if its member
// knows how.
func (s Seen) desiredSlice(in slices.Input, region string, carries bool) *v1alpha1.RegionalService {
	want, have := slices.Build(in, region), s.region(region).Slice
	s.stagedPeerTLS(want, have)
	want.Spec.Announcements = announcement.In(region, s.Announced, want.Spec.Announcements, room(have))
	if have == nil {
		withoutConflicts(want, nil) // what its member knows is not known
		return slices.Sealed(want)
	}
	s.keepStores(in.Service, want, have)
	if withoutStores(have) {
		want.Spec.Stores = nil
	}
	withoutConflicts(want, s.settles)
	if !carries {
		want.Spec.Workload = *have.Spec.Workload.DeepCopy()
	}
	want.Spec.Workload.PreparedFor = nil
	if stdslices.Contains(have.Status.Features, regional.FeaturePreparedFor) && regional.Scales(&want.Spec.Workload) {
		want.Spec.Workload.PreparedFor = stdslices.DeleteFunc(stdslices.Clone(s.PreparedFor), func(r string) bool { return r == region })
	}
	return slices.Sealed(want)
}

// room returns how many announcements a region's slice may have: a member of an earlier version has a smaller bound.
func room(have *v1alpha1.RegionalService) int {
	if have != nil && stdslices.Contains(have.Status.Features, announcement.Feature) {
		return announcement.Most
	}
	return announcement.Known
}

// stamped returns the slice with the stamp that the region has when nothing else differs: a new
// generation alone is no reason to write.
func (s Seen) stamped(mas *v1alpha1.MultiActiveService, want, have *v1alpha1.RegionalService) *v1alpha1.RegionalService {
	stampedSlice(want, s.stamp(mas))
	if have == nil || foreign(mas, have) || have.Spec.Stamp == want.Spec.Stamp ||
		s.restamp && have.Spec.Stamp.Ballot < want.Spec.Stamp.Ballot {
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
	holding, unreachable, abandoned := seen.remaining(mas)
	for _, name := range holding {
		if !goes(seen.region(name).Slice) {
			plan.Steps = append(plan.Steps, Step{Kind: StepDelete, Region: name})
		}
	}
	switch {
	case len(unreachable) > 0:
		plan.Blocked = "cannot reach " + strings.Join(unreachable, ", ") + " to delete what runs there: make its cluster reachable (see " +
			"its Region), or, if that will not be soon, order: " + order.Command(v1alpha1.OperationAbandon, "",
			&v1alpha1.ServiceKey{Namespace: mas.Namespace, Name: mas.Name})
	case len(holding) > 0:
		plan.Blocked = "waiting for " + strings.Join(holding, ", ") + " to let go of the service"
	case len(abandoned) > 0:
		plan.Steps = append(plan.Steps, abandon(mas, seen)...)
	default:
		if intent, proposed := seen.Configuration.ServiceIntents[string(mas.UID)]; proposed && !seen.leftBehind(intent) {
			plan.Steps = append(plan.Steps, Step{Kind: StepWithdraw})
		}
		plan.Steps = append(plan.Steps, Step{Kind: StepRemoveFinalizer})
	}
	return plan
}

// goes reports whether a slice is deleted as soon as its member has taken down what it made. One that no member has
// acted on may wait for one that is not there: the hub takes the finalizer, which came with the slice.
func goes(s *v1alpha1.RegionalService) bool {
	return !s.DeletionTimestamp.IsZero() && (s.Status.ActedStamp != nil || !stdslices.Contains(s.Finalizers, slices.Finalizer))
}

// leftBehind reports whether a region may still have a service that the coordination store keeps as
// deleted, and cannot be reached: see DecideRemains.
func (s Seen) leftBehind(intent ownership.ServiceIntent) bool {
	return stdslices.ContainsFunc(intent.Regions, func(name string) bool {
		at := s.region(name)
		return at.Region != nil && at.Region.Spec.Role != v1alpha1.RegionRoleWitness && at.Connection != Connected
	})
}

// withdrawal returns the intent that asks the leader to stop routing, if it has not been asked.
func withdrawal(mas *v1alpha1.MultiActiveService, seen Seen) (ownership.ServiceIntent, bool) {
	uid := string(mas.UID)
	record, accepted := seen.record(uid)
	intent, proposed := seen.Configuration.ServiceIntents[uid]
	due := (accepted && !record.Deleted || proposed) && !intent.Deleted
	return deleted(mas, record), due
}

// deleted returns the intent of a service that is gone, with every region that may have it.
func deleted(mas *v1alpha1.MultiActiveService, record ownership.ServiceRecord) ownership.ServiceIntent {
	regions := stdslices.Clone(record.Regions)
	for _, r := range mas.Spec.Regions {
		regions = append(regions, r.Name)
	}
	for _, r := range mas.Status.Regions {
		regions = append(regions, r.Name)
	}
	stdslices.Sort(regions)
	return ownership.ServiceIntent{
		UID: string(mas.UID), Namespace: mas.Namespace, Name: mas.Name, SpecHash: record.SpecHash, Deleted: true,
		Regions: stdslices.Compact(regions),
	}
}

// remaining returns the regions that have the service, those that may have it and cannot be reached, and
// those of the latter that a person has given up on.
func (s Seen) remaining(mas *v1alpha1.MultiActiveService) (holding, unreachable, abandoned []string) {
	givenUp := append(givenUp(mas), s.Configuration.ServiceIntents[string(mas.UID)].Abandoned...)
	for _, name := range s.names(mas) {
		at := s.region(name)
		switch {
		case at.Region == nil || at.Region.Spec.Role == v1alpha1.RegionRoleWitness:
		case at.Connection == Connected:
			if at.Slice != nil && !foreign(mas, at.Slice) {
				holding = append(holding, name)
			}
		case !declares(mas, name) && !reported(mas, name):
		case stdslices.Contains(givenUp, name):
			abandoned = append(abandoned, name)
		default:
			unreachable = append(unreachable, name)
		}
	}
	return holding, unreachable, abandoned
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
