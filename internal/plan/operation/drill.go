package operation

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// DefaultDrillDuration is how long a region is out for a drill that does not say.
const DefaultDrillDuration = 10 * time.Minute

// DrillDuration is how long a region is to be out.
func DrillDuration(d *v1alpha1.DrillSpec) time.Duration {
	if d == nil || d.Duration == nil || d.Duration.Duration <= 0 {
		return DefaultDrillDuration
	}
	return d.Duration.Duration
}

// DrillMode is what users are to meet in a drill.
func DrillMode(d *v1alpha1.DrillSpec) v1alpha1.DrillMode {
	if d == nil || d.Mode == "" {
		return v1alpha1.DrillFailover
	}
	return d.Mode
}

// abortOrdered is what the leader is told when a person aborts a drill; whatever else it is told is about core flows.
const abortOrdered = "spec.drill.course says Abort"

// followed tells what the leader has made of an order, and has it end a drill that is to go no further.
func followed(o *v1alpha1.Operation, seen Seen, record ownership.OrderRecord) Plan {
	plan := mirrored(o, seen, record)
	if o.Spec.Type != v1alpha1.OperationDrill || record.State != ownership.OrderRunning || record.Drill == nil || record.Drill.Ending != "" {
		return plan
	}
	if why := abort(o, seen); why != "" && seen.Configuration.OrderIntents[seen.name(o)].Abort == "" {
		intent := intended(o, seen)
		intent.Abort = why
		plan.Steps = append(plan.Steps, Step{Kind: StepPropose, Intent: intent})
	}
	return plan
}

// abort says why the hub ends a drill that is under way, "" when it does not.
func abort(o *v1alpha1.Operation, seen Seen) string {
	if o.Spec.Drill != nil && o.Spec.Drill.Course == v1alpha1.DrillAbort {
		return abortOrdered
	}
	if lost := coreUnavailable(seen); len(lost) > 0 {
		return "core flows are not served for every key: " + order.List(lost)
	}
	return ""
}

// refuseDrill says why a drill is not handed over. What the other regions have to say against it, the leader does.
func refuseDrill(o *v1alpha1.Operation, seen Seen) (reason, message string) {
	if o.Spec.Type != v1alpha1.OperationDrill {
		return "", ""
	}
	if o.Spec.Drill != nil && o.Spec.Drill.Course == v1alpha1.DrillAbort {
		return v1alpha1.ReasonOrderRefused, "it was aborted before it began (spec.drill.course). Order it anew under another name"
	}
	if lost := coreUnavailable(seen); len(lost) > 0 {
		return v1alpha1.ReasonOrderRefused, "core flows are not served for every key already, of: " + order.List(lost) +
			". Mend that first (condition CoreAvailable of the services says what it is), and order the drill anew"
	}
	return "", ""
}

// coreUnavailable names the services whose core flows are not served for every key, whatever their regions are.
func coreUnavailable(seen Seen) []string {
	var out []string
	for _, s := range seen.Services {
		if !coreServed(s.Declared) {
			out = append(out, s.Declared.Namespace+"/"+s.Declared.Name)
		}
	}
	slices.Sort(out)
	return out
}

func coreServed(mas *v1alpha1.MultiActiveService) bool {
	return !mas.DeletionTimestamp.IsZero() || !meta.IsStatusConditionFalse(mas.Status.Conditions, v1alpha1.ConditionCoreAvailable)
}

// drilled tells the end of a drill.
func drilled(o *v1alpha1.Operation, seen Seen, record ownership.OrderRecord) Plan {
	now := fmt.Sprintf("Region %s serves and owns its keys again", o.Spec.Region)
	if rec := seen.Configuration.View.Regions[o.Spec.Region]; rec.State != ownership.RegionServing {
		now = fmt.Sprintf("Region %s is %s now: see its Region", o.Spec.Region, rec.State)
	}
	if record.State == ownership.OrderSucceeded {
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, fmt.Sprintf(
			"region %s was out for %s, and core flows were served all the while. %s. What was degraded stands in status.drill",
			o.Spec.Region, DrillDuration(o.Spec.Drill), now))
	}
	return answered(v1alpha1.OperationFailed, v1alpha1.ReasonDrillAborted, fmt.Sprintf(
		"the drill ended before its time: %s. %s. Order it anew once that is mended", names(seen.Configuration, record.Drill.Because), now))
}
