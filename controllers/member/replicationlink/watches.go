package replicationlink

import (
	"context"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/viewwatch"
)

// SetupWithManager starts the controller with the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	views := r.watchView()
	if err := mgr.Add(views); err != nil {
		return err
	}
	mine := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == r.Options.OperatorNamespace && o.GetLabels()[regional.LabelMirrorFrom] != ""
	})
	byLabel := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return request(o.GetLabels()[regional.LabelMirrorFrom])
	})
	// Sources are named by the events' objects.
	byName := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request { return request(o.GetName()) })
	return ctrl.NewControllerManagedBy(mgr).
		Named("replicationlink").
		Watches(&v1alpha1.RegionalService{}, flow.Gathered(r.all),
			builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, actedChanged()))).
		Watches(&v1alpha1.ReplicationLink{}, handler.EnqueueRequestsFromMapFunc(ofLink), builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, pausedChanged()))).
		Watches(&appsv1.Deployment{}, byLabel, builder.WithPredicates(mine)).
		Watches(&corev1.ConfigMap{}, byLabel, builder.WithPredicates(mine)).
		Watches(&corev1.Pod{}, byLabel, builder.WithPredicates(mine)).
		WatchesRawSource(source.Channel(r.Canaries.Changed(), byName)).
		WatchesRawSource(source.Channel(r.Mirrors.Changed(), byName)).
		WatchesRawSource(source.Channel(r.Transfers.Changed(), byName)).
		WatchesRawSource(source.Channel(r.Rights.Changed(), byName)).
		WatchesRawSource(source.Channel(views.Changed(), byName)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1}).
		Complete(r)
}

// actedChanged lets pass that a slice is acted on from now on.
func actedChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, is := e.ObjectOld.(*v1alpha1.RegionalService)
		after, are := e.ObjectNew.(*v1alpha1.RegionalService)
		return is && are && regional.Acted(before) != regional.Acted(after)
	}}
}

// pausedChanged lets pass that a link is paused, or not any more.
func pausedChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, is := e.ObjectOld.(*v1alpha1.ReplicationLink)
		after, are := e.ObjectNew.(*v1alpha1.ReplicationLink)
		return is && are && plan.Paused(before) != plan.Paused(after)
	}}
}

func request(from string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: from}}}
}

// all maps a service to every source that it has, or that anything is still kept for.
func (r *Reconciler) all(ctx context.Context, obj client.Object) []reconcile.Request {
	names := map[string]bool{}
	if rs, ok := obj.(*v1alpha1.RegionalService); ok && rs.Spec.Region == r.Options.Region {
		for _, p := range rs.Spec.Peers {
			if p.Name != r.Options.Region {
				names[p.Name] = true
			}
		}
	}
	links := &v1alpha1.ReplicationLinkList{}
	if err := r.Client.List(ctx, links, client.UnsafeDisableDeepCopy); err == nil { // before the cache is there, links come by their own watch
		for i := range links.Items {
			names[links.Items[i].Spec.From] = true
		}
	}
	var requests []reconcile.Request
	for _, name := range slices.Sorted(maps.Keys(names)) {
		requests = append(requests, request(name)...)
	}
	return requests
}

func ofLink(_ context.Context, obj client.Object) []reconcile.Request {
	if link, ok := obj.(*v1alpha1.ReplicationLink); ok {
		return request(link.Spec.From)
	}
	return nil
}

// watchView wakes the sources that the agreed view says something else of.
func (r *Reconciler) watchView() *viewwatch.Watcher[map[string]ownership.RegionRecord] {
	type regions = map[string]ownership.RegionRecord
	state := func() regions {
		c, _ := r.Agent.Snapshot()
		return c.View.Regions
	}
	return viewwatch.New(r.Agent, state, func(_ context.Context, before, after regions) ([]client.Object, error) {
		var out []client.Object
		for name, record := range after {
			if before[name].State != record.State {
				link := &v1alpha1.ReplicationLink{}
				link.Name = name
				out = append(out, link)
			}
		}
		return out, nil
	})
}

// announce wakes the pass for a source region; it waits for room, or the end of ctx.
func announce(ctx context.Context, changed chan<- event.GenericEvent, from string) {
	link := &v1alpha1.ReplicationLink{}
	link.Name = from
	select {
	case changed <- event.GenericEvent{Object: link}:
	case <-ctx.Done():
	}
}
