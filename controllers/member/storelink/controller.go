// Package storelink has the region's database servers looked after: it tells the keepers of the stores
// that the region's services name, keeps one ReplicationLink for every other region that a store's data
// arrives from, and tells in their statuses what the keepers know.
//
// It must never wait for a server, and never write a status because an exact figure moved.
package storelink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/linkindex"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/plan/replicationlink"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/storesecret"
)

// recheckSecrets is how soon to look again at Secrets, which nothing announces, and recheckProblem that while one of
// them has to be mended.
const (
	recheckSecrets = time.Minute
	recheckProblem = 10 * time.Second
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

// Reconciler keeps the links of all stores in one pass. All fields but Pace are required.
type Reconciler struct {
	// Client reads from a cache and writes.
	Client client.Client
	// Live reads from the API server, for what the cache leaves out.
	Live    client.Reader
	Options regional.Options
	Agent   Agent
	Keepers *storekeeper.Keepers
	// Pace holds back what only tells of a failover; nil: nothing.
	Pace *pace.Pacer

	changed chan event.GenericEvent
	// told is what was known of each store when its services were last woken. One pass runs at a time.
	told map[string]told
}

// told is what the services of a store tell of it.
type told struct {
	server v1alpha1.StoreStatus
	steps  map[string]string // damped lags by source region
}

// New returns a reconciler for those fields that have to be set.
func New(r Reconciler) *Reconciler {
	r.changed, r.told = make(chan event.GenericEvent, 16), map[string]told{}
	return &r
}

// Changed announces services of whose stores something else is known.
func (r *Reconciler) Changed() <-chan event.GenericEvent { return r.changed }

// +kubebuilder:rbac:groups=multiactive.dev,resources=replicationlinks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=multiactive.dev,resources=replicationlinks/status,verbs=patch
// +kubebuilder:rbac:groups=multiactive.dev,resources=regionalservices,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=multiactive-system,resources=secrets,verbs=get

// seen is all that one pass reads.
type seen struct {
	services []v1alpha1.RegionalService
	stores   map[string]*plan.Declared
	// leaving are the stores that no service uses any more and that still have links.
	leaving map[string]*plan.Declared
	// held: slices of services are not acted on yet, which may name further stores.
	held  bool
	links []v1alpha1.ReplicationLink
	lost  map[string]bool
	// returned is the epoch with which this region came back, 0 unless it is on its way.
	returned int64
	// records are what is agreed on of services, by UID.
	records map[string]ownership.ServiceRecord
}

// automatic reports whether all services of a store go back to a region by themselves.
func automatic(records map[string]ownership.ServiceRecord, d *plan.Declared) bool {
	return len(d.Services) > 0 && !slices.ContainsFunc(d.Services, func(uid string) bool { return records[uid].Handback != ownership.HandbackAutomatic })
}

// Reconcile makes one pass over all stores of the region.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	if wait := r.Pace.Wait("stores"); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	s, err := r.observe(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	recheck, err := r.keep(ctx, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	for name := range s.stores {
		if led := r.Keepers.Declared(name); led != nil {
			s.stores[name] = led
		}
	}
	err = errors.Join(r.links(ctx, s), r.report(ctx, s))
	r.wake(ctx, s)
	return flow.Resolve(ctrl.Result{RequeueAfter: recheck}, err, nil)
}

func (r *Reconciler) observe(ctx context.Context) (seen, error) {
	s := seen{lost: map[string]bool{}}
	services, held, err := acted(ctx, r.Client, r.Options.Region)
	if err != nil {
		return s, err
	}
	s.services, s.stores, s.held = services, plan.Merge(services, r.Options.Region), len(held) > 0
	list := &v1alpha1.ReplicationLinkList{}
	if err := r.Client.List(ctx, list); err != nil {
		return s, fmt.Errorf("listing links: %w", err)
	}
	for i := range list.Items {
		if list.Items[i].Spec.Store != "" {
			s.links = append(s.links, list.Items[i])
		}
	}
	s.leaving = r.leaving(s)
	if c, known := r.Agent.Snapshot(); known {
		s.records = c.Services
		for name, record := range c.View.Regions {
			s.lost[name] = record.State == ownership.RegionLost
		}
		if here := c.View.Regions[r.Options.Region]; here.State == ownership.RegionReturning {
			s.returned = here.ReturnedEpoch
		}
	}
	return s, nil
}

