// Package handover is a region's part in changes of owners besides its gateways: which workloads still
// run, what data the region has, and whether it has applied what the next owner of a slot must have.
//
// It answers from what it reads at that moment and keeps nothing but what it has promised to wait for. It
// must never take a failure to read for a yes.
package handover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/linkindex"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/plan/flows"
	links "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
)

// farBehind is the age of the newest canary beyond which a region counts as lagging: a planned change
// that begins then would not end within its limit.
const farBehind = 5 * time.Second

// Region implements agent.Local for the region's services.
type Region struct {
	// Name of the region.
	Name string
	// Client reads from a cache.
	Client client.Reader
	// Credentials turns a Region's Kafka into client options.
	Credentials func(ctx context.Context, k v1alpha1.RegionKafka) (kafka.Options, error)
	// Canary says what is known of the data that arrives from a region.
	Canary func(origin string) canary.Reading
	// Snapshot returns the latest agreed configuration.
	Snapshot func() (ownership.Configuration, bool)
	// Stores looks after the region's servers of stores.
	Stores Stores

	mu      sync.Mutex
	latches []*latch
	kept    kafka.Kept
	// followers read MirrorMaker's positions, and sources are the origins' Kafkas.
	followers map[string]*follower
	sources   map[string]*kafka.Kept
	// behind are the origins that were far behind when they were last looked at.
	behind map[string]bool
}

var _ agent.Local = (*Region)(nil)

// services returns the slices that are for this region and not going away.
func (r *Region) services(ctx context.Context) ([]v1alpha1.RegionalService, error) {
	list := &v1alpha1.RegionalServiceList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil { // several times a second; nobody changes them
		return nil, fmt.Errorf("listing regional services: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(rs v1alpha1.RegionalService) bool {
		return rs.Spec.Region != r.Name || rs.DeletionTimestamp != nil
	}), nil
}

// Stopped implements agent.Local.
func (r *Region) Stopped(ctx context.Context, c ownership.Configuration) (bool, error) {
	services, err := r.services(ctx)
	if err != nil {
		return false, err
	}
	if stores := storesOf(services); len(stores) > 0 && !r.Stores.Fenced(c, stores) {
		return false, nil
	}
	for i := range services {
		rs := &services[i]
		if regional.MayRunOwnerOnly(&rs.Spec, r.Name, c) {
			continue
		}
		for j := range rs.Spec.Workload.Additional {
			a := &rs.Spec.Workload.Additional[j]
			if a.Activation != v1alpha1.ActivationOwnerOnly {
				continue
			}
			if gone, err := r.gone(ctx, rs, a); err != nil || !gone {
				return false, err
			}
		}
	}
	return true, nil
}

// gone reports whether no Pod of an additional workload is left.
func (r *Region) gone(ctx context.Context, rs *v1alpha1.RegionalService, a *v1alpha1.AdditionalWorkload) (bool, error) {
	d := &appsv1.Deployment{}
	name := regional.AdditionalName(rs.Name, a.Name)
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: rs.Namespace, Name: name}, d)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading Deployment %s/%s: %w", rs.Namespace, name, err)
	}
	stopped := d.Spec.Replicas != nil && *d.Spec.Replicas == 0
	return stopped && d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == 0, nil
}

// Lagging implements agent.Local: services with a topic from a region that may own slots, and whose
// newest canary is old or unknown, or whose link is paused; and, while the region is drained, or back without its keys, those that
// have no ready replica here, or are not known here at all: a handback would give users to nobody.
func (r *Region) Lagging(ctx context.Context) []string {
	services, err := r.services(ctx)
	c, known := r.Snapshot()
	if err != nil || !known {
		return []string{ownership.LaggingAll}
	}
	var paused map[string]map[string]bool
	if slices.ContainsFunc(services, func(rs v1alpha1.RegionalService) bool { return len(rs.Spec.Topics)+len(rs.Spec.Stores) > 0 }) {
		if paused, err = r.paused(ctx); err != nil {
			return []string{ownership.LaggingAll}
		}
	}
	out := r.unknown(c, services)
	for i := range services {
		rs := &services[i]
		if r.topicsFar(c, rs, paused) || r.storesFar(c, rs, paused) || idle(rs, c) {
			out = append(out, rs.Spec.ServiceID)
		}
	}
	if len(out) > maxLagging {
		return []string{ownership.LaggingAll}
	}
	slices.Sort(out)
	return out
}

