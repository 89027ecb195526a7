// Package regionalservice runs one region's slice of a service: it writes the workload as the
// service's own account, the gateway and the degradation flags as itself, has the topics kept, and
// publishes the routing that the gateways act on.
//
// It must never take over an object that it did not make, wait for Kafka or another region within
// a pass, or decide anything: internal/plan/regionalservice does.
package regionalservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	kevents "k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/metrics"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/plan/recheck"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/store"
)

// FieldOwner is the owner of every field that the member writes by server-side apply.
const FieldOwner = client.FieldOwner("multiactive-member")

// Agent is the region's agent as this controller needs it.
type Agent interface {
	// Snapshot returns the latest agreed configuration, and false before the first.
	Snapshot() (ownership.Configuration, bool)
	// Subscribe announces new configurations until the function is called.
	Subscribe() (<-chan struct{}, func())
	// Lease is how long the region may go on accepting home writes.
	Lease() time.Duration
	// AcksOf are what a service's gateways in the region act on.
	AcksOf(namespace, name string) []agent.Ack
	// ActsOn is the highest epoch that a gateway of the service acts on, and for how long the first has done so.
	ActsOn(namespace, name string) (epoch int64, since time.Duration)
	// Reports grows when something else changes that gateways say.
	Reports() int64
	// ReportedSince returns the services for which Reports has grown since.
	ReportedSince(reports int64) []agent.Reporting
}

// Publisher is where the routing of services is published.
type Publisher interface {
	Publish(namespace, name string, build agent.Build) error
	Withdraw(namespace, name string)
}

// Topics keeps the topics of services in the background.
type Topics interface {
	// Keep has the service's topics kept as wanted from now on. It does not wait.
	Keep(service types.NamespacedName, want WantedTopics)
	// Forget leaves them as they are.
	Forget(service types.NamespacedName)
	// Look returns what was found for exactly this declaration.
	Look(service types.NamespacedName, want WantedTopics) plan.Topics
}

// Canaries measure the incoming links.
type Canaries interface {
	// Read returns what is known of the data that arrives from a region.
	Read(origin string) canary.Reading
}

// Stores looks after the region's servers of stores.
type Stores interface {
	// Look returns what is known of a store's server and its links.
	Look(store string) store.Look
}

// PeerCertificates are what the gateways show those of other regions.
type PeerCertificates interface {
	// Problem says what keeps the services of a namespace from having them, "" if nothing does.
	Problem(namespace string) string
}

// Impersonate returns a client that acts as a service account.
type Impersonate func(namespace, account string) (client.Client, error)

// Reconciler acts on the RegionalServices of its own region.
type Reconciler struct {
	// Client reads from a cache and writes as the member.
	Client client.Client
	// Live reads from the API server, for what the cache leaves out.
	Live        client.Reader
	Impersonate Impersonate
	Options     regional.Options
	Agent       Agent
	Publisher   Publisher
	Topics      Topics
	Canaries    Canaries
	Stores      Stores
	// PeerCertificates is nil when the member issues none.
	PeerCertificates PeerCertificates
	Recorder         kevents.EventRecorder
	Clock            clock.PassiveClock
	// Pace holds back what only tells of a failover; nil: nothing.
	Pace *pace.Pacer
	// LeaseSettles is how long after its first pass a member without a lease may be one that does
	// not have it yet, rather than one that has lost it.
	LeaseSettles time.Duration

	firstPass   sync.Once
	firstPassAt time.Time
	progress    pace.Progress
}

// progressEvery is how often it is told how far a slice is that is on its way.
const progressEvery = time.Second