// leaving finds the stores whose links are to be taken down.
func (r *Reconciler) leaving(s seen) map[string]*plan.Declared {
	out := map[string]*plan.Declared{}
	for i := range s.links {
		l := &s.links[i]
		if s.held || s.stores[l.Spec.Store] != nil || !regional.Made(l) || l.DeletionTimestamp != nil {
			continue
		}
		if last, known := regional.StoreOf(l); known && last.Name == l.Spec.Store {
			if d := plan.Leave(last, r.Options.Region); d != nil {
				out[l.Spec.Store] = d
			}
		}
	}
	return out
}

// acted returns the services with stores in a region whose slices are acted on, and those whose slices are not yet.
func acted(ctx context.Context, reader client.Reader, region string) (on, held []v1alpha1.RegionalService, err error) {
	list := &v1alpha1.RegionalServiceList{}
	err = reader.List(ctx, list, client.UnsafeDisableDeepCopy, client.MatchingFields{linkindex.Storing: linkindex.Yes})
	if err != nil { // every second; nobody changes them
		return nil, nil, fmt.Errorf("listing regional services: %w", err)
	}
	for i := range list.Items {
		switch rs := &list.Items[i]; {
		case rs.DeletionTimestamp != nil || rs.Spec.Region != region:
		case !regional.Acted(rs):
			held = append(held, *rs)
		case len(rs.Spec.Stores) > 0:
			on = append(on, *rs)
		}
	}
	return on, held, nil
}

// keep tells the keepers of the stores, with their credentials, and returns when to look at those again.
func (r *Reconciler) keep(ctx context.Context, s seen) (time.Duration, error) {
	all := maps.Clone(s.stores)
	maps.Copy(all, s.leaving)
	recheck := time.Duration(0)
	if len(all) > 0 {
		recheck = recheckSecrets
	}
	targets := map[string]storekeeper.Target{}
	for name, d := range all {
		t := storekeeper.Target{Declared: d, Paused: map[string]bool{}, Accepted: map[string]string{}, Losses: map[string]string{}}
		var err error
		var invalid *storesecret.InvalidError
		t.Options, t.Version, err = storesecret.Options(ctx, r.Live, r.Options.OperatorNamespace, d)
		switch {
		case errors.As(err, &invalid):
			t.Options = store.Options{Address: d.Endpoint.Address}
			t.Problem = &plan.Problem{Reason: v1alpha1.ReasonSecretNotFound, Message: invalid.Error()}
			recheck = recheckProblem
		case err != nil:
			return 0, err
		}
		t.Lost, t.Return, t.Automatic = s.lost, s.returned, automatic(s.records, d)
		for i := range s.links {
			l := &s.links[i]
			if l.Spec.Store != name {
				continue
			}
			if replicationlink.Paused(l) {
				t.Paused[l.Spec.From] = true
			}
			if token := l.Annotations[regional.AnnotationAcceptRows]; token != "" {
				t.Accepted[l.Spec.From] = token
			}
			if token := l.Annotations[regional.AnnotationAcceptLoss]; token != "" {
				t.Losses[l.Spec.From] = token
			}
		}
		targets[name] = t
	}
	r.Keepers.Set(targets)
	return recheck, nil
}

