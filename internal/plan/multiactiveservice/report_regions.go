package multiactiveservice

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
	"multiactive.dev/operator/internal/plan/order"
)

// Phase sums up in one word what the agreed view says of a region.
func Phase(rec ownership.RegionRecord, known bool) v1alpha1.RegionPhase {
	if !known {
		return v1alpha1.RegionUnknown
	}
	switch rec.State {
	case ownership.RegionServing:
		if rec.Suspect {
			return v1alpha1.RegionSuspect
		}
		return v1alpha1.RegionUp
	case ownership.RegionLost:
		return v1alpha1.RegionDown
	case ownership.RegionReturning:
		return v1alpha1.RegionReturning
	case ownership.RegionDrained:
		return v1alpha1.RegionDrained
	}
	return v1alpha1.RegionUnknown
}

// regions reports the declared regions, and RegionsHealthy.
func (r reporter) regions() {
	var problems []problem
	serving := 0
	statuses := make([]v1alpha1.ServiceRegionStatus, 0, len(r.mas.Spec.Regions))
	for _, declared := range r.mas.Spec.Regions {
		rec, known := r.seen.Configuration.View.Regions[declared.Name]
		known = known && r.seen.StoreConnected
		s := v1alpha1.ServiceRegionStatus{
			Name: declared.Name, State: Phase(rec, known), Owns: r.owns(declared), Replicas: r.replicas(declared.Name),
		}
		if known && rec.State == ownership.RegionServing {
			serving++
		}
		if p, bad := r.regionProblem(declared.Name, rec, known); bad {
			s.Message = cut(p.text(), maxRegionMessage)
			problems = append(problems, p)
		}
		statuses = append(statuses, s)
	}
	r.mas.Status.Regions = statuses
	r.summary().Regions = fmt.Sprintf("%d/%d", serving, len(statuses))
	r.summary().Epoch = r.seen.Configuration.View.Epoch
	r.settle(v1alpha1.ConditionRegionsHealthy, problems, v1alpha1.ReasonRegionServing, "every region serves")
}

// maxRegionMessage is the bound of ServiceRegionStatus.Message.
const maxRegionMessage = 1000

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func (r reporter) summary() *v1alpha1.ServiceSummary {
	if r.mas.Status.Summary == nil {
		r.mas.Status.Summary = &v1alpha1.ServiceSummary{}
	}
	return r.mas.Status.Summary
}

func (r reporter) regionProblem(name string, rec ownership.RegionRecord, known bool) (problem, bool) {
	if reason, message := r.seen.refusal(r.mas, name); reason != "" {
		return no(name, reason, message), true
	}
	at := r.seen.region(name)
	emptied, excluded := r.excludedRegion(name)
	bad := func(reason, message string) (problem, bool) { return no(name, reason, message), true }
	switch {
	case !r.seen.StoreKnown || !r.seen.StoreConnected:
		return problem{name, metav1.ConditionUnknown, v1alpha1.ReasonStoreUnreachable, "not known, the hub cannot read the coordination store"}, true
	case !known:
		return bad(v1alpha1.ReasonRegionUnknown, "the region is not in the agreed view: is its member running? see the Region")
	case rec.State == ownership.RegionLost:
		return bad(r.lostRegion(name, rec))
	case order.Drill(rec) != "":
		return bad(v1alpha1.ReasonRegionInDrill, order.Drill(rec))
	case rec.State == ownership.RegionReturning:
		return bad(r.returningRegion(name))
	case rec.State == ownership.RegionDrained:
		return bad(v1alpha1.ReasonRegionDrained, "the region was emptied on purpose; to end that, order: "+
			order.Command(v1alpha1.OperationUndrain, name, nil))
	case rec.Suspect:
		return bad(v1alpha1.ReasonRegionSuspect, "some observers cannot reach the region")
	case excluded:
		return bad(v1alpha1.ReasonRegionDrained, emptied)
	case at.Connection == Connecting:
		return problem{name, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "connecting to the cluster"}, true
	case at.Connection == Unusable:
		return bad(v1alpha1.ReasonRegionUnreachable, "it serves, but the hub cannot bring changes there: "+at.Problem)
	}
	return problem{}, false
}

// owns says whether the region owns slots of the service now.
func (r reporter) owns(declared v1alpha1.ServiceRegion) v1alpha1.WorkState {
	record, accepted := r.seen.record(string(r.mas.UID))
	switch {
	case !r.seen.StoreConnected || !accepted:
		return v1alpha1.Unknown
	case !record.Deleted && weight(r.inForce(), declared.Name) > 0 && flows.Owns(r.seen.Configuration, record, declared.Name):
		return v1alpha1.Yes
	default:
		return v1alpha1.No
	}
}

func (r reporter) replicas(name string) string {
	at := r.seen.region(name)
	if at.Slice != nil && at.Slice.Status.Workload != nil {
		return fmt.Sprintf("%d/%d", at.Slice.Status.Workload.Ready, at.Slice.Status.Workload.Desired)
	}
	if want := slices.Workload(r.mas.Spec, name).Replicas; want != nil {
		return fmt.Sprintf("?/%d", *want)
	}
	return "?"
}
