// Package multiactiveservice reconciles MultiActiveServices in the hub: it writes one slice into
// every region's cluster, proposes the service to the coordination store's leader, keeps the
// service's DNSEndpoint in its own cluster, and reports what the regions and the agreed view say. It
// must never write anything else into a region, let a region that cannot be reached hold up the
// others, or decide who owns a slot.
package multiactiveservice

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
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
	desired "multiactive.dev/operator/internal/desired/slices"
	transitions "multiactive.dev/operator/internal/events"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/metrics"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/peers"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
	"multiactive.dev/operator/internal/plan/recheck"
	"multiactive.dev/operator/internal/port/clusters"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=multiactiveservices,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=multiactiveservices/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=regions,verbs=get;list;watch
// +kubebuilder:rbac:groups=multiactive.dev,resources=operations,verbs=get;list;watch
// +kubebuilder:rbac:groups=multiactive.dev,resources=datastores,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// FieldOwner owns the fields of slices.
const FieldOwner = "multiactive-hub"

// Backoff of failed reconciles.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
)

// concurrent is how many services are reconciled at a time, so that one which waits for a dying
// cluster does not hold up the others.
const concurrent = 8

// Proposer writes service intents to the coordination store.
type Proposer interface {
	PutServiceIntent(ctx context.Context, i ownership.ServiceIntent) (int64, error)
	DeleteServiceIntent(ctx context.Context, uid string) (int64, error)
}

// Reconciler reconciles MultiActiveServices. All fields but Pace and Peers are required.
type Reconciler struct {
	Client   client.Client
	Clusters *clusters.Registry
	View     *follow.Follower
	Store    Proposer
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	// Pace holds back what only tells of a failover; nil: nothing.
	Pace *pace.Pacer
	// Peers is set in peer mode, where the declaration is what most regions' clusters have.
	Peers *peers.Group

	progress pace.Progress
}

// How often it is told how far a service is that is on its way: see pace.Progress.
const (
	progressFirst = 10 * time.Second
	progressMost  = time.Minute
	progressEach  = 200 * time.Millisecond
)

// Reconcile observes one service, acts and reports.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (res ctrl.Result, err error) {
	s, err := r.subject(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	mas := s.declared
	if mas == nil {
		r.deleteMetrics(req.NamespacedName)
		r.progress.Forget(req.String())
		return ctrl.Result{}, r.clear(ctx, s, req.NamespacedName, "")
	}
	if err := r.clear(ctx, s, req.NamespacedName, string(mas.UID)); err != nil {
		return ctrl.Result{}, err
	}
	if wait := r.quiet(s); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	before := mas.Status.DeepCopy()
	now := r.Clock.Now()
	var seen plan.Seen
	var todo plan.Plan
	observed := false
	defer func() {
		plan.Report(now, mas, seen, todo, observed)
		if wait := r.hold(req, now, before, &mas.Status); wait > 0 {
			res.RequeueAfter = recheck.Sooner(res.RequeueAfter, wait)
			res, err = flow.Resolve(res, err, nil)
			return
		}
		res, err = flow.Resolve(res, err, r.patchStatus(ctx, before, s))
	}()
	if seen, err = r.observe(ctx, now, s); err != nil {
		return ctrl.Result{}, fmt.Errorf("observing service %s: %w", req, err)
	}
	observed = true
	todo = plan.Decide(now, mas, seen)
	if todo.MetBallot > 0 {
		r.Peers.Leader.RaiseBallot(todo.MetBallot) // once the store has it, everybody is woken
	}
	if err := r.act(ctx, s, &seen, todo.Steps); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: todo.RecheckAfter}, nil
}

// quiet returns how long to leave a service alone while a region is being lost: there may be a thousand. One
// that is declared anew, or goes, is not left alone; nor is, in peer mode, this cluster's own copy that goes.
func (r *Reconciler) quiet(s subject) time.Duration {
	mas := s.declared
	goes := !mas.DeletionTimestamp.IsZero() || s.own != nil && !s.own.DeletionTimestamp.IsZero()
	if goes || mas.Status.ObservedGeneration != mas.Generation {
		return 0
	}
	return r.Pace.Wait("service " + mas.Namespace + "/" + mas.Name)
}