// links makes those that are missing, and removes those that no store has any more.
func (r *Reconciler) links(ctx context.Context, s seen) error {
	var failures []error
	wanted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		d := s.stores[name]
		for _, source := range d.Want.Sources {
			link := regional.StoreLink(&d.Slice, source.Region, r.Options.Region)
			wanted[link.Name] = true
			i := slices.IndexFunc(s.links, func(l v1alpha1.ReplicationLink) bool { return l.Name == link.Name })
			if i >= 0 && (!regional.Made(&s.links[i]) || s.links[i].Annotations[regional.AnnotationStore] == link.Annotations[regional.AnnotationStore]) {
				continue
			}
			log.FromContext(ctx).Info("Writing a link.", "link", link.Name)
			if err := r.apply(ctx, link); err != nil {
				failures = append(failures, fmt.Errorf("writing link %s: %w", link.Name, err))
			}
		}
	}
	for i := range s.links {
		l := &s.links[i]
		if wanted[l.Name] || s.held || !regional.Made(l) || l.DeletionTimestamp != nil || s.leaving[l.Spec.Store] != nil && !r.isDown(l) {
			continue
		}
		log.FromContext(ctx).Info("Removing a link.", "link", l.Name, "reason", "no service needs it")
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, l)); err != nil {
			failures = append(failures, fmt.Errorf("removing link %s: %w", l.Name, err))
		}
	}
	return errors.Join(failures...)
}

// isDown reports whether the server is known to have no such link any more.
func (r *Reconciler) isDown(l *v1alpha1.ReplicationLink) bool {
	look := r.Keepers.Look(l.Spec.Store)
	_, there := look.Observation.Links[l.Spec.From]
	return look.Observed && look.Problem == nil && !there
}

// apply writes a link, unless somebody else made one of that name.
func (r *Reconciler) apply(ctx context.Context, link *v1alpha1.ReplicationLink) error {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(link.GroupVersionKind())
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(link), found)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err == nil && !regional.Made(found):
		return errors.New("it exists and was not made by the operator, which leaves it alone; rename or remove it")
	}
	content, err := regional.Content(link)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: content}
	return r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), FieldOwner, client.ForceOwnership)
}

// report patches the statuses that differ.
func (r *Reconciler) report(ctx context.Context, s seen) error {
	var failures []error
	for i := range s.links {
		before := &s.links[i]
		d := cmp.Or(s.stores[before.Spec.Store], s.leaving[before.Spec.Store])
		if d == nil {
			continue
		}
		after := before.DeepCopy()
		look := r.Keepers.Look(before.Spec.Store)
		plan.Report(after, d, look, s.lost[before.Spec.From])
		if !equality.Semantic.DeepEqual(before.Status, after.Status) {
			err := r.Client.Status().Patch(ctx, after, client.MergeFrom(before), FieldOwner)
			if err = client.IgnoreNotFound(err); err != nil {
				failures = append(failures, fmt.Errorf("telling of link %s: %w", before.Name, err))
				continue
			}
		}
		if b := look.Links[before.Spec.From].Bootstrap; b != nil && b.Loss != nil {
			r.Keepers.Told(before.Spec.Store, before.Spec.From, b.Loss.Token)
		}
	}
	return errors.Join(failures...)
}

// wake announces the services of stores of which something else is known.
func (r *Reconciler) wake(ctx context.Context, s seen) {
	news := map[string]bool{}
	for name, d := range s.stores {
		look := r.Keepers.Look(name)
		now := told{server: plan.Server(d, look), steps: map[string]string{}}
		for from, l := range look.Links {
			now.steps[from] = l.Step
		}
		if before := r.told[name]; !equality.Semantic.DeepEqual(before.server, now.server) || !maps.Equal(before.steps, now.steps) {
			news[name], r.told[name] = true, now
		}
	}
	for i := range s.services {
		rs := &s.services[i]
		if !slices.ContainsFunc(rs.Spec.Stores, func(st v1alpha1.StoreSlice) bool { return news[st.Name] }) {
			continue
		}
		select {
		case r.changed <- event.GenericEvent{Object: rs}:
		case <-ctx.Done():
			return
		}
	}
}