// +kubebuilder:rbac:groups=multiactive.dev,resources=regionalservices,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=regionalservices/status,verbs=patch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=impersonate
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (res ctrl.Result, err error) {
	rs := &v1alpha1.RegionalService{}
	if err := r.Client.Get(ctx, req.NamespacedName, rs); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if rs.Spec.Region != r.Options.Region {
		r.forget(req.NamespacedName) // another region's member acts on it, if any
		return ctrl.Result{}, nil
	}
	before := rs.DeepCopy()
	wait := r.quiet(rs)
	var seen plan.Seen
	var todo plan.Plan
	defer func() {
		if apierrors.IsConflict(err) || wait > 0 {
			res.RequeueAfter = recheck.Sooner(res.RequeueAfter, wait)
			res, err = flow.Resolve(res, err, nil) // this is not the latest, or not the time to tell
			return
		}
		now := r.Clock.Now()
		plan.Report(now, rs, seen, todo, err)
		if wait := r.hold(req, now, &before.Status, &rs.Status); wait > 0 {
			res.RequeueAfter = recheck.Sooner(res.RequeueAfter, wait)
			res, err = flow.Resolve(res, err, nil)
			return
		}
		res, err = flow.Resolve(res, err, r.patchStatus(ctx, before, rs))
	}()
	if seen, err = r.observe(ctx, rs); err != nil {
		return ctrl.Result{}, fmt.Errorf("observing the regional service: %w", err)
	}
	seen.Quiet = wait > 0
	if todo, err = plan.Decide(rs, seen, r.Options); err != nil {
		return ctrl.Result{}, fmt.Errorf("deciding: %w", err)
	}
	if err := r.act(ctx, rs, before, seen, &todo); err != nil {
		return ctrl.Result{}, err
	}
	if !seen.Quiet {
		r.tellFlows(rs, seen, todo)
	}
	return ctrl.Result{RequeueAfter: todo.RecheckAfter}, nil
}

// quiet returns how long to leave alone what only tells of a failover. A slice that was not reported on yet
// is none of that.
func (r *Reconciler) quiet(rs *v1alpha1.RegionalService) time.Duration {
	if rs.DeletionTimestamp != nil || rs.Status.ObservedGeneration != rs.Generation {
		return 0
	}
	return r.Pace.Wait(rs.Namespace + "/" + rs.Name)
}

// hold returns how long a status may wait that says nothing but how far a slice is.
func (r *Reconciler) hold(req ctrl.Request, now time.Time, before, after *v1alpha1.RegionalServiceStatus) time.Duration {
	if equality.Semantic.DeepEqual(before, after) {
		return 0
	}
	return r.progress.Hold(req.String(), now, pace.Told{Generation: before.ObservedGeneration, Conditions: before.Conditions},
		pace.Told{Generation: after.ObservedGeneration, Conditions: after.Conditions})
}

// forget ends what is kept in memory for a service that is not here any more.
func (r *Reconciler) forget(service types.NamespacedName) {
	r.Publisher.Withdraw(service.Namespace, service.Name)
	r.progress.Forget(service.String())
	r.Topics.Forget(service)
	metrics.DeleteService(service.Namespace, service.Name)
}

func (r *Reconciler) patchStatus(ctx context.Context, before, after *v1alpha1.RegionalService) error {
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	// The pass may have written the finalizers; only the status goes into this patch.
	base := after.DeepCopy()
	base.Status = before.Status
	if err := r.Client.Status().Patch(ctx, after.DeepCopy(), client.MergeFrom(base), FieldOwner); err != nil {
		return err
	}
	r.tellConditions(after, before.Status.Conditions)
	return nil
}

// act carries the steps out. Steps do not depend on each other: a workload that may not be written
// is no reason to leave the gateways without routing. told has what the API server has of the status.
func (r *Reconciler) act(ctx context.Context, rs, told *v1alpha1.RegionalService, seen plan.Seen, todo *plan.Plan) error {
	var failures []error
	for _, step := range todo.Steps {
		var err error
		if step.Kind == plan.StepRecordStamp {
			err = r.recordStamp(ctx, rs, seen, *todo)
			told.Status = *rs.Status.DeepCopy()
		} else {
			err = r.step(ctx, rs, seen, step)
		}
		var p *problemError
		switch {
		case errors.As(err, &p):
			todo.Problems = append(todo.Problems, plan.Problem{Condition: step.Condition, Reason: p.reason, Message: p.message})
			// Roles and quotas are not watched.
			if todo.RecheckAfter == 0 || todo.RecheckAfter > recheckProblem {
				todo.RecheckAfter = recheckProblem
			}
		case err != nil:
			failures = append(failures, fmt.Errorf("step %s: %w", step.Kind, err))
			if step.Kind == plan.StepRecordStamp || step.Kind == plan.StepAddFinalizer {
				return errors.Join(failures...) // nothing is made before them
			}
		}
	}
	return errors.Join(failures...)
}
