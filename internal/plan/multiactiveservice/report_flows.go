package multiactiveservice

import (
	"fmt"
	stdslices "slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
)

// flows reports how each flow is served, and CoreAvailable and Degraded.
func (r reporter) flows() {
	states, known := r.evaluate()
	r.mas.Status.Flows = r.flowStatuses(states, known)
	var degraded, core, kept, details []string
	for _, s := range states {
		if s.State == v1alpha1.FlowAvailable {
			continue
		}
		degraded = append(degraded, s.Name)
		details = append(details, fmt.Sprintf("%s (%s for %d %% of the keys)", s.Name, s.Action, s.AffectedPercent))
		switch {
		case !s.Core:
		case s.Action == v1alpha1.HomeLossDefer && r.defers():
			kept = append(kept, s.Name)
		default:
			core = append(core, s.Name)
		}
	}
	r.summary().Degraded = fmt.Sprintf("%d/%d", len(degraded), len(r.mas.Spec.Flows))
	r.summary().DegradedFlows = strings.Join(degraded, ",")
	r.summary().Deferred = mostDeferred(r.mas.Status.Flows)
	switch {
	case r.deleting(v1alpha1.ConditionCoreAvailable):
		r.set.Unknown(v1alpha1.ConditionDegraded, v1alpha1.ReasonDeleting, "the service is being deleted: see CoreAvailable")
	case !known:
		r.notRouted()
	default:
		r.served(details, core, kept)
	}
	if !known {
		r.summary().Degraded = ""
	}
}

// notRouted sets Degraded and CoreAvailable while no ownership is in force, as far as is known.
func (r reporter) notRouted() {
	if r.storeUnknown(v1alpha1.ConditionDegraded) && r.storeUnknown(v1alpha1.ConditionCoreAvailable) {
		return
	}
	for _, kind := range []string{v1alpha1.ConditionDegraded, v1alpha1.ConditionCoreAvailable} {
		r.set.Unknown(kind, v1alpha1.ReasonProgressing, "the service is not routed yet: see RoutingReady")
	}
}

// served sets Degraded and CoreAvailable from the flows that are degraded, and the core ones of them: those
// that are not served for every key, and those that keep for later what they cannot serve now.
func (r reporter) served(degraded, core, kept []string) {
	reason := r.lossReason()
	if len(degraded) == 0 {
		r.set.False(v1alpha1.ConditionDegraded, v1alpha1.ReasonAllFlowsAvailable, "every flow is served as declared")
	} else {
		why := ""
		if r.rehearses() {
			why = "for a drill, "
		}
		r.set.True(v1alpha1.ConditionDegraded, reason, "%sdegraded: %s", why, strings.Join(degraded, ", "))
	}
	if len(core) > 0 {
		r.set.False(v1alpha1.ConditionCoreAvailable, reason, "core flows that are not served for every key: %s", strings.Join(core, ", "))
		return
	}
	message := "every core flow is served for every key"
	if len(kept) > 0 {
		message = "every core flow is served for every key, or keeps its requests for later: " + strings.Join(kept, ", ")
	}
	r.coreServed(message)
}

// defers reports whether requests can be kept for later wherever they may come: the regions that serve
// have a Kafka, and none is known to have trouble with it.
func (r reporter) defers() bool {
	for _, declared := range r.mas.Spec.Regions {
		if !r.serves(declared.Name) {
			continue
		}
		at := r.seen.region(declared.Name)
		if at.Region == nil || at.Region.Spec.Kafka == nil {
			return false
		}
		if at.Slice != nil && meta.IsStatusConditionFalse(at.Slice.Status.Conditions, v1alpha1.ConditionTopicsReady) {
			return false
		}
	}
	return true
}

// evaluate returns the states of the flows under the ownership in force.
func (r reporter) evaluate() ([]flows.State, bool) {
	record, accepted := r.seen.record(string(r.mas.UID))
	if !r.seen.StoreKnown || !r.seen.StoreConnected || !accepted || record.Deleted {
		return nil, false
	}
	own := r.inForce()
	var behaviours []v1alpha1.FlowBehaviour
	for _, f := range r.mas.Spec.Flows {
		behaviours = append(behaviours, v1alpha1.FlowBehaviour{
			Name: f.Name, Tier: f.Tier, OnHomeLoss: f.OnHomeLoss, WhenDegraded: f.WhenDegraded,
		})
	}
	states := flows.Evaluate(own, behaviours, r.seen.Configuration, record)
	declared := func(s flows.State) bool {
		return stdslices.ContainsFunc(r.mas.Spec.Flows, func(f v1alpha1.Flow) bool { return f.Name == s.Name })
	}
	return stdslices.DeleteFunc(states, func(s flows.State) bool { return !declared(s) }), true
}

