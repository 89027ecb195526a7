package regionalservice

import (
	"context"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
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
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/viewwatch"
)

// leaseTick is how often the lease is looked at, and what gateways report: nothing announces that it
// has run out, or what they say.
const leaseTick = 500 * time.Millisecond

// SetupWithManager starts the controller with the manager. changed are announcements from outside
// the API server, of services by name.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, c clock.WithTicker, changed ...<-chan event.GenericEvent) error {
	r.progress.First, r.progress.Most = progressEvery, progressEvery
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	views := r.watchView(mgr.GetClient(), c)
	if err := mgr.Add(views); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("regionalservice").
		For(&v1alpha1.RegionalService{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&policyv1.PodDisruptionBudget{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&networkingv1.NetworkPolicy{}).
		Owns(&autoscalingv2.HorizontalPodAutoscaler{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, scaling()))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(ofPod)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(r.referring)).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.referring)).
		Watches(&v1alpha1.ReplicationLink{}, handler.EnqueueRequestsFromMapFunc(r.receiving), builder.WithPredicates(haltedOrGone())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4})
	for _, ch := range changed {
		b = b.WatchesRawSource(source.Channel(ch, &handler.EnqueueRequestForObject{}))
	}
	return b.WatchesRawSource(source.Channel(views.Changed(), handler.Funcs{GenericFunc: r.woken})).Complete(r)
}

// woken puts off the pass that a change of the view asks for, of a service that it has nothing to do for while a region is
// being lost: there may be a thousand, just when their gateways are given other owners.
func (r *Reconciler) woken(_ context.Context, e event.GenericEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	var wait time.Duration
	if rs, is := e.Object.(*v1alpha1.RegionalService); is && rs.UID != "" && !ownerOnly(rs) {
		wait = r.quiet(rs)
	}
	queue.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)}, wait)
}

// ownerOnly reports whether a service has workloads that others may have to see stopped (R8).
func ownerOnly(rs *v1alpha1.RegionalService) bool {
	return slices.ContainsFunc(rs.Spec.Workload.Additional, func(a v1alpha1.AdditionalWorkload) bool {
		return a.Activation == v1alpha1.ActivationOwnerOnly
	})
}

// scaling lets those updates of an autoscaler through after which something else keeps it from scaling. Its
// measurements change every few seconds.
func scaling() predicate.Predicate {
	hinders := func(obj client.Object) string {
		a, _ := obj.(*autoscalingv2.HorizontalPodAutoscaler)
		return plan.Hindered(a)
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return hinders(e.ObjectOld) != hinders(e.ObjectNew) }}
}

// ofPod maps a Pod to the service that its labels name.
func ofPod(_ context.Context, pod client.Object) []reconcile.Request {
	if name := pod.GetLabels()[regional.LabelService]; name != "" {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
	}
	return nil
}

// haltedOrGone lets pass that a link is paused or denied, or not any more, and that there is none any more.
func haltedOrGone() predicate.Predicate {
	annotations := predicate.AnnotationChangedPredicate{}
	denied := func(obj client.Object) bool {
		link, is := obj.(*v1alpha1.ReplicationLink)
		return is && replicationlink.Denied(link)
	}
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return annotations.Update(e) || denied(e.ObjectOld) != denied(e.ObjectNew)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// receiving maps a link to the services that it carries the data of.
func (r *Reconciler) receiving(ctx context.Context, obj client.Object) []reconcile.Request {
	link, is := obj.(*v1alpha1.ReplicationLink)
	list := &v1alpha1.RegionalServiceList{}
	if !is || r.Client.List(ctx, list, client.UnsafeDisableDeepCopy) != nil {
		return nil // before the cache is there, the first pass sees the link
	}
	var requests []reconcile.Request
	for i := range list.Items {
		rs := &list.Items[i]
		if slices.ContainsFunc(rs.Spec.Topics, func(t v1alpha1.TopicSlice) bool { return t.Name == link.Spec.Topic }) ||
			slices.ContainsFunc(rs.Spec.Stores, func(s v1alpha1.StoreSlice) bool { return s.Name == link.Spec.Store }) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(rs)})
		}
	}
	return requests
}

// referring maps an object that others deployed to the services that refer to it.
func (r *Reconciler) referring(ctx context.Context, obj client.Object) []reconcile.Request {
	list := &v1alpha1.RegionalServiceList{}
	if err := r.Client.List(ctx, list, client.InNamespace(obj.GetNamespace()), client.MatchingFields{refersTo: identity(obj)},
		client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache is not there yet; its first pass sees the object
	}
	var requests []reconcile.Request
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// agreed is what the services' state depends on besides the cluster.
type agreed struct {
	configuration ownership.Configuration
	holds         bool
	reports       int64
}

// watchView wakes all services when the regions agreed on something else, and when the region got or lost
// its lease; and each service when something was decided for it alone, or its gateways report something else.
func (r *Reconciler) watchView(reader client.Reader, c clock.WithTicker) *viewwatch.Watcher[agreed] {
	state := func() agreed {
		c, _ := r.Agent.Snapshot()
		return agreed{configuration: c, holds: r.Agent.Lease() > 0, reports: r.Agent.Reports()}
	}
	views := viewwatch.New(r.Agent, state, func(ctx context.Context, before, after agreed) ([]client.Object, error) {
		if before.holds != after.holds || !ownership.SameDecisions(&before.configuration, &after.configuration) {
			return services(ctx, reader)
		}
		// There may be many services, each of which something is decided for, or reported of, now and then.
		concerned := r.reporting(before.reports)
		for _, record := range ownership.ChangedServices(before.configuration.Services, after.configuration.Services) {
			concerned = append(concerned, named(record.Namespace, record.Name))
		}
		return concerned, nil
	})
	views.Every, views.Clock = leaseTick, c
	return views
}

// reporting returns the services whose gateways report something else since.
func (r *Reconciler) reporting(since int64) []client.Object {
	var out []client.Object
	for _, s := range r.Agent.ReportedSince(since) {
		out = append(out, named(s.Namespace, s.Name))
	}
	return out
}

func named(namespace, name string) *v1alpha1.RegionalService {
	rs := &v1alpha1.RegionalService{}
	rs.Namespace, rs.Name = namespace, name
	return rs
}

func services(ctx context.Context, reader client.Reader) ([]client.Object, error) {
	list := &v1alpha1.RegionalServiceList{}
	if err := reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil { // only their names are looked at
		return nil, err
	}
	out := make([]client.Object, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}
