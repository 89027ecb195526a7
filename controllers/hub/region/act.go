package region

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/region"
)

// act carries out one step.
func (r *Reconciler) act(ctx context.Context, s subject, step plan.Step) error {
	switch step.Kind {
	case plan.StepAddFinalizer:
		return r.patchFinalizer(ctx, s.own, func() { controllerutil.AddFinalizer(s.own, plan.Finalizer) })
	case plan.StepRemoveFinalizer:
		return client.IgnoreNotFound(r.patchFinalizer(ctx, s.own, func() { controllerutil.RemoveFinalizer(s.own, plan.Finalizer) }))
	case plan.StepPropose:
		_, err := r.Store.PutRegionIntent(ctx, step.Intent)
		if err == nil {
			r.contests.proposed(r.Clock.Now(), step.Intent)
		}
		return err
	case plan.StepWithdraw:
		_, err := r.Store.DeleteRegionIntent(ctx, s.declared.Name)
		return err
	case plan.StepDisconnect:
		r.Clusters.Remove(s.declared.Name)
		return nil
	default:
		return fmt.Errorf("unknown step %q", step.Kind)
	}
}

func (r *Reconciler) patchFinalizer(ctx context.Context, rg *v1alpha1.Region, change func()) error {
	base := rg.DeepCopy()
	change()
	return r.Client.Patch(ctx, rg, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}
