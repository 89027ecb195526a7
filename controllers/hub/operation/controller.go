// Package operation gives what people order to the coordination store's leader, follows what that makes
// of it, and reports it. It must never leave an order without an answer, carry one out that has ended, or
// change owners itself.
package operation

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"multiactive.dev/operator/api/v1alpha1"
	transitions "multiactive.dev/operator/internal/events"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peers"
	plan "multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/port/clusters"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=operations,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=operations/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=regions,verbs=get;list;watch
// +kubebuilder:rbac:groups=multiactive.dev,resources=multiactiveservices,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Proposer writes order intents to the coordination store.
type Proposer interface {
	PutOrderIntent(ctx context.Context, i ownership.OrderIntent) (int64, error)
	DeleteOrderIntent(ctx context.Context, name string) (int64, error)
}

// Sharer gives orders in peer mode, where Operations of several clusters are one order.
type Sharer interface {
	HoldOrder(ctx context.Context, i ownership.OrderIntent, region, uid string) (int64, error)
	ReleaseOrder(ctx context.Context, name, region string) (int64, error)
}

// Reconciler reconciles Operations. All fields are required, but for those of peer mode.
type Reconciler struct {
	Client client.Client
	// Reader reads from the API server itself: what a cache has may be older than an order's end.
	Reader   client.Reader
	Clusters *clusters.Registry
	View     *follow.Follower
	Store    Proposer
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	// Peers and Shared are set in peer mode.
	Peers  *peers.Group
	Shared Sharer
}

// Reconcile brings one order on its way, and tells how far it is.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (res ctrl.Result, err error) {
	o := &v1alpha1.Operation{}
	err = r.Client.Get(ctx, req.NamespacedName, o)
	switch {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, r.sweep(ctx)
	case err != nil:
		return ctrl.Result{}, err
	}
	before := o.Status.DeepCopy()
	now := r.Clock.Now()
	seen, err := r.observe(ctx, o)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("observing operation %s: %w", o.Name, err)
	}
	todo := plan.Decide(now, o, seen)
	defer func() {
		plan.Report(now, o, seen, todo)
		patch := r.patchStatus(ctx, before, o)
		if err == nil && apierrors.IsConflict(patch) {
			err, patch = patch, nil // the cache is late: once more, soon
		}
		res, err = flow.Resolve(res, err, patch)
	}()
	for _, step := range todo.Steps {
		if err := r.act(ctx, o, step); err != nil {
			return ctrl.Result{}, fmt.Errorf("step %s: %w", step.Kind, err)
		}
	}
	return ctrl.Result{RequeueAfter: todo.RecheckAfter}, nil
}

// observe reads everything from caches.
func (r *Reconciler) observe(ctx context.Context, o *v1alpha1.Operation) (seen plan.Seen, err error) {
	view := r.View.Snapshot()
	seen = plan.Seen{
		StoreKnown: view.Known, StoreConnected: view.Connected, StoreProblem: view.Problem, Configuration: view.Configuration,
		Regions: map[string]*v1alpha1.Region{},
	}
	var regions v1alpha1.RegionList
	if err := r.Client.List(ctx, &regions); err != nil {
		return plan.Seen{}, fmt.Errorf("listing regions: %w", err)
	}
	for i := range regions.Items {
		seen.Regions[regions.Items[i].Name] = &regions.Items[i]
	}
	if r.Peers != nil {
		seen.Peer = r.Peers.Region
	}
	if o.Spec.Type == v1alpha1.OperationAnnounce { // which a later one may end
		if seen.Orders, err = peers.AllOrders(ctx, r.Client, r.Peers); err != nil {
			return plan.Seen{}, err
		}
	}
	if o.Spec.Service == nil {
		seen.Services, err = r.allServices(ctx, o, slices.Sorted(maps.Keys(seen.Regions)))
		return seen, err
	}
	if r.Peers != nil && o.Spec.Type != v1alpha1.OperationAbandon { // which is about this cluster's own copy
		seen.Service, err = r.shared(ctx, *o.Spec.Service, slices.Sorted(maps.Keys(seen.Regions)))
	} else {
		seen.Service, err = r.local(ctx, *o.Spec.Service)
	}
	if err != nil || seen.Service == nil {
		return seen, err
	}
	seen.Services, err = r.servicesOf(ctx, o, seen.Service)
	return seen, err
}

// local returns the service that an order names as this cluster declares it, nil if it does not.
func (r *Reconciler) local(ctx context.Context, key v1alpha1.ServiceKey) (*v1alpha1.MultiActiveService, error) {
	mas := &v1alpha1.MultiActiveService{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: key.Name}, mas)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // an order may name what is not there
	case err != nil:
		return nil, fmt.Errorf("reading the service: %w", err)
	}
	return mas, nil
}

// shared returns the service that an order names, as most regions' clusters declare it.
func (r *Reconciler) shared(ctx context.Context, key v1alpha1.ServiceKey, regions []string) (*v1alpha1.MultiActiveService, error) {
	s, err := r.Peers.Service(ctx, types.NamespacedName{Namespace: key.Namespace, Name: key.Name}, regions)
	if err != nil {
		return nil, fmt.Errorf("reading the service: %w", err)
	}
	return s.Declared, nil
}

// patchStatus writes the status if it changed, and tells the transition. It does not write from an older one than there is: a
// step that has ended would be told as it was before.
func (r *Reconciler) patchStatus(ctx context.Context, before *v1alpha1.OperationStatus, o *v1alpha1.Operation) error {
	if equality.Semantic.DeepEqual(*before, o.Status) {
		return nil
	}
	base := o.DeepCopy()
	base.Status = *before
	after := *o.Status.DeepCopy() // what is answered may be newer
	if err := r.Client.Status().Patch(ctx, o, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	if e := transitions.Order(o.Spec.Type, *before, after); e != nil {
		r.Recorder.Eventf(o, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
	}
	return nil
}

// SetupWithManager registers the controller. The status wakes it too: an order is withdrawn only when its
// end stands there.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("operation").
		For(&v1alpha1.Operation{}).
		Watches(&v1alpha1.Operation{}, handler.EnqueueRequestsFromMapFunc(r.earlier)).
		Watches(&v1alpha1.MultiActiveService{}, handler.EnqueueRequestsFromMapFunc(r.ordersOf)).
		WatchesRawSource(source.Func(r.watchView)).
		WatchesRawSource(source.Func(r.watchClusters)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the operation controller: %w", err)
	}
	return nil
}

// ordersOf wakes the orders that are about a service: the end of its deletion is theirs, and how it is served is a
// drill's.
func (r *Reconciler) ordersOf(ctx context.Context, mas client.Object) []reconcile.Request {
	var out []reconcile.Request
	for _, o := range r.open(ctx) {
		s := o.Spec.Service
		if o.Spec.Type == v1alpha1.OperationDrill || s != nil && s.Namespace == mas.GetNamespace() && s.Name == mas.GetName() {
			out = append(out, request(o.Name))
		}
	}
	return out
}

// open returns the orders that have not ended, or that the store may still have.
func (r *Reconciler) open(ctx context.Context) []v1alpha1.Operation {
	var list v1alpha1.OperationList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing operations")
		return nil
	}
	var out []v1alpha1.Operation
	for i := range list.Items {
		if o := list.Items[i]; !plan.Ended(o.Status.State) || len(o.Finalizers) > 0 {
			out = append(out, o)
		}
	}
	return out
}

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}
