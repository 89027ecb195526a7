// Package operation answers Operations in the hub. This version carries none out; it must never
// leave an order without an answer.
package operation

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/flow"
	plan "multiactive.dev/operator/internal/plan/operation"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=operations,verbs=get;list;watch
// +kubebuilder:rbac:groups=multiactive.dev,resources=operations/status,verbs=get;update;patch

// Reconciler answers Operations. All fields are required.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// Reconcile answers one order, once.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &v1alpha1.Operation{}
	if err := r.Client.Get(ctx, req.NamespacedName, o); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := o.DeepCopy()
	plan.Report(r.Clock.Now(), o)
	if equality.Semantic.DeepEqual(before.Status, o.Status) {
		return ctrl.Result{}, nil
	}
	return flow.Resolve(ctrl.Result{}, nil, r.Client.Status().Patch(ctx, o, client.MergeFrom(before)))
}

// SetupWithManager registers the controller. An order does not change: its creation wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("operation").
		For(&v1alpha1.Operation{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the operation controller: %w", err)
	}
	return nil
}
