// Package replicationlink decides which links and which mirror a region keeps for the data that
// arrives from one other region, and fills in the links' statuses. It is pure.
package replicationlink

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// DefaultObjective is the staleness objective of a topic that declares none.
const DefaultObjective = 5 * time.Minute

// Seen is everything that the decision about one source region depends on.
type Seen struct {
	Complete bool
	// Services of this region that are not being deleted and whose slices are acted on.
	Services []v1alpha1.RegionalService
	// Held is true while there are others whose slices are not acted on, yet or any more: what is
	// kept for them stays.
	Held bool
	// Links from the source region that exist.
	Links []v1alpha1.ReplicationLink
	// ConfigMap and Deployment of the mirror; nil when there is none.
	ConfigMap  *corev1.ConfigMap
	Deployment *appsv1.Deployment
	// Pods of the mirror.
	Pods []corev1.Pod
	// Source and Target tell what the Secrets hold besides the credentials.
	Source, Target Credentials
	// Lag is what is measured.
	Lag Lag
	// SourceLost is true while the agreed view says that the source region is lost.
	SourceLost bool
	// MirrorError is what the mirror itself says is wrong; empty when nothing is, or it is silent.
	MirrorError string
}

// Credentials are what the Secret of a Kafka says of how it is used.
type Credentials struct {
	Mechanism string
	CA        bool
	// Problem says why it cannot be used.
	Problem string
}

// Lag is the age of the newest canary from the source.
type Lag struct {
	Known bool
	Age   time.Duration
	// Step is the age in coarse steps, damped.
	Step string
}

// Plan is the outcome.
type Plan struct {
	// Apply are objects to write, in order.
	Apply []regional.Object
	// Delete are objects to remove.
	Delete []regional.Object
	// Objectives by link name: the strictest of the services' that share it.
	Objectives map[string]time.Duration
	// Problem keeps all links from being configured; empty without one.
	Problem string
}

// Decide compares what the services of a region need from one source with what was seen.
func Decide(from string, seen Seen, o regional.Options) (Plan, error) {
	p := Plan{Objectives: map[string]time.Duration{}}
	mirror := regional.Mirror{From: from}
	for _, rs := range ordered(seen.Services) {
		peer := source(&rs, from, o.Region)
		if peer == nil || len(rs.Spec.Topics) == 0 {
			continue
		}
		if mirror.Topics == nil {
			mirror.Source = regional.MirrorCluster{Kafka: *peer.Kafka, Mechanism: seen.Source.Mechanism, CA: seen.Source.CA}
			mirror.Target = regional.MirrorCluster{Kafka: *rs.Spec.Kafka, Mechanism: seen.Target.Mechanism, CA: seen.Target.CA}
		}
		for _, t := range rs.Spec.Topics {
			mirror.Topics = append(mirror.Topics, t.Name)
			p.objective(regional.LinkName(t.Name, from), t.Objective)
		}
	}
	if seen.Held {
		if mirror.Topics == nil {
			return p, nil // what runs, if anything, goes on as it is
		}
		for i := range seen.Links {
			mirror.Topics = append(mirror.Topics, seen.Links[i].Spec.Topic)
			p.keepObjective(seen.Links[i].Name)
		}
	}
	slices.Sort(mirror.Topics)
	mirror.Topics = slices.Compact(mirror.Topics)
	p.Problem = firstOf(seen.Source.Problem, seen.Target.Problem)
	p.links(from, mirror.Topics, seen, o)
	if len(mirror.Topics) == 0 {
		p.removeMirror(seen)
		return p, nil
	}
	if p.Problem != "" {
		return p, nil // what runs goes on as it is
	}
	err := p.mirror(o, mirror, seen)
	return p, err
}

// objective keeps the strictest objective of a link.
func (p *Plan) objective(link string, declared *metav1.Duration) {
	within := DefaultObjective
	if declared != nil {
		within = declared.Duration
	}
	if known, ok := p.Objectives[link]; !ok || within < known {
		p.Objectives[link] = within
	}
}

