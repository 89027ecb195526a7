// Package datastore reports on DataStores in the hub, from what the members of the regions that use
// them say of their servers. It must never connect to a store itself, nor wait for a region.
package datastore

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/flow"
	plan "multiactive.dev/operator/internal/plan/datastore"
	"multiactive.dev/operator/internal/port/clusters"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=datastores,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=datastores/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=multiactiveservices,verbs=get;list;watch

// Reconciler reports on DataStores. All fields are required.
type Reconciler struct {
	Client   client.Client
	Clusters *clusters.Registry
	Clock    clock.PassiveClock
}

// Reconcile reports on one store.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	d := &v1alpha1.DataStore{}
	if err := r.Client.Get(ctx, req.NamespacedName, d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	seen, err := r.observe(ctx, d)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.finalize(ctx, d, plan.Decide(d, seen)); err != nil {
		return flow.Resolve(ctrl.Result{}, err, nil)
	}
	if !d.DeletionTimestamp.IsZero() && len(seen.UsedBy) == 0 {
		return ctrl.Result{}, nil
	}
	before := d.DeepCopy()
	plan.Report(r.Clock.Now(), d, seen)
	if equality.Semantic.DeepEqual(before.Status, d.Status) {
		return ctrl.Result{}, nil
	}
	return flow.Resolve(ctrl.Result{}, nil, r.Client.Status().Patch(ctx, d, client.MergeFrom(before)))
}

// finalize adds or removes the finalizer.
func (r *Reconciler) finalize(ctx context.Context, d *v1alpha1.DataStore, step plan.Step) error {
	before := d.DeepCopy()
	switch step {
	case plan.StepNone:
		return nil
	case plan.StepAddFinalizer:
		controllerutil.AddFinalizer(d, plan.Finalizer)
	case plan.StepRemoveFinalizer:
		controllerutil.RemoveFinalizer(d, plan.Finalizer)
	}
	err := r.Client.Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err = client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	return nil
}

// observe collects what the regions say, from caches.
func (r *Reconciler) observe(ctx context.Context, d *v1alpha1.DataStore) (plan.Seen, error) {
	var seen plan.Seen
	var list v1alpha1.MultiActiveServiceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return seen, fmt.Errorf("listing services: %w", err)
	}
	for i := range list.Items {
		mas := &list.Items[i]
		if !slices.Contains(desired.StoreNames(mas.Spec), d.Name) {
			continue
		}
		seen.UsedBy = append(seen.UsedBy, mas.Namespace+"/"+mas.Name)
		for _, declared := range mas.Spec.Regions {
			if desired.StoreEndpointIn(d, declared.Name) == nil {
				continue // the service's condition tells
			}
			status, err := r.inRegion(ctx, declared.Name, client.ObjectKeyFromObject(mas), d)
			if err != nil {
				return seen, err
			}
			seen.Add(status)
		}
	}
	slices.Sort(seen.UsedBy)
	return seen, nil
}

// inRegion returns what a region's member says of the store for one service.
func (r *Reconciler) inRegion(ctx context.Context, region string, service types.NamespacedName, d *v1alpha1.DataStore) (v1alpha1.StoreRegionStatus, error) {
	out := v1alpha1.StoreRegionStatus{Region: region, Ready: metav1.ConditionUnknown}
	cluster, err := r.Clusters.Get(region)
	if err != nil {
		out.Reason, out.Message = v1alpha1.ReasonRegionUnreachable, "not known, the hub does not reach the region's cluster"
		return out, nil //nolint:nilerr // a cluster that cannot be reached is a fact to report
	}
	out.Reason, out.Message = v1alpha1.ReasonProgressing, "waiting for the region's member to look at its server"
	slice := &v1alpha1.RegionalService{}
	if err := cluster.Client.Get(ctx, service, slice); err != nil {
		if apierrors.IsNotFound(err) {
			return out, nil
		}
		return out, fmt.Errorf("reading the slice of %s in region %s: %w", service, region, err)
	}
	given := slices.ContainsFunc(slice.Spec.Stores, func(s v1alpha1.StoreSlice) bool { return s.Name == d.Name && s.StoreID == string(d.UID) })
	for _, s := range slice.Status.Stores {
		if given && s.Name == d.Name {
			out.Ready, out.Reason, out.Message, out.Version = s.Ready, s.Reason, s.Message, s.Version
		}
	}
	return out, nil
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("datastore").
		For(&v1alpha1.DataStore{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.MultiActiveService{}, handler.EnqueueRequestsFromMapFunc(named), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(r.watchClusters)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the data store controller: %w", err)
	}
	return nil
}

// named returns the stores that a service names. One that names a store no more wakes it with its slices' change.
func named(_ context.Context, o client.Object) []reconcile.Request {
	mas, is := o.(*v1alpha1.MultiActiveService)
	if !is {
		return nil
	}
	var out []reconcile.Request
	for _, name := range desired.StoreNames(mas.Spec) {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	return out
}

// watchClusters wakes the stores of a service when a region reports on it, and all stores when a connection changed.
func (r *Reconciler) watchClusters(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Clusters.Listen(ctx, func(c clusters.Change) {
		var list v1alpha1.DataStoreList
		if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "listing data stores")
			return
		}
		if len(list.Items) == 0 {
			return
		}
		if c.Service == (types.NamespacedName{}) {
			for i := range list.Items {
				queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: list.Items[i].Name}})
			}
			return
		}
		mas := &v1alpha1.MultiActiveService{}
		if err := r.Client.Get(ctx, c.Service, mas); err != nil {
			return
		}
		for _, request := range named(ctx, mas) {
			queue.Add(request)
		}
	})
	return nil
}
