// Package replicationlink keeps, for every region that data arrives from, one mirror in the
// operator's namespace and one ReplicationLink for each topic, and tells in their statuses what the
// canaries measure. A request names a source region.
//
// It must never write a status because an exact figure moved, and never delete a topic.
package replicationlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/kafkasecret"
	"multiactive.dev/operator/internal/linkindex"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/plan/recheck"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
)

const (
	recheckSecrets = time.Minute
	recheckSoon    = 10 * time.Second
)

// FieldOwner is the owner of every field that the member writes by server-side apply.
const FieldOwner = client.FieldOwner("multiactive-member")

// Agent is the region's agent as this controller needs it.
type Agent interface {
	// Snapshot returns the latest agreed configuration, and false before the first.
	Snapshot() (ownership.Configuration, bool)
	// Subscribe announces new configurations until the function is called.
	Subscribe() (<-chan struct{}, func())
}

// Reconciler keeps the links from one source region after the other.
type Reconciler struct {
	// Client reads from a cache and writes.
	Client client.Client
	// Live reads from the API server, for what the cache leaves out.
	Live client.Reader
	// Credentials turns a Region's Kafka into client options.
	Credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error)
	Options     regional.Options
	Agent       Agent
	Canaries    *Canaries
	Mirrors     *Mirrors
	Transfers   *Transfers
	Rights      *Rights
	// Pace holds back what only tells of a failover; nil: nothing.
	Pace *pace.Pacer

	// behind has the sources that began to lag and are not told of yet. One pass runs at a time.
	behind map[string]bool
}

// +kubebuilder:rbac:groups=multiactive.dev,resources=replicationlinks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=multiactive.dev,resources=replicationlinks/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=regionalservices,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=multiactive-system,resources=secrets,verbs=get
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=multiactive-system,resources=leases,verbs=get;create;update;patch

// Reconcile makes one pass for the source region that the request names.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (res ctrl.Result, err error) {
	from := req.Name
	if wait := r.Pace.Wait("links from " + from); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	var seen plan.Seen
	var todo plan.Plan
	var wait time.Duration
	defer func() {
		if wait > 0 {
			return
		}
		res, err = flow.Resolve(res, err, r.report(ctx, seen, todo, err != nil))
	}()
	if seen, err = r.observe(ctx, from); err != nil {
		return ctrl.Result{}, fmt.Errorf("observing the links from %s: %w", from, err)
	}
	if wait = r.sign(from, seen); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if todo, err = plan.Decide(from, seen, r.Options); err != nil {
		return ctrl.Result{}, fmt.Errorf("deciding: %w", err)
	}
	r.Transfers.Want(from, todo.Transfer)
	r.Rights.Want(from, todo.Carries)
	return ctrl.Result{RequeueAfter: recheck.Sooner(lookAgain(seen, todo), todo.Outlives(seen.Lag))}, r.act(ctx, todo)
}

// lookAgain is how soon to look again at what nothing announces: Secrets, and what Strimzi says and leaves.
func lookAgain(seen plan.Seen, todo plan.Plan) time.Duration {
	switch {
	case todo.Runner == plan.RunsStrimzi, todo.Waiting != "", todo.Reason == v1alpha1.ReasonStrimziMissing:
		return recheckSoon
	case todo.Runner == plan.RunsMaker, seen.Source.Mechanism != "", seen.Target.Mechanism != "", seen.Source.CA, seen.Target.CA:
		return recheckSecrets
	}
	return 0
}

// sign takes a source that begins to lag for what may be the first sign of its loss, and returns how long to
// wait for others.
func (r *Reconciler) sign(from string, seen plan.Seen) time.Duration {
	near := plan.Step(true, 0)
	begins := seen.Lag.Step != near && slices.ContainsFunc(seen.Links, func(l v1alpha1.ReplicationLink) bool { return l.Status.Lag == near })
	switch {
	case !begins:
		delete(r.behind, from)
	case !r.behind[from]:
		if r.behind == nil {
			r.behind = map[string]bool{}
		}
		r.behind[from] = true
		r.Pace.Notice()
		return r.Pace.Wait("links from " + from)
	}
	return 0
}