// keepObjective gives a link whose service is not asked the default.
func (p *Plan) keepObjective(link string) {
	if _, known := p.Objectives[link]; !known {
		p.Objectives[link] = DefaultObjective
	}
}

// Sources are the regions that services of a region receive topics from, in no order.
func Sources(services []v1alpha1.RegionalService, region string) []string {
	var names []string
	for i := range services {
		rs := &services[i]
		if len(rs.Spec.Topics) == 0 {
			continue
		}
		for _, p := range rs.Spec.Peers {
			if source(rs, p.Name, region) != nil && !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// source returns the peer that a service receives topics from, or nil.
func source(rs *v1alpha1.RegionalService, from, region string) *v1alpha1.Peer {
	if rs.Spec.Kafka == nil || rs.Spec.Region != region || from == region {
		return nil
	}
	for i := range rs.Spec.Peers {
		if p := &rs.Spec.Peers[i]; p.Name == from && p.Kafka != nil {
			return p
		}
	}
	return nil
}

// ordered sorts services by namespace and name, so that the same one is asked for the addresses
// every time.
func ordered(services []v1alpha1.RegionalService) []v1alpha1.RegionalService {
	out := slices.Clone(services)
	slices.SortFunc(out, func(a, b v1alpha1.RegionalService) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func (p *Plan) links(from string, topics []string, seen Seen, o regional.Options) {
	wanted := map[string]bool{}
	for _, topic := range topics {
		link := regional.Link(topic, from, o.Region)
		wanted[link.Name] = true
		if !slices.ContainsFunc(seen.Links, func(l v1alpha1.ReplicationLink) bool { return l.Name == link.Name }) {
			p.Apply = append(p.Apply, link)
		}
	}
	for i := range seen.Links {
		l := &seen.Links[i]
		// Links that somebody else made are left alone.
		if !wanted[l.Name] && l.Labels[regional.LabelManagedBy] == regional.ManagedBy && l.DeletionTimestamp == nil {
			p.Delete = append(p.Delete, l)
		}
	}
}

func (p *Plan) mirror(o regional.Options, m regional.Mirror, seen Seen) error {
	config, deployment := regional.MirrorObjects(o, m)
	for _, pair := range []struct{ want, have regional.Object }{{config, object(seen.ConfigMap)}, {deployment, object(seen.Deployment)}} {
		if err := regional.Stamp(pair.want); err != nil {
			return err
		}
		if pair.have != nil {
			same, err := regional.UpToDate(pair.want, pair.have)
			if err != nil {
				return fmt.Errorf("comparing %s: %w", pair.want.GetName(), err)
			}
			if same {
				continue
			}
		}
		p.Apply = append(p.Apply, pair.want)
	}
	return nil
}

func (p *Plan) removeMirror(seen Seen) {
	for _, obj := range []regional.Object{object(seen.Deployment), object(seen.ConfigMap)} {
		if obj != nil && obj.GetDeletionTimestamp() == nil && obj.GetLabels()[regional.LabelManagedBy] == regional.ManagedBy {
			p.Delete = append(p.Delete, obj)
		}
	}
}

// object avoids an interface that holds a nil pointer.
func object[T any, P interface {
	*T
	regional.Object
}](p P) regional.Object {
	if p == nil {
		return nil
	}
	return p
}

// Clusters returns the Kafka of the source and of this region as the mirror between them uses
// them; nil when nothing is mirrored.
func Clusters(services []v1alpha1.RegionalService, from, region string) (sourceKafka, targetKafka *v1alpha1.RegionKafka) {
	for _, rs := range ordered(services) {
		if p := source(&rs, from, region); p != nil && len(rs.Spec.Topics) > 0 {
			return p.Kafka, rs.Spec.Kafka
		}
	}
	return nil, nil
}

// OwnKafka returns this region's Kafka, if any service synchronises through topics.
func OwnKafka(services []v1alpha1.RegionalService) *v1alpha1.RegionKafka {
	for _, rs := range ordered(services) {
		if rs.Spec.Kafka != nil && len(rs.Spec.Topics) > 0 {
			return rs.Spec.Kafka
		}
	}
	return nil
}
