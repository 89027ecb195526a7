package regionalservice

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/linkindex"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/plan/store"
)

// observe reads everything that a decision depends on.
func (r *Reconciler) observe(ctx context.Context, rs *v1alpha1.RegionalService) (plan.Seen, error) {
	// Of several members one acts; when it begins, not when it was started, it has no lease yet.
	r.firstPass.Do(func() { r.firstPassAt = r.Clock.Now() })
	held := r.Agent.Lease() > 0
	seen := plan.Seen{
		LeaseHeld:    held,
		LeaseSettled: held || r.Clock.Since(r.firstPassAt) >= r.LeaseSettles,
		Topics:       r.Topics.Look(client.ObjectKeyFromObject(rs), wantedTopics(rs)),
	}
	seen.Configuration, seen.HasConfiguration = r.Agent.Snapshot()
	var err error
	if seen.Owned, err = r.owned(ctx, rs); err != nil {
		return seen, err
	}
	if err := r.references(ctx, rs, &seen); err != nil {
		return seen, err
	}
	if seen.Pods, err = r.pods(ctx, rs, seen.Deployment); err != nil {
		return seen, err
	}
	seen.Acknowledged, seen.Refused, seen.TakesPeers = map[string]int64{}, map[string]string{}, map[string][]string{}
	seen.Deferred = map[string]string{}
	acts, since := r.Agent.ActsOn(rs.Namespace, rs.Name)
	seen.ActsOn, seen.ActsSince = acts, r.Clock.Now().Add(-since)
	for _, ack := range r.Agent.AcksOf(rs.Namespace, rs.Name) {
		seen.Acknowledged[ack.Gateway], seen.Refused[ack.Gateway] = ack.Epoch, ack.Refused
		seen.TakesPeers[ack.Gateway], seen.Deferred[ack.Gateway] = ack.Peers, ack.Deferred
	}
	if err := r.links(ctx, rs, &seen); err != nil {
		return seen, err
	}
	if rs.DeletionTimestamp != nil {
		seen.Topics = r.Topics.Look(client.ObjectKeyFromObject(rs), doomedTopics(rs, r.Options.Region))
	}
	if r.PeerCertificates != nil && regional.OwnPeerCertificate(rs) {
		seen.PeerProblem = r.PeerCertificates.Problem(rs.Namespace)
	}
	seen.Complete = true
	return seen, nil
}

// links reads what the canaries measure, what somebody has paused, and what carries the service's topics.
func (r *Reconciler) links(ctx context.Context, rs *v1alpha1.RegionalService, seen *plan.Seen) error {
	r.stores(rs, seen)
	seen.Links = map[string]plan.Link{}
	for _, p := range rs.Spec.Peers {
		reading := r.Canaries.Read(p.Name)
		seen.Links[p.Name] = plan.Link{Known: reading.Known, Age: reading.Age}
	}
	if len(rs.Spec.Topics)+len(rs.Spec.Stores) == 0 {
		return nil // there may be many links, of other services
	}
	for i := range rs.Spec.Stores {
		carrying, err := r.linksOf(ctx, linkindex.Store, rs.Spec.Stores[i].Name)
		if err != nil {
			return err
		}
		for j := range carrying {
			l := &carrying[j]
			if link, known := seen.Stores[l.Spec.Store].Links[l.Spec.From]; known && replicationlink.Paused(l) {
				link.Paused = []string{l.Spec.Store}
				seen.Stores[l.Spec.Store].Links[l.Spec.From] = link
			}
		}
	}
	for _, topic := range topicNames(rs) {
		carrying, err := r.linksOf(ctx, linkindex.Topic, topic)
		if err != nil {
			return err
		}
		receiving(seen, carrying)
	}
	return nil
}

// linksOf returns the links of a topic or a store. They are only to be looked at.
func (r *Reconciler) linksOf(ctx context.Context, field, name string) ([]v1alpha1.ReplicationLink, error) {
	list := &v1alpha1.ReplicationLinkList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy, client.MatchingFields{field: name}); err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	return list.Items, nil
}

