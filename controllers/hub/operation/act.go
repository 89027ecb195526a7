package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
)

// act carries out one step.
func (r *Reconciler) act(ctx context.Context, o *v1alpha1.Operation, step plan.Step) error {
	switch step.Kind {
	case plan.StepAddFinalizer:
		return r.patchFinalizer(ctx, o, func() { controllerutil.AddFinalizer(o, plan.Finalizer) })
	case plan.StepRemoveFinalizer:
		return client.IgnoreNotFound(r.patchFinalizer(ctx, o, func() { controllerutil.RemoveFinalizer(o, plan.Finalizer) }))
	case plan.StepPropose:
		if err := r.current(ctx, o); err != nil {
			return err
		}
		return r.give(ctx, o, step.Intent)
	case plan.StepWithdraw:
		return r.withdraw(ctx, o)
	case plan.StepAbandon:
		return r.abandon(ctx, *o.Spec.Service, step.Regions)
	default:
		return fmt.Errorf("unknown step %q", step.Kind)
	}
}

// give hands an order to the leader.
func (r *Reconciler) give(ctx context.Context, o *v1alpha1.Operation, intent ownership.OrderIntent) error {
	if r.Peers != nil {
		_, err := r.Shared.HoldOrder(ctx, intent, r.Peers.Region, string(o.UID))
		return err
	}
	_, err := r.Store.PutOrderIntent(ctx, intent)
	return err
}

// withdraw takes an order back; in peer mode it stands for as long as another region's Operation gives it.
func (r *Reconciler) withdraw(ctx context.Context, o *v1alpha1.Operation) error {
	if r.Peers != nil {
		_, err := r.Shared.ReleaseOrder(ctx, order.SharedName(o), r.Peers.Region)
		return err
	}
	_, err := r.Store.DeleteOrderIntent(ctx, order.Name(o))
	return err
}

// current refuses to go on with an order that has ended, or is being deleted, though the cache does not
// have that yet: given to the leader again, it would be carried out again.
func (r *Reconciler) current(ctx context.Context, o *v1alpha1.Operation) error {
	latest := &v1alpha1.Operation{}
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(o), latest); err != nil {
		return err
	}
	if latest.UID != o.UID || !latest.DeletionTimestamp.IsZero() || plan.Ended(latest.Status.State) {
		return flow.Waiting{Reason: "the cache to have the order's end", After: time.Second}
	}
	return nil
}

func (r *Reconciler) patchFinalizer(ctx context.Context, o *v1alpha1.Operation, change func()) error {
	base := o.DeepCopy()
	change()
	return r.Client.Patch(ctx, o, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// abandon notes at the service which regions its deletion does not wait for: its own controller acts on
// that.
func (r *Reconciler) abandon(ctx context.Context, key v1alpha1.ServiceKey, regions []string) error {
	mas := &v1alpha1.MultiActiveService{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.Name}, mas); err != nil {
		return client.IgnoreNotFound(err)
	}
	base := mas.DeepCopy()
	if mas.Annotations == nil {
		mas.Annotations = map[string]string{}
	}
	mas.Annotations[v1alpha1.AnnotationAbandoned] = strings.Join(regions, ",")
	return client.IgnoreNotFound(r.Client.Patch(ctx, mas, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})))
}
