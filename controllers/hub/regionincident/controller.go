// Package regionincident keeps a RegionIncident for every outage that the agents agreed on: its
// measured timeline, what it touched and what may be lost. It must never forget an incident that
// the store has forgotten, and decides nothing.
package regionincident

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"multiactive.dev/operator/api/v1alpha1"
	transitions "multiactive.dev/operator/internal/events"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/plan/order"
	plan "multiactive.dev/operator/internal/plan/regionincident"
	"multiactive.dev/operator/internal/port/clusters"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=regionincidents,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=multiactive.dev,resources=regionincidents/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=multiactiveservices,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// gather is how long news of single services are gathered before an open incident is looked at
// again: an outage makes much of it at once.
const gather = 250 * time.Millisecond

// Reconciler reconciles RegionIncidents. All fields are required.
type Reconciler struct {
	Client   client.Client
	Clusters *clusters.Registry
	View     *follow.Follower
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	// Pace holds back what only tells of a failover; nil: nothing.
	Pace *pace.Pacer
}

// Reconcile brings one incident's object up to date, when a loss that is under way does not ask to be left alone.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.Pace.Wait("incident " + req.Name); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	return r.reconcile(ctx, req)
}

func (r *Reconciler) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	view := r.View.Snapshot()
	if !view.Known {
		return ctrl.Result{}, nil // the first configuration wakes us
	}
	agreed, known := view.Configuration.Incidents[req.Name]
	incident := &v1alpha1.RegionIncident{}
	err := r.Client.Get(ctx, req.NamespacedName, incident)
	switch {
	case apierrors.IsNotFound(err) && known:
		if incident, err = r.create(ctx, agreed); err != nil || incident == nil {
			return flow.Resolve(ctrl.Result{}, err, nil)
		}
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("reading incident %s: %w", req.Name, err)
	}
	before := incident.Status.DeepCopy()
	seen := plan.Seen{
		View:          view.Configuration.View,
		AwaitHandback: order.Services(view.Configuration, agreed.Region, order.AwaitsHandback),
		AwaitApproval: order.Services(view.Configuration, agreed.Region, order.AwaitsApproval),
	}
	if known {
		seen.Agreed = &agreed
	}
	if known && tells(agreed, incident) {
		if seen.Services, err = r.services(ctx, agreed); err != nil {
			return ctrl.Result{}, err
		}
	}
	plan.Report(r.Clock.Now(), incident, seen)
	if err := r.patchStatus(ctx, before, incident); err != nil {
		return flow.Resolve(ctrl.Result{}, nil, err)
	}
	if plan.Over(incident.Status.State) && !plan.Over(before.State) {
		err = r.prune(ctx)
	}
	return ctrl.Result{}, err
}

// tells reports whether services and regions still say something of an outage: also once more when it has just ended.
func tells(agreed ownership.Incident, incident *v1alpha1.RegionIncident) bool {
	return !agreed.Closed || !plan.Over(incident.Status.State)
}

// create makes the object of an agreed incident, or returns nil for a closed one that the history
// has no room for.
func (r *Reconciler) create(ctx context.Context, agreed ownership.Incident) (*v1alpha1.RegionIncident, error) {
	if agreed.Closed {
		var all v1alpha1.RegionIncidentList
		if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing incidents: %w", err)
		}
		if len(all.Items) >= plan.History {
			return nil, nil //nolint:nilnil // no object is the answer
		}
	}
	incident := &v1alpha1.RegionIncident{
		ObjectMeta: metav1.ObjectMeta{Name: agreed.Name},
		Spec:       v1alpha1.RegionIncidentSpec{Region: agreed.Region},
	}
	err := r.Client.Create(ctx, incident)
	if apierrors.IsAlreadyExists(err) {
		return nil, flow.Waiting{Reason: "the cache to have the incident", After: time.Second}
	}
	if err != nil {
		return nil, fmt.Errorf("creating incident %s: %w", agreed.Name, err)
	}
	return incident, nil
}

func (r *Reconciler) patchStatus(ctx context.Context, before *v1alpha1.RegionIncidentStatus, incident *v1alpha1.RegionIncident) error {
	if equality.Semantic.DeepEqual(*before, incident.Status) {
		return nil
	}
	ended := plan.Over(incident.Status.State) && !plan.Over(before.State)
	base := incident.DeepCopy()
	base.Status = *before
	if err := r.Client.Status().Patch(ctx, incident, client.MergeFrom(base)); err != nil {
		return err
	}
	switch {
	case before.State == "":
		r.tell(incident, transitions.IncidentOpened(incident.Spec.Region))
	case ended && incident.Status.State == v1alpha1.IncidentFalseAlarm:
		r.tell(incident, transitions.FalseAlarm(incident.Spec.Region))
	case ended:
		r.tell(incident, transitions.IncidentClosed(incident.Spec.Region))
	}
	return nil
}

