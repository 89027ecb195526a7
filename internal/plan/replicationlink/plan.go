// Package replicationlink decides which links and which mirror a region keeps for the data that
// arrives from one other region, and fills in the links' statuses. It is pure.
package replicationlink

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
	// ConfigMap and Deployment of the built-in mirror; nil when there is none.
	ConfigMap  *corev1.ConfigMap
	Deployment *appsv1.Deployment
	// MakerConfigMap and MakerDeployment are a dedicated MirrorMaker's.
	MakerConfigMap  *corev1.ConfigMap
	MakerDeployment *appsv1.Deployment
	// StrimziMakers are the KafkaMirrorMaker2 that the operator has made for this source, wherever they are.
	StrimziMakers []unstructured.Unstructured
	// StrimziProblem says why those cannot be used, empty when they can.
	StrimziProblem string
	// Pods of the mirror, whatever runs it.
	Pods []corev1.Pod
	// Transfer is what came of the one that the last plan has asked for.
	Transfer TransferResult
	// Source and Target tell what the Secrets hold besides the credentials.
	Source, Target Credentials
	// Lag is what is measured.
	Lag Lag
	// SourceLost is true while the agreed view says that the source region is lost.
	SourceLost bool
	// MirrorError is what the mirror itself says is wrong; empty when nothing is, or it is silent.
	MirrorError string
	// Denied says, by topic, what the users that the mirror logs in as may not do.
	Denied map[string]string
	// Losses are what the mirror says is lost, a line each: the topic, a colon, a sentence.
	Losses []string
}

// Credentials are what the Secret of a Kafka says of how it is used.
type Credentials struct {
	Mechanism string
	CA        bool
	// User that is logged in as, and Version of the Secret.
	User, Version string
	// Unquotable is true when user or password have a character that MirrorMaker's configuration cannot hold.
	Unquotable bool
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
	// Retentions by link name: how long the source keeps records of its topic, if that is declared.
	Retentions map[string]time.Duration
	// Problem keeps all links from being configured, for a Reason of the API's; empty without one.
	Problem, Reason string
	// Waiting says what the mirror waits for before it is set up; empty when it is.
	Waiting string
	// Transfer is to be carried out before the mirror starts; nil: nothing is to be.
	Transfer *Transfer
	// Runner is what runs the mirror, or will.
	Runner Runner
	// Carries is what the mirror is to carry; nil: nothing.
	Carries *Carries
}

// Carries is what a mirror needs rights for: to read the topics at the source, and to write the copies.
type Carries struct {
	From           string
	Source, Target v1alpha1.RegionKafka
	Topics         []string
}

// need is what the services of a region receive from a source.
type need struct {
	topics, groups []string
	source, target v1alpha1.RegionKafka
}

// Decide compares what the services of a region need from one source with what was seen.
func Decide(from string, seen Seen, o regional.Options) (Plan, error) {
	p := Plan{Objectives: map[string]time.Duration{}, Retentions: map[string]time.Duration{}}
	seen.Pods = slices.DeleteFunc(slices.Clone(seen.Pods), ended)
	n := p.need(from, seen, o)
	if seen.Held {
		if n.topics == nil {
			p.Runner = seen.runner()
			return p, nil // what runs, if anything, goes on as it is
		}
		for i := range seen.Links {
			n.topics = append(n.topics, seen.Links[i].Spec.Topic)
			p.keepObjective(seen.Links[i].Name)
		}
	}
	n.topics, n.groups = distinct(n.topics), distinct(n.groups)
	p.Runner = runnerOf(n.target)
	if len(n.topics) > 0 {
		p.Carries = &Carries{From: from, Source: n.source, Target: n.target, Topics: n.topics}
	}
	if p.Problem = firstOf(seen.Source.Problem, seen.Target.Problem); p.Problem != "" {
		p.Reason = v1alpha1.ReasonSecretNotFound
	}
	var err error
	switch {
	case len(n.topics) == 0:
		p.removeMirrors(seen)
	case p.Problem == "": // otherwise what runs goes on as it is
		err = p.mirror(from, n, seen, o)
	}
	p.links(from, n.topics, seen, o)
	return p, err
}

// ended reports whether a Pod's program has ended for good; an evicted one may stay on show for long.
func ended(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// need sums up what the services receive. The first of them, by name, is asked for the addresses.
func (p *Plan) need(from string, seen Seen, o regional.Options) need {
	var n need
	for _, rs := range ordered(seen.Services) {
		peer := source(&rs, from, o.Region)
		if peer == nil || len(rs.Spec.Topics) == 0 {
			continue
		}
		if n.topics == nil {
			n.source, n.target = *peer.Kafka, *rs.Spec.Kafka
		}
		for i := range rs.Spec.Topics {
			t := &rs.Spec.Topics[i]
			p.retention(t, from)
			n.topics, n.groups = append(n.topics, t.Name), append(n.groups, t.ConsumerGroups...)
			p.objective(regional.LinkName(t.Name, from), t.Objective)
		}
	}
	return n
}

func distinct(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

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