// hold returns how long a status may wait that says nothing but how far a service is.
func (r *Reconciler) hold(req ctrl.Request, now time.Time, before, after *v1alpha1.MultiActiveServiceStatus) time.Duration {
	if equality.Semantic.DeepEqual(before, after) {
		return 0
	}
	return r.progress.Hold(req.String(), now, pace.Told{Generation: before.ObservedGeneration, Conditions: before.Conditions},
		pace.Told{Generation: after.ObservedGeneration, Conditions: after.Conditions})
}

// patchStatus writes the status into this cluster's object, if it has one and it changed, and tells the
// transitions.
func (r *Reconciler) patchStatus(ctx context.Context, before *v1alpha1.MultiActiveServiceStatus, s subject) error {
	r.setMetrics(s.declared)
	if s.own == nil || equality.Semantic.DeepEqual(*before, s.declared.Status) {
		return nil
	}
	after := *s.declared.Status.DeepCopy()
	base := s.own.DeepCopy()
	base.Status = *before
	own := s.own.DeepCopy()
	own.Status = *after.DeepCopy()
	if err := r.Client.Status().Patch(ctx, own, client.MergeFrom(base)); err != nil {
		return err
	}
	for _, e := range transitions.Transitions(before.Conditions, after.Conditions) {
		r.Recorder.Eventf(s.own, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
	}
	return nil
}

// setMetrics leaves the flows to the member in peer mode: both are one process, with one set of series.
func (r *Reconciler) setMetrics(mas *v1alpha1.MultiActiveService) {
	if r.Peers != nil {
		return
	}
	degraded := map[string]bool{}
	for _, f := range mas.Status.Flows {
		degraded[f.Name] = f.State == v1alpha1.FlowDegraded || f.State == v1alpha1.FlowUnavailable
	}
	metrics.SetFlows(mas.Namespace, mas.Name, degraded)
}

func (r *Reconciler) deleteMetrics(key types.NamespacedName) {
	if r.Peers == nil {
		metrics.DeleteService(key.Namespace, key.Name)
	}
}

// SetupWithManager registers the controller and what wakes it up.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, deletionStarted()))
	r.progress.First, r.progress.Most, r.progress.Each = progressFirst, progressMost, progressEach
	err := ctrl.NewControllerManagedBy(mgr).
		Named("multiactiveservice").
		For(&v1alpha1.MultiActiveService{}, changed).
		Watches(&v1alpha1.Region{}, handler.EnqueueRequestsFromMapFunc(r.allServices), changed).
		Watches(&v1alpha1.MultiActiveService{}, handler.EnqueueRequestsFromMapFunc(r.sharing), builder.WithPredicates(gone())).
		Watches(&v1alpha1.DataStore{}, handler.EnqueueRequestsFromMapFunc(r.servicesWith), changed).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.servicesIn),
			builder.WithPredicates(predicate.Or[client.Object](predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.Operation{}, handler.EnqueueRequestsFromMapFunc(r.servicesOf), builder.WithPredicates(acted())).
		WatchesRawSource(source.Func(r.watchClusters)).
		WatchesRawSource(source.Func(r.watchView)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrent,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the service controller: %w", err)
	}
	return nil
}

func deletionStarted() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool { return !o.GetDeletionTimestamp().IsZero() })
}

// acted lets orders through that a service is prepared for, or tells its users: when they come, go, are changed, or change
// their state.
func acted() predicate.Predicate {
	concerns := predicate.NewPredicateFuncs(func(o client.Object) bool {
		order, is := o.(*v1alpha1.Operation)
		return is && (order.Spec.Type == v1alpha1.OperationDrain || order.Spec.Type == v1alpha1.OperationDrill || order.Spec.Type == v1alpha1.OperationAnnounce)
	})
	moved := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, was := e.ObjectOld.(*v1alpha1.Operation)
		after, is := e.ObjectNew.(*v1alpha1.Operation)
		return was && is && (before.Status.State != after.Status.State || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			before.Generation != after.Generation)
	}}
	return predicate.And(concerns, predicate.Predicate(moved))
}

// servicesOf wakes the services that an order is about: their survivors are scaled up and back again, their users told.
func (r *Reconciler) servicesOf(ctx context.Context, o client.Object) []reconcile.Request {
	if order, is := o.(*v1alpha1.Operation); is && order.Spec.Service != nil {
		return []reconcile.Request{request(order.Spec.Service.Namespace, order.Spec.Service.Name)}
	}
	return r.services(ctx)
}

