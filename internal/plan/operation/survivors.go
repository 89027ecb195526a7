package operation

import (
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
)

// survivors is what a drain's survivors have of what they need (R9).
type survivors struct {
	// waits is true while the order is held back for them.
	waits bool
	// message of the step, "" when there is nothing to say of them.
	message string
}

// prepared looks at the survivors of a drain, or a drill, that is not with the leader yet; nil for other orders. They
// are scaled up by their services' controller, which sees that the order is there.
func prepared(o *v1alpha1.Operation, seen Seen) *survivors {
	if o.Spec.Type != v1alpha1.OperationDrain && o.Spec.Type != v1alpha1.OperationDrill {
		return nil
	}
	v := capacity.Drain(seen.Services, seen.Configuration, o.Spec.Region)
	s := &survivors{waits: len(v.Lacking) > 0 && o.Spec.Capacity != v1alpha1.CapacityIgnore}
	switch {
	case s.waits:
		s.message = "waits for " + capacity.List(v.Lacking)
	case len(v.Lacking) > 0:
		s.message = "not waited for, as spec.capacity says: " + capacity.List(v.Lacking)
	case len(v.Ready) > 0:
		s.message = "scaled up: " + capacity.List(v.Ready)
	}
	s.message += warned(s.message, v.Warnings)
	return s
}

// warned returns warnings to put behind a message.
func warned(message string, warnings []string) string {
	switch {
	case len(warnings) == 0:
		return ""
	case message == "":
		return "not scaled up: " + capacity.List(warnings)
	default:
		return ". Not scaled up: " + capacity.List(warnings)
	}
}

// awaitsCapacity holds an order back until the survivors have what they need.
func awaitsCapacity(s *survivors, left time.Duration) Plan {
	plan := answered(v1alpha1.OperationRunning, v1alpha1.ReasonCapacityAwaited, s.message+". To go on without waiting, delete this order and "+
		"order it anew with spec.capacity Ignore")
	plan.survivors, plan.RecheckAfter = s, min(recheck, left)
	return plan
}

// lacksCapacity gives an order up whose survivors did not get what they need in time.
func lacksCapacity(s *survivors) Plan {
	plan := answered(v1alpha1.OperationFailed, v1alpha1.ReasonCapacityLacking, "no owner has changed, and what was scaled up for it is scaled back: "+
		"within its timeout it "+s.message+". Mend that and order it anew, or order it with spec.capacity Ignore to go on regardless")
	plan.survivors = s
	return plan
}

// idle holds an order back that would give the keys of its service to a region in which none of the
// service's Pods is ready, and says so; "" when it does not. An order for all services is not held back:
// the leader leaves out those that the region itself reports.
func idle(o *v1alpha1.Operation, seen Seen) string {
	if o.Spec.Service == nil {
		return ""
	}
	return unready(o, seen)
}

// unready names what is not ready in a region that is to own keys again.
func unready(o *v1alpha1.Operation, seen Seen) string {
	if o.Spec.Type != v1alpha1.OperationUndrain && o.Spec.Type != v1alpha1.OperationHandback {
		return ""
	}
	return capacity.List(capacity.Unready(seen.Services, seen.Configuration, o.Spec.Region))
}

// timedOut gives up an order that the leader has not been given, or has not taken up, within its timeout.
func timedOut(o *v1alpha1.Operation, seen Seen) Plan {
	const prefix = "nothing was done within its timeout: "
	if names := idle(o, seen); names != "" {
		return answered(v1alpha1.OperationFailed, v1alpha1.ReasonCapacityLacking, prefix+"it waited for a ready replica of "+names+
			". Mend that, and order it anew")
	}
	if s := prepared(o, seen); s != nil && s.waits && held(o) {
		return lacksCapacity(s)
	}
	return answered(v1alpha1.OperationFailed, v1alpha1.ReasonOrderFailed, "nobody took it up within its timeout, and nobody will: see condition "+
		"LeaseHeld of the Regions for whether their agents act, and order it anew")
}

// held reports whether the order was held back for its survivors when it was last looked at.
func held(o *v1alpha1.Operation) bool {
	return has(o, PrepareSurvivors) && step(o, PrepareSurvivors).EndedAt == nil
}

// afterDrain says of which survivors a drain asks more than they are sized for.
func afterDrain(o *v1alpha1.Operation, seen Seen) string {
	if o.Spec.Type != v1alpha1.OperationDrain {
		return ""
	}
	return warned(".", capacity.Drain(seen.Services, seen.Configuration, o.Spec.Region).Warnings)
}

// whatElse says what a running order waits for besides what the leader says.
func whatElse(o *v1alpha1.Operation, seen Seen, record ownership.OrderRecord) string {
	if names := unready(o, seen); names != "" && record.State == ownership.OrderRunning {
		return ". Services without a ready replica there are left out until they have one: " + names
	}
	return ""
}
