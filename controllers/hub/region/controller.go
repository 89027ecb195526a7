// Package region reconciles Regions in the hub: it connects the region's cluster, proposes the
// region to the coordination store's leader, and reports what is agreed. It must never decide
// whether a region serves, and never wait for a cluster.
package region

import (
	"context"
	"fmt"
	"reflect"
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
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"multiactive.dev/operator/api/v1alpha1"
	transitions "multiactive.dev/operator/internal/events"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/metrics"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/peers"
	plan "multiactive.dev/operator/internal/plan/region"
	"multiactive.dev/operator/internal/port/clusters"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=regions,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=regions/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=multiactiveservices,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",namespace=multiactive-system,resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=multiactive-system,resources=leases,verbs=get;create;update;patch
// Whoever is elected tells so beside the lease, with events of the older kind.
// +kubebuilder:rbac:groups="",namespace=multiactive-system,resources=events,verbs=create;patch

// Backoff of failed reconciles.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
)

// Proposer writes region intents to the coordination store.
type Proposer interface {
	PutRegionIntent(ctx context.Context, i ownership.RegionIntent) (int64, error)
	DeleteRegionIntent(ctx context.Context, name string) (int64, error)
}

// Reconciler reconciles Regions. All fields but Pace and Peers are required.
type Reconciler struct {
	Client   client.Client
	Clusters *clusters.Registry
	View     *follow.Follower
	Store    Proposer
	// Namespace is the operator's own, where the kubeconfig Secrets are.
	Namespace string
	Clock     clock.PassiveClock
	Recorder  events.EventRecorder
	// Pace holds back what only tells of a failover; nil: nothing.
	Pace *pace.Pacer
	// Peers is set in peer mode, where the declaration is what most regions' clusters have.
	Peers *peers.Group

	contests contests
	accesses accesses
}

// Reconcile observes one Region, acts and reports.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (res ctrl.Result, err error) {
	s, err := r.subject(ctx, req.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	rg := s.declared
	if rg == nil {
		r.Clusters.Remove(req.Name)
		r.contests.forget(req.Name)
		metrics.DeleteRegion(req.Name)
		return ctrl.Result{}, nil
	}
	before := rg.Status.DeepCopy()
	now := r.Clock.Now()
	var seen plan.Seen
	var todo plan.Plan
	observed := false
	defer func() {
		plan.Report(now, rg, seen, todo, observed)
		if wait := r.quiet(before, s); wait > 0 {
			metrics.SetRegionState(rg.Name, rg.Status.State)
			res, err = flow.Resolve(ctrl.Result{RequeueAfter: wait}, err, nil)
			return
		}
		res, err = flow.Resolve(res, err, r.patchStatus(ctx, before, s))
	}()
	if seen, err = r.observe(ctx, s); err != nil {
		return ctrl.Result{}, fmt.Errorf("observing region %s: %w", rg.Name, err)
	}
	observed = true
	todo = plan.Decide(rg, seen)
	for _, step := range todo.Steps {
		if err := r.act(ctx, s, step); err != nil {
			return ctrl.Result{}, fmt.Errorf("step %s: %w", step.Kind, err)
		}
	}
	return ctrl.Result{RequeueAfter: todo.RecheckAfter}, nil
}

// quiet returns how long to leave the status as it is while a region is being lost. One that was not written
// for what is declared now tells of that first.
func (r *Reconciler) quiet(before *v1alpha1.RegionStatus, s subject) time.Duration {
	rg := s.declared
	goes := !rg.DeletionTimestamp.IsZero() || s.own != nil && !s.own.DeletionTimestamp.IsZero()
	if goes || before.ObservedGeneration != rg.Generation {
		return 0
	}
	return r.Pace.Wait("region " + rg.Name)
}

// patchStatus writes the status into this cluster's object, if it has one and it changed, and tells the
// transitions.
func (r *Reconciler) patchStatus(ctx context.Context, before *v1alpha1.RegionStatus, s subject) error {
	metrics.SetRegionState(s.declared.Name, s.declared.Status.State)
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

// SetupWithManager registers the controller and what wakes it up.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, deletionStarted()))
	err := ctrl.NewControllerManagedBy(mgr).
		Named("region").
		For(&v1alpha1.Region{}, changed).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.regionsOfSecret)).
		Watches(&v1alpha1.MultiActiveService{}, handler.EnqueueRequestsFromMapFunc(regionsOfService), changed).
		WatchesRawSource(source.Func(r.watchClusters)).
		WatchesRawSource(source.Func(r.watchView)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 2,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the region controller: %w", err)
	}
	return nil
}

