// Package operation decides what becomes of an Operation: values in, values out. This version
// carries none out, so every order is refused with what to do instead. It must never let an order
// stand without an answer.
package operation

import (
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/condition"
)

// Report fills the status in. An order that has ended stays as it is.
func Report(now time.Time, o *v1alpha1.Operation) {
	switch o.Status.State {
	case v1alpha1.OperationSucceeded, v1alpha1.OperationFailed, v1alpha1.OperationRefused:
		return
	case v1alpha1.OperationPending, v1alpha1.OperationRunning:
	}
	o.Status.State = v1alpha1.OperationRefused
	set := condition.Set{List: &o.Status.Conditions, Generation: o.Generation, Now: now}
	set.True(v1alpha1.ConditionComplete, v1alpha1.ReasonNotSupportedYet,
		"refused, nothing was done: %s is not in this version. %s", o.Spec.Type, instead(o.Spec))
}

// instead says what a person can do in this version.
func instead(spec v1alpha1.OperationSpec) string {
	region, service := "region "+spec.Region, "the service"
	if spec.Service != nil {
		service = "MultiActiveService " + spec.Service.Namespace + "/" + spec.Service.Name
	}
	switch spec.Type {
	case v1alpha1.OperationDrain:
		return "To take " + region + " out for maintenance, stop its edge and its member: the other regions find it lost and " +
			"serve its users' any-region flows; home writes of its users are refused until it returns"
	case v1alpha1.OperationUndrain:
		return "No region is drained in this version; " + region + " serves again by itself once the others have reached it for long enough"
	case v1alpha1.OperationHandback:
		return "Nothing is taken over when a region is lost, so there is nothing to hand back: " + region +
			" owns its users again as soon as it serves"
	case v1alpha1.OperationApproveFailover:
		return "Failover is always automatic; condition Serving of Region " + spec.Region + " says how the others see it, and why nothing " +
			"more is done"
	case v1alpha1.OperationDeclareLost:
		return "Users whose home is " + region + " get another one when their services are deleted and declared anew without it"
	case v1alpha1.OperationAbandon:
		return "If a region is gone for good, remove the finalizer multiactive.dev/hub from " + service +
			" by hand, and delete its RegionalService there should the region ever return"
	case v1alpha1.OperationAnnounce:
		return "Declare the text in spec.announcements of " + service + ": it is shown while the flows that it names are degraded"
	case v1alpha1.OperationDrill:
		return "To rehearse the loss of " + region + ", stop its edge and its member for a while"
	}
	return "See the API reference for the types that this version knows"
}
