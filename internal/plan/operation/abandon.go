package operation

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/order"
)

// decideAbandon gives up on regions that the deletion of a service waits for. That takes no leader: the
// service owns nothing any more, and the coordination store keeps it as deleted until the hub has reached
// every region and deleted what runs there.
func decideAbandon(now time.Time, o *v1alpha1.Operation, seen Seen) Plan {
	mas, begun := seen.Service, o.Status.State == v1alpha1.OperationRunning
	gone := mas == nil || mas.DeletionTimestamp.IsZero()
	switch {
	case begun && gone:
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, fmt.Sprintf(
			"MultiActiveService %s is deleted; what is left of it in regions that could not be reached is deleted there once they can be", key(o.Spec.Service)))
	case mas == nil:
		return answered(v1alpha1.OperationRefused, v1alpha1.ReasonOrderInvalid, "refused, nothing was done: "+noService(o.Spec.Service))
	case gone:
		return answered(v1alpha1.OperationRefused, v1alpha1.ReasonOrderRefused, fmt.Sprintf(
			"refused, nothing was done: spec.service: MultiActiveService %s is not being deleted. Delete it, and order Abandon if its condition Ready "+
				"then says that the deletion waits for a region which cannot be reached", key(o.Spec.Service)))
	case o.Spec.Region != "" && !slices.Contains(regionsOf(mas), o.Spec.Region):
		return answered(v1alpha1.OperationRefused, v1alpha1.ReasonOrderInvalid, fmt.Sprintf(
			"refused, nothing was done: spec.region: MultiActiveService %s does not run in region %s; it runs in: %s. Order anew with one of these, or "+
				"without a region", key(o.Spec.Service), o.Spec.Region, order.List(regionsOf(mas))))
	}
	return giveUp(now, o, seen, begun)
}

func giveUp(now time.Time, o *v1alpha1.Operation, seen Seen, begun bool) Plan {
	regions := abandonable(o.Spec, seen)
	have := Abandoned(seen.Service)
	left := o.CreationTimestamp.Add(timeout(o)).Sub(now)
	switch {
	case !begun && len(regions) == 0:
		return answered(v1alpha1.OperationRefused, v1alpha1.ReasonOrderRefused, fmt.Sprintf(
			"refused, nothing was done: no region that it could give up on is out of reach. Condition Ready of MultiActiveService %s says what its "+
				"deletion waits for", key(o.Spec.Service)))
	case left <= 0:
		return answered(v1alpha1.OperationFailed, v1alpha1.ReasonOrderFailed, fmt.Sprintf(
			"the deletion of MultiActiveService %s still waits for something else: its condition Ready says for what", key(o.Spec.Service)))
	}
	plan := answered(v1alpha1.OperationRunning, v1alpha1.ReasonOrderRunning, fmt.Sprintf(
		"MultiActiveService %s is being deleted without waiting for: %s", key(o.Spec.Service), order.List(union(have, regions))))
	plan.RecheckAfter = min(recheck, left)
	if all := union(have, regions); len(all) > len(have) {
		plan.Steps = append(plan.Steps, Step{Kind: StepAbandon, Regions: all})
	}
	return plan
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

func reachable(r *v1alpha1.Region) bool {
	return meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionClusterReachable)
}