// topicNames are the service's topics, each once.
func topicNames(rs *v1alpha1.RegionalService) []string {
	var names []string
	for i := range rs.Spec.Topics {
		if name := rs.Spec.Topics[i].Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// receiving keeps what links of a topic say.
func receiving(seen *plan.Seen, carrying []v1alpha1.ReplicationLink) {
	for i := range carrying {
		l := &carrying[i]
		seen.Receiving = append(seen.Receiving, l.Name)
		if link, known := seen.Links[l.Spec.From]; known && replicationlink.Paused(l) {
			link.Paused = append(link.Paused, l.Spec.Topic)
			seen.Links[l.Spec.From] = link
		}
		if link, known := seen.Links[l.Spec.From]; known && replicationlink.Denied(l) {
			link.Denied = append(link.Denied, l.Spec.Topic)
			seen.Links[l.Spec.From] = link
		}
	}
}

// stores reads what is known of the region's servers of the service's stores.
func (r *Reconciler) stores(rs *v1alpha1.RegionalService, seen *plan.Seen) {
	seen.Stores = map[string]plan.Store{}
	for name, d := range store.Merge([]v1alpha1.RegionalService{*rs}, r.Options.Region) {
		look := r.Stores.Look(name)
		s := plan.Store{Status: store.Server(d, look), Links: map[string]plan.Link{}}
		sources := look.Sources
		if !look.Known {
			for _, source := range d.Want.Sources {
				sources = append(sources, source.Region)
			}
		}
		for _, from := range sources {
			l := look.Links[from]
			s.Links[from] = plan.Link{Known: l.Known, Age: l.Age}
		}
		seen.Stores[name] = s
	}
}

// ownedLists are the kinds that a member writes in a service's namespace.
func ownedLists() []client.ObjectList {
	return []client.ObjectList{
		&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{},
		&policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{}, &autoscalingv2.HorizontalPodAutoscalerList{},
	}
}

func (r *Reconciler) owned(ctx context.Context, rs *v1alpha1.RegionalService) ([]regional.Object, error) {
	var owned []regional.Object
	mine := client.MatchingLabels{regional.LabelManagedBy: regional.ManagedBy}
	for _, list := range ownedLists() {
		if err := r.Client.List(ctx, list, client.InNamespace(rs.Namespace), mine, client.MatchingFields{ofService: rs.Name}); err != nil {
			return nil, fmt.Errorf("listing %T: %w", list, err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			if obj, ok := item.(regional.Object); ok && regional.Owned(obj, rs) {
				owned = append(owned, obj)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading %T: %w", list, err)
		}
	}
	return owned, nil
}

// references reads the objects that the workload refers to.
func (r *Reconciler) references(ctx context.Context, rs *v1alpha1.RegionalService, seen *plan.Seen) error {
	w := rs.Spec.Workload
	if w.DeploymentRef != nil {
		d := &appsv1.Deployment{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: rs.Namespace, Name: w.DeploymentRef.Name}, d)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading the referenced Deployment: %w", err)
		}
		if err == nil {
			seen.Deployment = d
		}
	}
	if w.ServiceRef != nil {
		s := &corev1.Service{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: rs.Namespace, Name: w.ServiceRef.Name}, s)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading the referenced Service: %w", err)
		}
		if err == nil {
			seen.Service = s
		}
	}
	return nil
}

// pods reads the Pods of what the member wrote from the cache, and those of a referenced Deployment
// from the API server while it lacks some: the cache holds the operator's Pods alone.
func (r *Reconciler) pods(ctx context.Context, rs *v1alpha1.RegionalService, referenced *appsv1.Deployment) ([]corev1.Pod, error) {
	own := &corev1.PodList{}
	if err := r.Client.List(ctx, own, client.InNamespace(rs.Namespace), client.MatchingFields{ofService: rs.Name}); err != nil {
		return nil, fmt.Errorf("listing Pods: %w", err)
	}
	if referenced == nil || referenced.Status.UnavailableReplicas == 0 {
		return own.Items, nil
	}
	others := &corev1.PodList{}
	err := r.Live.List(ctx, others, client.InNamespace(rs.Namespace), client.Limit(100),
		client.MatchingLabels(referenced.Spec.Template.Labels))
	if err != nil {
		return nil, fmt.Errorf("listing Pods of Deployment %s: %w", referenced.Name, err)
	}
	return append(own.Items, others.Items...), nil
}

// kindOf returns an object's kind for messages, such as Deployment.
func kindOf(obj regional.Object) string {
	if kind := obj.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	name := fmt.Sprintf("%T", obj)
	return name[strings.LastIndexByte(name, '.')+1:]
}