func (r *Reconciler) tell(incident *v1alpha1.RegionIncident, e transitions.Event) {
	r.Recorder.Eventf(incident, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
}

// services reads what the services that declare the region say of the outage.
func (r *Reconciler) services(ctx context.Context, agreed ownership.Incident) ([]plan.ServiceSeen, error) {
	var list v1alpha1.MultiActiveServiceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	var out []plan.ServiceSeen
	for i := range list.Items {
		mas := &list.Items[i]
		if !declares(mas, agreed.Region) {
			continue
		}
		s := plan.ServiceSeen{Namespace: mas.Namespace, Name: mas.Name, Late: map[string][]v1alpha1.LateChanges{}}
		for _, f := range mas.Status.Flows {
			if f.State == v1alpha1.FlowDegraded || f.State == v1alpha1.FlowUnavailable {
				s.Degraded = append(s.Degraded, f.Name)
			}
		}
		if mas.Status.Summary != nil {
			s.Deferred = mas.Status.Summary.Deferred
		}
		r.survivors(ctx, mas, agreed.Region, &s)
		out = append(out, s)
	}
	return out, nil
}

// survivors adds what the other regions report of one service, and what became of late changes, which the region that was lost knows
// first. A region that cannot be asked is left out: it will be told of when it can.
func (r *Reconciler) survivors(ctx context.Context, mas *v1alpha1.MultiActiveService, lost string, s *plan.ServiceSeen) {
	for _, declared := range mas.Spec.Regions {
		cluster, err := r.Clusters.Get(declared.Name)
		if err != nil {
			continue
		}
		var slice v1alpha1.RegionalService
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(mas), &slice); err != nil {
			continue
		}
		if declared.Name != lost {
			acted := plan.ActedEpoch{Epoch: slice.Status.Epoch}
			if since := slice.Status.EpochSince; since != nil {
				acted.Since = since.Time
			}
			s.Epochs = append(s.Epochs, acted)
			s.Risks = append(s.Risks, slice.Status.DataAtRisk...)
		}
		for _, st := range slice.Status.Stores {
			if len(st.Late) > 0 {
				s.Late[st.Name] = append(s.Late[st.Name], st.Late...)
			}
		}
	}
}

func declares(mas *v1alpha1.MultiActiveService, region string) bool {
	for _, r := range mas.Spec.Regions {
		if r.Name == region {
			return true
		}
	}
	return false
}

// prune deletes the oldest closed incidents beyond the history.
func (r *Reconciler) prune(ctx context.Context) error {
	var all v1alpha1.RegionIncidentList
	if err := r.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("listing incidents: %w", err)
	}
	for _, name := range plan.Surplus(all.Items) {
		old := &v1alpha1.RegionIncident{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, old)); err != nil {
			return fmt.Errorf("deleting old incident %s: %w", name, err)
		}
	}
	return nil
}

// SetupWithManager registers the controller and what wakes it up.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("regionincident").
		For(&v1alpha1.RegionIncident{}, builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(event.CreateEvent) bool { return true },
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			// A closed one that a person deletes stays away.
			DeleteFunc: func(e event.DeleteEvent) bool {
				i, is := e.Object.(*v1alpha1.RegionIncident)
				return is && !plan.Over(i.Status.State)
			},
		})).
		WatchesRawSource(source.Func(r.watchView)).
		WatchesRawSource(source.Func(r.watchClusters)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the incident controller: %w", err)
	}
	return nil
}

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// watchView wakes an incident when its record changed, the open ones when the view did, and all of
// them when the store is first known.
func (r *Reconciler) watchView(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	wake := func(before, after follow.Snapshot) {
		b, a := before.Configuration, after.Configuration
		moved := b.Decided != a.Decided && (!reflect.DeepEqual(b.View, a.View) || !reflect.DeepEqual(b.Services, a.Services))
		for name, i := range a.Incidents {
			old, known := b.Incidents[name]
			if !known || moved && !i.Closed || !reflect.DeepEqual(old, i) {
				queue.Add(request(name))
			}
		}
		for name := range b.Incidents {
			if _, still := a.Incidents[name]; !still {
				queue.Add(request(name))
			}
		}
	}
	r.View.Listen(ctx, wake)
	wake(follow.Snapshot{}, r.View.Snapshot())
	return nil
}

// watchClusters wakes the open incidents when a region reports on a service.
func (r *Reconciler) watchClusters(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Clusters.Listen(ctx, func(clusters.Change) {
		for name, i := range r.View.Snapshot().Configuration.Incidents {
			if !i.Closed {
				queue.AddAfter(request(name), gather)
			}
		}
	})
	return nil
}
