package regionincident

import (
	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// open says what an outage that goes on waits for, and which order ends the wait if one does.
func open(region string, seen Seen) (reason, message string) {
	switch rec := seen.View.Regions[region]; {
	case rec.Gone:
		return v1alpha1.ReasonIncidentOpen, "region " + region + " was declared lost for good: take it out of spec.regions of the services that " +
			"name it, then delete its Region"
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