func (r *Reconciler) observe(ctx context.Context, from string) (plan.Seen, error) {
	seen := plan.Seen{Lag: r.Canaries.Lag(from)}
	if c, ok := r.Agent.Snapshot(); ok {
		seen.SourceLost = c.View.Regions[from].State == ownership.RegionLost
	}
	var err error
	if seen.Services, seen.Held, err = r.services(ctx); err != nil {
		return seen, err
	}
	links := &v1alpha1.ReplicationLinkList{}
	// They are only looked at, as the services are: with many topics, copies of all would be most of a pass.
	if err := r.Client.List(ctx, links, client.UnsafeDisableDeepCopy, client.MatchingFields{linkindex.From: from}); err != nil {
		return seen, fmt.Errorf("listing links: %w", err)
	}
	seen.Links = slices.DeleteFunc(links.Items, func(l v1alpha1.ReplicationLink) bool { return l.Spec.Topic == "" })
	if err := r.mirror(ctx, from, &seen); err != nil {
		return seen, err
	}
	if err := r.strimzi(ctx, from, &seen); err != nil {
		return seen, err
	}
	seen.Transfer, seen.Denied = r.Transfers.Look(from), r.Rights.Denied(from)
	if err := r.credentials(ctx, from, &seen); err != nil {
		return seen, err
	}
	seen.Complete = true
	return seen, nil
}

// services returns those whose slices are acted on, and whether there are others.
func (r *Reconciler) services(ctx context.Context) (acted []v1alpha1.RegionalService, held bool, err error) {
	list := &v1alpha1.RegionalServiceList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, false, fmt.Errorf("listing regional services: %w", err)
	}
	for i := range list.Items {
		switch rs := &list.Items[i]; {
		case rs.DeletionTimestamp != nil || rs.Spec.Region != r.Options.Region:
		case regional.Acted(rs):
			acted = append(acted, *rs)
		default:
			held = true
		}
	}
	return acted, held, nil
}

func (r *Reconciler) mirror(ctx context.Context, from string, seen *plan.Seen) (err error) {
	namespace := r.Options.OperatorNamespace
	if seen.ConfigMap, seen.Deployment, err = r.pair(ctx, regional.MirrorName(from)); err != nil {
		return fmt.Errorf("reading the mirror: %w", err)
	}
	if seen.MakerConfigMap, seen.MakerDeployment, err = r.pair(ctx, regional.MirrorMakerName(from)); err != nil {
		return fmt.Errorf("reading MirrorMaker: %w", err)
	}
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.InNamespace(namespace), client.MatchingLabels{regional.LabelMirrorFrom: from}); err != nil {
		return fmt.Errorf("listing the mirror's Pods: %w", err)
	}
	seen.Pods = pods.Items
	seen.MirrorError, seen.Losses = r.Mirrors.Problem(from), r.Mirrors.Losses(from)
	return nil
}

// pair reads a mirror's ConfigMap and Deployment; nil where there is none.
func (r *Reconciler) pair(ctx context.Context, name string) (*corev1.ConfigMap, *appsv1.Deployment, error) {
	key := client.ObjectKey{Namespace: r.Options.OperatorNamespace, Name: name}
	config, deployment := &corev1.ConfigMap{}, &appsv1.Deployment{}
	switch err := r.Client.Get(ctx, key, config); {
	case apierrors.IsNotFound(err):
		config = nil
	case err != nil:
		return nil, nil, err
	}
	switch err := r.Client.Get(ctx, key, deployment); {
	case apierrors.IsNotFound(err):
		deployment = nil
	case err != nil:
		return nil, nil, err
	}
	return config, deployment, nil
}

// credentials reads how both Kafkas are used, and tells the canaries of this region's.
func (r *Reconciler) credentials(ctx context.Context, from string, seen *plan.Seen) error {
	sources := plan.Sources(seen.Services, r.Options.Region)
	source, target := plan.Clusters(seen.Services, from, r.Options.Region)
	if own := plan.OwnKafka(seen.Services); own == nil {
		if !seen.Held {
			r.Canaries.Set(nil, nil)
		}
	} else if o, err := r.Credentials(ctx, *own); err == nil {
		r.Canaries.Set(&o, sources)
	}
	var err error
	if source != nil {
		if seen.Source, err = r.credential(ctx, *source); err != nil {
			return err
		}
	}
	if target != nil {
		seen.Target, err = r.credential(ctx, *target)
	}
	return err
}