func (r reporter) flowStatuses(states []flows.State, known bool) []v1alpha1.FlowStatus {
	out := make([]v1alpha1.FlowStatus, 0, len(r.mas.Spec.Flows))
	for _, f := range r.mas.Spec.Flows {
		s := v1alpha1.FlowStatus{Name: f.Name, Tier: f.Tier, State: v1alpha1.FlowUnknown}
		if i := stdslices.IndexFunc(states, func(s flows.State) bool { return s.Name == f.Name }); known && i >= 0 {
			s.State, s.Action = states[i].State, states[i].Action
			s.AffectedKeysPercent = ptr.To(states[i].AffectedPercent)
		}
		s.Since, s.Deferred = r.since(s), r.deferred(f.Name)
		out = append(out, s)
	}
	return out
}

func (r reporter) since(s v1alpha1.FlowStatus) *metav1.Time {
	for _, old := range r.mas.Status.Flows {
		if old.Name == s.Name && old.State == s.State && old.Since != nil {
			return old.Since
		}
	}
	at := metav1.NewTime(r.now.UTC().Truncate(time.Second))
	return &at
}

func (r reporter) lossReason() string {
	if r.rehearses() {
		return v1alpha1.ReasonRegionInDrill
	}
	for _, declared := range r.mas.Spec.Regions {
		if r.serves(declared.Name) {
			return v1alpha1.ReasonHomeRegionLost
		}
	}
	return v1alpha1.ReasonNoServingRegion
}

// rehearses reports whether flows are degraded for a drill alone: a region is out for one, and none is lost.
func (r reporter) rehearses() bool {
	out := false
	for _, declared := range r.mas.Spec.Regions {
		rec := r.seen.Configuration.View.Regions[declared.Name]
		if rec.State == ownership.RegionLost {
			return false
		}
		out = out || rec.Rehearses()
	}
	return out
}

// serves says whether any-region flows are served in the region.
func (r reporter) serves(region string) bool {
	switch Phase(r.seen.Configuration.View.Regions[region], true) {
	case v1alpha1.RegionUp, v1alpha1.RegionSuspect, v1alpha1.RegionReturning:
		return true
	default:
		return false
	}
}

// coreServed sets CoreAvailable when the view lets every core flow be served: somewhere there must
// also be something that serves.
func (r reporter) coreServed(how string) {
	const kind = v1alpha1.ConditionCoreAvailable
	unknown := false
	for _, declared := range r.mas.Spec.Regions {
		at := r.seen.region(declared.Name)
		if at.Connection != Connected {
			unknown = unknown || r.serves(declared.Name)
			continue
		}
		if s := at.Slice; s != nil && s.Status.Gateway != nil && s.Status.Gateway.Ready > 0 &&
			(s.Status.Workload == nil || s.Status.Workload.Ready > 0) {
			r.set.True(kind, v1alpha1.ReasonAllFlowsAvailable, "%s", how)
			return
		}
	}
	if unknown {
		r.set.Unknown(kind, v1alpha1.ReasonRegionUnreachable, "the hub cannot reach the regions that serve")
		return
	}
	const message = "no region has both a gateway and a replica that are ready: see WorkloadsAvailable and RoutingReady"
	if r.starts() {
		r.set.False(kind, v1alpha1.ReasonProgressing, message)
		return
	}
	r.set.False(kind, v1alpha1.ReasonReplicasUnavailable, message)
}

// starts reports whether all that the regions lack is on its way.
func (r reporter) starts() bool {
	lacks := append(r.fromRegions(v1alpha1.ConditionWorkloadAvailable), r.fromRegions(v1alpha1.ConditionGatewayReady)...)
	return len(lacks) > 0 && !stdslices.ContainsFunc(lacks, func(p problem) bool { return p.reason != v1alpha1.ReasonProgressing })
}