// topicsFar reports whether what a service receives by topics is far behind, or paused.
func (r *Region) topicsFar(c ownership.Configuration, rs *v1alpha1.RegionalService, paused map[string]map[string]bool) bool {
	if len(rs.Spec.Topics) == 0 {
		return false
	}
	return slices.ContainsFunc(r.origins(rs), func(o string) bool {
		if r.farFrom(c, o) {
			return true
		}
		return c.Gates[o].Open && len(paused[o]) > 0 &&
			slices.ContainsFunc(rs.Spec.Topics, func(t v1alpha1.TopicSlice) bool { return paused[o][t.Name] })
	})
}

// paused returns the topics whose links somebody has paused, by origin: the canary does not tell of them.
func (r *Region) paused(ctx context.Context) (map[string]map[string]bool, error) {
	list := &v1alpha1.ReplicationLinkList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy, client.MatchingFields{linkindex.Paused: linkindex.Yes}); err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	out := map[string]map[string]bool{}
	for i := range list.Items {
		if l := &list.Items[i]; links.Paused(l) {
			if out[l.Spec.From] == nil {
				out[l.Spec.From] = map[string]bool{}
			}
			out[l.Spec.From][cmp.Or(l.Spec.Topic, storeKey(l.Spec.Store))] = true
		}
	}
	return out, nil
}

// maxLagging bounds what is named one by one.
const maxLagging = 100

// farFrom reports whether the region is far behind an origin. It counts as far until it is twice as near
// as it had to be to count as near: a lag about the limit is not told over and over.
func (r *Region) farFrom(c ownership.Configuration, origin string) bool {
	return r.far(c, origin, origin, r.Canary(origin))
}

// far does that for what has arrived from an origin one way, which the key names.
func (r *Region) far(c ownership.Configuration, key, origin string, reading canary.Reading) bool {
	limit := farBehind
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind[key] {
		limit /= 2
	}
	if r.behind == nil {
		r.behind = map[string]bool{}
	}
	// While a region is being lost nothing planned begins, and what is told of it now would be over before that may.
	if c.Gates[origin].Open && pace.Against(c, origin) {
		return r.behind[key]
	}
	// Nothing more arrives from a region whose gate is closed.
	r.behind[key] = c.Gates[origin].Open && (!reading.Known || reading.Age > limit)
	return r.behind[key]
}

// idle reports whether the region is about to be handed keys of a service of which no replica is ready.
// What others deploy behind a Service cannot be told. A service whose keys it has is not reported: others
// would wait for that whom it does not concern (R10).
func idle(rs *v1alpha1.RegionalService, c ownership.Configuration) bool {
	here, record := rs.Spec.Region, c.Services[rs.Spec.ServiceID]
	if !away(c, here) || flows.Owns(c, record, here) || !weighs(rs, record) {
		return false
	}
	w := rs.Status.Workload
	if w == nil {
		return rs.Spec.Workload.Type != v1alpha1.WorkloadServiceRef // nobody has looked yet
	}
	return w.Desired > 0 && w.Ready == 0
}

// unknown returns the services that name the region while it is away and that it has no slice of: its cluster was
// set up anew, or the hub has not reached it yet.
func (r *Region) unknown(c ownership.Configuration, here []v1alpha1.RegionalService) []string {
	if !away(c, r.Name) {
		return nil
	}
	known := make(map[string]bool, len(here))
	for i := range here {
		known[here[i].Spec.ServiceID] = true
	}
	var out []string
	for uid, record := range c.Services {
		if !known[uid] && !record.Deleted && slices.Contains(record.Regions, r.Name) && !flows.Owns(c, record, r.Name) {
			out = append(out, uid)
		}
	}
	return out
}

// away reports whether a region may be handed keys that it does not have.
func away(c ownership.Configuration, region string) bool {
	state := c.View.Regions[region].State
	return state == ownership.RegionReturning || state == ownership.RegionDrained // an undrain may follow at any moment
}

// weighs reports whether the region may own keys of the service at all.
func weighs(rs *v1alpha1.RegionalService, record ownership.ServiceRecord) bool {
	own, _ := regional.OwnershipInForce(&rs.Spec, record)
	return slices.ContainsFunc(own.Regions, func(r v1alpha1.RegionWeight) bool { return r.Name == rs.Spec.Region && r.Weight > 0 })
}

// origins returns the other regions whose topics are mirrored here for a service.
func (r *Region) origins(rs *v1alpha1.RegionalService) []string {
	var out []string
	for _, p := range rs.Spec.Peers {
		if p.Name != r.Name && p.Kafka != nil {
			out = append(out, p.Name)
		}
	}
	return out
}
