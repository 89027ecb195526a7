// Package whatif reckons what would become of services if something happened: a region were lost or drained, or a
// declaration changed. It starts from what the hub's objects say, and reckons with the code that the regions
// themselves act by: values in, values out. It must never be taken for a decision: what is decided, the regions'
// leader decides, from what it knows itself.
package whatif

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
)

// lostBefore is the epoch that stands for any loss: which one it was, no status says.
const lostBefore = 1

// Agreed is what the regions have agreed on about one service, as far as the hub's objects tell.
type Agreed struct {
	Configuration ownership.Configuration
	Record        ownership.ServiceRecord
	// Unsure says what the objects do not tell, so that it may be otherwise; empty: nothing.
	Unsure []string
}

// Of puts together what statuses say of a service and its regions. The statuses are coarse: who owns what follows
// from them, the words of the coordination store do not.
func Of(mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) Agreed {
	a := Agreed{Record: ownership.ServiceRecord{UID: string(mas.UID), Namespace: mas.Namespace, Name: mas.Name}}
	a.Record.SpecHash = desired.Ownership(mas).Hash
	a.Record.Approved, a.Record.HandedBack = map[string]int64{}, map[string]int64{}
	a.Record.Manual = mas.Spec.Failover != nil && mas.Spec.Failover.Mode == "Manual"
	view := ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}}
	if s := mas.Status.Summary; s != nil {
		view.Epoch = s.Epoch
	}
	for _, declared := range mas.Spec.Regions {
		a.Record.Regions = append(a.Record.Regions, declared.Name)
		view.Regions[declared.Name] = a.region(mas, statusOf(mas, declared.Name), regions[declared.Name])
	}
	slices.Sort(a.Record.Regions)
	a.doubts(mas)
	a.Configuration = ownership.Configuration{View: view, Services: map[string]ownership.ServiceRecord{a.Record.UID: a.Record}}
	return a
}

func statusOf(mas *v1alpha1.MultiActiveService, region string) v1alpha1.ServiceRegionStatus {
	for _, s := range mas.Status.Regions {
		if s.Name == region {
			return s
		}
	}
	return v1alpha1.ServiceRegionStatus{Name: region}
}

// region returns what the view says of a region, and notes in the service's record what that says of it.
func (a *Agreed) region(mas *v1alpha1.MultiActiveService, s v1alpha1.ServiceRegionStatus, rg *v1alpha1.Region) ownership.RegionRecord {
	rec := ownership.RegionRecord{Role: string(v1alpha1.RegionRoleActive)}
	state := s.State
	if rg != nil && rg.Status.State != "" {
		state = rg.Status.State
	}
	owns := s.Owns == v1alpha1.Yes
	switch state {
	case v1alpha1.RegionUp, v1alpha1.RegionSuspect:
		rec.State, rec.Suspect = ownership.RegionServing, state == v1alpha1.RegionSuspect
		if s.Owns == v1alpha1.No && weight(mas, s.Name) > 0 {
			a.Record.Excluded = append(a.Record.Excluded, s.Name)
		}
	case v1alpha1.RegionReturning:
		rec.State, rec.ReturnedEpoch = ownership.RegionReturning, lostBefore
		if owns {
			a.Record.HandedBack[s.Name] = lostBefore
		} else {
			a.lost(mas, s.Name, &rec)
		}
	case v1alpha1.RegionDown:
		rec.State = ownership.RegionLost
		a.lost(mas, s.Name, &rec)
	case v1alpha1.RegionDrained:
		rec.State = ownership.RegionDrained
		if c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionDegraded); c != nil && c.Reason == v1alpha1.ReasonRegionInDrill {
			rec.Drill, rec.Rehearsal = "reported", true
		}
	case v1alpha1.RegionUnknown:
	}
	return rec
}

// lost finds out, from how flows are served, what a loss has left behind: flows that any owner with all of the data
// would serve are degraded while nobody has it, and those that may be taken over while nobody has done so.
func (a *Agreed) lost(mas *v1alpha1.MultiActiveService, region string, rec *ownership.RegionRecord) {
	rec.LostEpoch, rec.Unshipped = lostBefore, true
	taken, whole := false, false
	for _, f := range mas.Spec.Flows {
		if f.ServedBy != v1alpha1.ServedByHomeRegion {
			continue
		}
		available := stateOf(mas, f.Name) == v1alpha1.FlowAvailable
		if action(f) == v1alpha1.HomeLossTakeover {
			taken = taken || available
		} else {
			whole = whole || available
		}
	}
	rec.Unshipped = !whole
	if a.Record.Manual && taken {
		a.Record.Approved[region] = lostBefore
	}
}

func stateOf(mas *v1alpha1.MultiActiveService, flow string) v1alpha1.FlowState {
	for _, s := range mas.Status.Flows {
		if s.Name == flow {
			return s.State
		}
	}
	return v1alpha1.FlowUnknown
}

func action(f v1alpha1.Flow) v1alpha1.HomeLossAction {
	if f.OnHomeLoss == nil {
		return v1alpha1.HomeLossReject
	}
	return f.OnHomeLoss.Action
}

// doubts says what may make the service's owners others than the declaration and the statuses tell.
func (a *Agreed) doubts(mas *v1alpha1.MultiActiveService) {
	doubt := func(text string) { a.Unsure = append(a.Unsure, text) }
	switch c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionRoutingReady); {
	case !mas.DeletionTimestamp.IsZero():
		doubt("the service is being deleted: nobody owns its keys")
	case c == nil || mas.Status.ObservedGeneration == 0:
		doubt("the hub has not looked at the service yet")
	case c.Reason == v1alpha1.ReasonStoreUnreachable:
		doubt("the hub cannot use the coordination store, so this is from before, and may be outdated")
	case mas.Status.ObservedGeneration != mas.Generation:
		doubt("the hub has not looked at the newest declaration yet")
	case c.Status != metav1.ConditionTrue && (c.Reason == v1alpha1.ReasonOwnershipChangePending || c.Reason == v1alpha1.ReasonOwnershipChangeBlocked):
		doubt("the declared ownership is not in force yet, the former one is: see its condition RoutingReady")
	}
}

func weight(mas *v1alpha1.MultiActiveService, region string) int32 {
	for _, r := range mas.Spec.Regions {
		if r.Name == region {
			if r.Weight == nil {
				return 100
			}
			return *r.Weight
		}
	}
	return 0
}