// allServices wakes every service: topic names are checked against all regions, and a service may
// have a slice in a region that it declares no more.
func (r *Reconciler) allServices(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.services(ctx)
}

func (r *Reconciler) servicesIn(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.services(ctx, client.InNamespace(namespace.GetName()))
}

// sharing wakes the services that name a DataStore which one that is gone did: some of those one service alone may use.
func (r *Reconciler) sharing(ctx context.Context, o client.Object) []reconcile.Request {
	mas, is := o.(*v1alpha1.MultiActiveService)
	if !is {
		return nil
	}
	var out []reconcile.Request
	for _, name := range desired.StoreNames(mas.Spec) {
		store := &v1alpha1.DataStore{}
		store.Name = name
		out = append(out, r.servicesWith(ctx, store)...)
	}
	return out
}

// gone lets deletions pass.
func gone() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// servicesWith wakes the services that name a DataStore; in peer mode all, whose declarations may differ.
func (r *Reconciler) servicesWith(ctx context.Context, store client.Object) []reconcile.Request {
	if r.Peers != nil {
		return r.servicesOfPeers(ctx)
	}
	var list v1alpha1.MultiActiveServiceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing services")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if slices.Contains(desired.StoreNames(list.Items[i].Spec), store.GetName()) {
			out = append(out, request(list.Items[i].Namespace, list.Items[i].Name))
		}
	}
	return out
}

func (r *Reconciler) services(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	if r.Peers != nil {
		return r.servicesOfPeers(ctx)
	}
	var list v1alpha1.MultiActiveServiceList
	if err := r.Client.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing services")
		return nil
	}
	out := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		out[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return out
}

// servicesOfPeers returns the services that some cluster has a copy of.
func (r *Reconciler) servicesOfPeers(ctx context.Context) []reconcile.Request {
	names, err := r.Peers.Names(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing services")
		return nil
	}
	out := make([]reconcile.Request, len(names))
	for i, name := range names {
		out[i].NamespacedName = name
	}
	return out
}

// watchClusters wakes a service when a region reports on it, and all when a connection changed.
func (r *Reconciler) watchClusters(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	wakeAll := r.waker(ctx, queue)
	r.Clusters.Listen(ctx, func(c clusters.Change) {
		if c.Connection() {
			if _, err := r.Clusters.Get(c.Region); err != nil {
				r.Pace.Notice()
			}
		}
		if c.Service == (types.NamespacedName{}) { // a Region's declaration, or an order, concerns all as well
			wakeAll()
			return
		}
		queue.AddAfter(reconcile.Request{NamespacedName: c.Service}, flow.Gather) // regions often report at the same time
	})
	return nil
}

// watchView wakes a service when its own record changed, and all when the view or an incident did.
func (r *Reconciler) watchView(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	wakeAll := r.waker(ctx, queue)
	r.View.Listen(ctx, func(before, after follow.Snapshot) {
		if concernsAll(before, after) || r.Peers != nil && peers.Concerns(before, after) {
			wakeAll()
			return
		}
		b, a := before.Configuration, after.Configuration
		for _, record := range ownership.ChangedServices(b.Services, a.Services) {
			queue.Add(request(record.Namespace, record.Name))
		}
		for _, intent := range ownership.ChangedIntents(b.ServiceIntents, a.ServiceIntents) {
			queue.Add(request(intent.Namespace, intent.Name))
		}
	})
	return nil
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// concernsAll reports whether a change is about more than beats and single services. Unchanged
// maps are the same maps, so comparing them costs nothing.
func concernsAll(before, after follow.Snapshot) bool {
	b, a := before.Configuration, after.Configuration
	return before.Known != after.Known || before.Connected != after.Connected || before.Problem != after.Problem ||
		b.Decided != a.Decided && !reflect.DeepEqual(b.View, a.View) ||
		!reflect.DeepEqual(b.Incidents, a.Incidents)
}

// waker returns a function that wakes all services soon, without blocking its caller.
func (r *Reconciler) waker(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) func() {
	news := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-news:
				for _, req := range append(r.services(ctx), r.remains()...) {
					queue.Add(req)
				}
			}
		}
	}()
	return func() {
		select {
		case news <- struct{}{}:
		default: // a pass is due already
		}
	}
}
