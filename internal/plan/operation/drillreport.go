package operation

import (
	"cmp"
	"slices"

	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// A report has this many services, and of each this many flows: an Operation is stored and listed whole.
const (
	maxDrillServices = 20
	maxDrillFlows    = 10
)

// reportDrill fills in what is known of a drill's course. What was seen of a service once stays: its flows are
// whole again by the end.
func reportDrill(o *v1alpha1.Operation, seen Seen) {
	switch {
	case o.Spec.Type != v1alpha1.OperationDrill:
		return
	case o.Status.State == v1alpha1.OperationRefused:
		o.Status.Drill = nil
		return
	}
	first := o.Status.Drill == nil
	if first {
		o.Status.Drill = &v1alpha1.DrillReport{}
	}
	r := o.Status.Drill
	record, taken := seen.Configuration.Orders[seen.name(o)]
	if taken {
		r.StartedAt = second(record.StartedAt)
	}
	if d := record.Drill; d != nil {
		course(o, seen, *d)
	}
	if Ended(o.Status.State) {
		judge(o, seen, record)
		return
	}
	d := record.Drill
	touched(o, seen, first, d != nil && d.OutAt != nil && d.Ending == "")
}

// course notes the times of a drill and what ended it.
func course(o *v1alpha1.Operation, seen Seen, d ownership.DrillRecord) {
	r := o.Status.Drill
	if d.OutAt != nil {
		r.OutAt, r.EndsAt = second(*d.OutAt), second(d.OutAt.Add(DrillDuration(o.Spec.Drill)))
	}
	if d.EndingAt != nil {
		r.EndedAt = second(*d.EndingAt)
	}
	r.Because = cut(names(seen.Configuration, d.Because))
	switch d.Ending {
	case ownership.DrillTimeIsUp:
		r.Ended = v1alpha1.DrillEndTimeIsUp
	case ownership.DrillAborted:
		r.Ended = v1alpha1.DrillEndCoreUnavailable
		if d.Because == abortOrdered {
			r.Ended = v1alpha1.DrillEndOrdered
		}
	case ownership.DrillAnotherRegion:
		r.Ended = v1alpha1.DrillEndAnotherRegion
	case ownership.DrillRegionLost:
		r.Ended = v1alpha1.DrillEndRegionLost
	case ownership.DrillAnotherOrder:
		r.Ended = v1alpha1.DrillEndAnotherOrder
	case ownership.DrillNotOut:
		r.Ended = v1alpha1.DrillEndNotOut
	}
}

// judge gives the verdict.
func judge(o *v1alpha1.Operation, seen Seen, record ownership.OrderRecord) {
	r := o.Status.Drill
	switch {
	case r.OutAt == nil:
		r.Verdict = v1alpha1.DrillNotBegun
	case o.Status.State == v1alpha1.OperationSucceeded:
		r.Verdict = v1alpha1.DrillPassed
	default:
		r.Verdict = v1alpha1.DrillAborted
	}
	if r.OutAt != nil && record.EndedAt != nil && seen.Configuration.View.Regions[o.Spec.Region].State == ownership.RegionServing {
		r.BackAt = second(*record.EndedAt)
	}
}

// touched notes how the services of the region are served, and before the drill how far their data lags.
func touched(o *v1alpha1.Operation, seen Seen, before, out bool) {
	r := o.Status.Drill
	all := slices.Clone(r.Services)
	total := 0
	for _, s := range seen.Services {
		mas := s.Declared
		if !mas.DeletionTimestamp.IsZero() || !slices.Contains(regionsOf(mas), o.Spec.Region) {
			continue
		}
		total++
		i := slices.IndexFunc(all, func(d v1alpha1.DrillService) bool { return d.Namespace == mas.Namespace && d.Name == mas.Name })
		if i < 0 {
			i, all = len(all), append(all, v1alpha1.DrillService{Namespace: mas.Namespace, Name: mas.Name, CoreAvailable: v1alpha1.Yes})
		}
		if summary := mas.Status.Summary; before && summary != nil {
			all[i].LagBefore = summary.Lag
		}
		if out {
			degraded(&all[i], mas)
		}
	}
	slices.SortStableFunc(all, func(a, b v1alpha1.DrillService) int {
		return cmp.Or(cmp.Compare(harm(b), harm(a)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	r.Services = all[:min(len(all), maxDrillServices)]
	r.OtherServices = int32(max(0, total-len(r.Services)))
}

// harm orders services by what a drill did to them.
func harm(d v1alpha1.DrillService) int {
	n := len(d.Flows) + int(d.OtherFlows)
	if d.CoreAvailable == v1alpha1.No {
		n += 1000
	}
	return n
}

// degraded notes how a service's flows are served at worst.
func degraded(d *v1alpha1.DrillService, mas *v1alpha1.MultiActiveService) {
	if !coreServed(mas) {
		d.CoreAvailable = v1alpha1.No
	}
	now := 0
	d.Flows = slices.Clone(d.Flows)
	for _, f := range mas.Status.Flows {
		if f.State != v1alpha1.FlowDegraded && f.State != v1alpha1.FlowUnavailable {
			continue
		}
		now++
		seen := v1alpha1.DrillFlow{Name: f.Name, Tier: f.Tier, State: f.State, Action: f.Action, AffectedKeysPercent: f.AffectedKeysPercent}
		i := slices.IndexFunc(d.Flows, func(have v1alpha1.DrillFlow) bool { return have.Name == f.Name })
		switch {
		case i < 0 && len(d.Flows) < maxDrillFlows:
			d.Flows = append(d.Flows, seen)
		case i >= 0 && ptr.Deref(seen.AffectedKeysPercent, 0) > ptr.Deref(d.Flows[i].AffectedKeysPercent, 0):
			d.Flows[i] = seen
		}
	}
	d.OtherFlows = max(d.OtherFlows, int32(now-len(d.Flows))) //nolint:gosec // a service has 64 flows at most
}
