package regionincident

import (
	"maps"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// open says what an outage that goes on waits for, which order ends the wait if one does, and that another region
// is out for a drill, which is no outage.
func open(region string, seen Seen) (reason, message string) {
	reason, message = waits(region, seen)
	for _, name := range slices.Sorted(maps.Keys(seen.View.Regions)) {
		if drill := order.Drill(seen.View.Regions[name]); name != region && drill != "" {
			message += ". Of region " + name + ": " + drill
		}
	}
	return reason, message
}

func waits(region string, seen Seen) (reason, message string) {
	switch rec := seen.View.Regions[region]; {
	case rec.Gone:
		return v1alpha1.ReasonIncidentOpen, "region " + region + " was declared lost for good: take it out of spec.regions of the services that " +
			"name it, then delete its Region"
	case rec.Drill != "" && rec.State == ownership.RegionLost:
		return v1alpha1.ReasonIncidentOpen, "region " + region + " does not serve: it was lost in earnest while it was out for a drill, and gets its keys " +
			"back by itself once it returns"
	case order.Drill(rec) != "":
		return v1alpha1.ReasonIncidentOpen, "region " + region + " is back: " + order.Drill(rec)
	case rec.State == ownership.RegionDrained:
		return v1alpha1.ReasonIncidentOpen, "region " + region + " is back and drained; it serves again once this is ordered: " +
			order.Command(v1alpha1.OperationUndrain, region, nil)
	case rec.State == ownership.RegionReturning:
		if names := seen.AwaitHandback; len(names) > 0 {
			return v1alpha1.ReasonHandbackAwaited, "region " + region + " is back and serves what any region may; the keys of " + order.List(names) +
				" go back to it once this is ordered: " + order.Command(v1alpha1.OperationHandback, region, nil)
		}
		return v1alpha1.ReasonIncidentOpen, "region " + region + " is back and takes its keys back once it has been reachable for long enough and " +
			"has caught up"
	}
	if names := seen.AwaitApproval; len(names) > 0 {
		return v1alpha1.ReasonFailoverAwaited, "region " + region + " does not serve, and nobody takes over its keys of " + order.List(names) +
			" before this is ordered: " + order.Command(v1alpha1.OperationApproveFailover, region, nil)
	}
	return v1alpha1.ReasonIncidentOpen, "region " + region + " does not serve"
}