func deletionStarted() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool { return !o.GetDeletionTimestamp().IsZero() })
}

func request(region string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: region}}
}

func (r *Reconciler) regionsOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	if secret.GetNamespace() != r.Namespace {
		return nil
	}
	var out []reconcile.Request
	for _, rg := range r.regions(ctx) {
		if c := rg.Spec.Cluster; c != nil && c.KubeconfigSecretRef.Name == secret.GetName() {
			out = append(out, request(rg.Name))
		}
	}
	return out
}

// regionsOfService wakes the regions that a service declares: a deletion may wait for it.
func regionsOfService(_ context.Context, o client.Object) []reconcile.Request {
	mas, is := o.(*v1alpha1.MultiActiveService)
	if !is {
		return nil
	}
	var out []reconcile.Request
	for _, rg := range mas.Spec.Regions {
		out = append(out, request(rg.Name))
	}
	return out
}

func (r *Reconciler) regions(ctx context.Context) []*v1alpha1.Region {
	all, err := r.declared(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing regions")
	}
	return all
}

// watchClusters wakes a region when its connection changed or, in peer mode, its declaration in some
// cluster, and all when another cluster can be read or not any more.
func (r *Reconciler) watchClusters(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	wakeAll := r.waker(ctx, queue, 0)
	r.Clusters.Listen(ctx, func(c clusters.Change) {
		if c.Connection() {
			if _, err := r.Clusters.Get(c.Region); err != nil {
				r.Pace.Notice()
			}
		}
		switch {
		case c.Declared != "":
			queue.Add(request(c.Declared))
		case c.Connection() && r.Peers != nil:
			queue.Add(request(c.Region))
			wakeAll()
		case c.Connection():
			queue.Add(request(c.Region))
		}
	})
	return nil
}

// watchView wakes all regions when something changed that their reports are made of: there are
// few of them, and what one observes is another one's news.
func (r *Reconciler) watchView(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	wakeAll, wakeSoon := r.waker(ctx, queue, 0), r.waker(ctx, queue, gather)
	r.View.Listen(ctx, func(before, after follow.Snapshot) {
		switch {
		case concerns(before, after) || r.Peers != nil && peers.Concerns(before, after):
			wakeAll()
		case len(ownership.ChangedServices(before.Configuration.Services, after.Configuration.Services)) > 0:
			wakeSoon() // a thousand may be declared, or handed back, one after the other
		}
	})
	return nil
}

// gather is how long changes of single services are gathered for one pass.
const gather = time.Second

// waker returns a function that wakes all regions after a while, without blocking its caller.
func (r *Reconciler) waker(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request], after time.Duration) func() {
	news := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-news:
				for _, rg := range r.regions(ctx) {
					queue.AddAfter(request(rg.Name), after)
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

// concerns reports whether a change is about more than beats. Unchanged maps are the same maps, so
// comparing them costs nothing.
func concerns(before, after follow.Snapshot) bool {
	b, a := before.Configuration, after.Configuration
	return before.Known != after.Known || before.Connected != after.Connected || before.Problem != after.Problem ||
		b.LeadingRegion() != a.LeadingRegion() ||
		len(b.Beats) != len(a.Beats) ||
		!reflect.DeepEqual(before.Beating, after.Beating) ||
		b.Decided != a.Decided && !reflect.DeepEqual(b.View, a.View) ||
		!reflect.DeepEqual(b.Gates, a.Gates) ||
		!reflect.DeepEqual(b.Evidence, a.Evidence) ||
		!reflect.DeepEqual(b.Held, a.Held) ||
		!reflect.DeepEqual(b.Rivals, a.Rivals) ||
		!reflect.DeepEqual(b.RegionIntents, a.RegionIntents) ||
		!reflect.DeepEqual(b.Incidents, a.Incidents)
}