func (r *Reconciler) credential(ctx context.Context, k v1alpha1.RegionKafka) (plan.Credentials, error) {
	o, err := r.Credentials(ctx, k)
	var invalid *kafkasecret.InvalidError
	switch {
	case errors.As(err, &invalid):
		return plan.Credentials{Problem: invalid.Error()}, nil
	case err != nil:
		return plan.Credentials{}, err
	}
	c := plan.Credentials{CA: o.TLS != nil}
	if o.SASL != nil {
		c.Mechanism, c.User = string(o.SASL.Mechanism), o.SASL.User
		c.Unquotable = strings.ContainsAny(o.SASL.User+o.SASL.Password, "\"\\\r\n")
	}
	if k.Auth != nil {
		c.Version, err = r.version(ctx, k.Auth.SecretRef.Name)
	}
	return c, err
}

// version tells a Secret's contents apart without looking at them.
func (r *Reconciler) version(ctx context.Context, name string) (string, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Options.OperatorNamespace, Name: name}, secret)
	return secret.ResourceVersion, client.IgnoreNotFound(err)
}

func (r *Reconciler) act(ctx context.Context, todo plan.Plan) error {
	logger := log.FromContext(ctx)
	var failures []error
	links := slices.DeleteFunc(slices.Clone(todo.Apply), func(obj regional.Object) bool { return !isLink(obj) })
	left := make([]bool, len(links))
	failures = append(failures, together(len(links), func(i int) (err error) {
		left[i], err = r.makeLink(ctx, links[i])
		return err
	}))
	for _, obj := range todo.Apply {
		if isLink(obj) {
			write := left[0]
			if left = left[1:]; !write {
				continue
			}
		}
		logger.Info("Writing an object.", "kind", obj.GetObjectKind().GroupVersionKind().Kind, "object", obj.GetName())
		if err := r.apply(ctx, obj); err != nil {
			failures = append(failures, fmt.Errorf("writing %s: %w", obj.GetName(), err))
		}
	}
	for _, obj := range todo.Delete {
		logger.Info("Removing an object.", "object", obj.GetName(), "reason", "no service needs it")
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, obj)); err != nil {
			failures = append(failures, fmt.Errorf("removing %s: %w", obj.GetName(), err))
		}
	}
	return errors.Join(failures...)
}

// writers is how many links are written at a time: of a thousand topics each region has two thousand.
const writers = 8

// together does something to all of so many, some at a time, and joins the errors.
func together(count int, do func(int) error) error {
	failures := make([]error, count)
	turns := make(chan struct{}, writers)
	var all sync.WaitGroup
	for i := range count {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			failures[i] = do(i)
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

func isLink(obj regional.Object) bool {
	_, is := obj.(*v1alpha1.ReplicationLink)
	return is
}

// makeLink makes a link that is not there, with one request in place of two. It reports whether something is there
// under its name, which is left to apply.
func (r *Reconciler) makeLink(ctx context.Context, obj regional.Object) (left bool, err error) {
	switch err := r.Client.Create(ctx, obj.DeepCopyObject().(client.Object), FieldOwner); { //nolint:forcetypeassert // a copy is of the same kind
	case err == nil:
		return false, nil
	case apierrors.IsAlreadyExists(err):
		return true, nil
	default:
		return false, fmt.Errorf("making link %s: %w", obj.GetName(), err)
	}
}

// apply writes an object, unless somebody else made one of that name.
func (r *Reconciler) apply(ctx context.Context, obj regional.Object) error {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(obj), found)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err == nil && !regional.Made(found):
		return fmt.Errorf("it exists and was not made by the operator, which leaves it alone; rename or remove %s %s",
			found.Kind, client.ObjectKeyFromObject(found))
	}
	content, err := regional.Content(obj)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: content}
	return r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), FieldOwner, client.ForceOwnership)
}

// report patches the statuses of the links that were there; those just made come with their watch. One that has none
// yet waits for the pass that follows what this one has written, unless that failed: with many topics, to say first
// that each is being set up would be a third of what is written.
func (r *Reconciler) report(ctx context.Context, seen plan.Seen, todo plan.Plan, failed bool) error {
	again := !failed && todo.Rewrites()
	return together(len(seen.Links), func(i int) error {
		before := &seen.Links[i]
		if again && before.Status.ObservedGeneration == 0 {
			return nil
		}
		after := before.DeepCopy()
		plan.Report(after, seen, todo)
		if equality.Semantic.DeepEqual(before.Status, after.Status) {
			return nil
		}
		return client.IgnoreNotFound(r.Client.Status().Patch(ctx, after, client.MergeFrom(before), FieldOwner))
	})
}
