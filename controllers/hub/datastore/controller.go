// Package datastore reports on DataStores in the hub. This version does not act on them; it must
// never let a declared store pass for one that is looked after.
package datastore

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
	plan "multiactive.dev/operator/internal/plan/datastore"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=datastores,verbs=get;list;watch
// +kubebuilder:rbac:groups=multiactive.dev,resources=datastores/status,verbs=get;update;patch

// Reconciler reports on DataStores. All fields are required.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// Reconcile reports on one store, once for each generation.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	d := &v1alpha1.DataStore{}
	if err := r.Client.Get(ctx, req.NamespacedName, d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := d.DeepCopy()
	plan.Report(r.Clock.Now(), d)
	if equality.Semantic.DeepEqual(before.Status, d.Status) {
		return ctrl.Result{}, nil
	}
	return flow.Resolve(ctrl.Result{}, nil, r.Client.Status().Patch(ctx, d, client.MergeFrom(before)))
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("datastore").
		For(&v1alpha1.DataStore{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the data store controller: %w", err)
	}
	return nil
}
