package storelink

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/viewwatch"
)

// SetupWithManager starts the controller with the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	views := r.watchView()
	if err := mgr.Add(views); err != nil {
		return err
	}
	pass := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "stores"}}}
	})
	ofStores := predicate.NewPredicateFuncs(func(o client.Object) bool {
		link, is := o.(*v1alpha1.ReplicationLink)
		return is && link.Spec.Store != ""
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("storelink").
		Watches(&v1alpha1.RegionalService{}, pass, builder.WithPredicates(storesChanged())).
		Watches(&v1alpha1.ReplicationLink{}, pass, builder.WithPredicates(ofStores, predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, marked()))).
		WatchesRawSource(source.Channel(r.Keepers.Changed(), pass)).
		WatchesRawSource(source.Channel(views.Changed(), pass)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1}).
		Complete(r)
}

// storesChanged lets slices with stores pass that change, are acted on from now on, or go.
func storesChanged() predicate.Predicate {
	has := func(o client.Object) bool {
		rs, is := o.(*v1alpha1.RegionalService)
		return is && len(rs.Spec.Stores) > 0
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return has(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return has(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, is := e.ObjectOld.(*v1alpha1.RegionalService)
			after, are := e.ObjectNew.(*v1alpha1.RegionalService)
			return is && are && (has(before) || has(after)) &&
				(before.Generation != after.Generation || regional.Acted(before) != regional.Acted(after))
		},
	}
}

// marked lets pass what people say of a link by its annotations: that it is paused, or not any more, and that its rows, or what
// its server would lose, are accepted.
func marked() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, is := e.ObjectOld.(*v1alpha1.ReplicationLink)
		after, are := e.ObjectNew.(*v1alpha1.ReplicationLink)
		return is && are && (replicationlink.Paused(before) != replicationlink.Paused(after) ||
			before.Annotations[regional.AnnotationAcceptRows] != after.Annotations[regional.AnnotationAcceptRows] ||
			before.Annotations[regional.AnnotationAcceptLoss] != after.Annotations[regional.AnnotationAcceptLoss])
	}}
}

// watchView wakes the pass when the agreed view says something else of a region.
func (r *Reconciler) watchView() *viewwatch.Watcher[map[string]ownership.RegionRecord] {
	type regions = map[string]ownership.RegionRecord
	state := func() regions {
		c, _ := r.Agent.Snapshot()
		return c.View.Regions
	}
	return viewwatch.New(r.Agent, state, func(_ context.Context, before, after regions) ([]client.Object, error) {
		for name, record := range after {
			if before[name].State != record.State {
				link := &v1alpha1.ReplicationLink{}
				link.Name = name
				return []client.Object{link}, nil
			}
		}
		return nil, nil
	})
}
