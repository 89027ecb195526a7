package main

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/hack/internal/crowdworld"
	"multiactive.dev/operator/internal/playground/crowd"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/port/kafka"
)

// maxClasses is how many data classes a service may have.
const maxClasses = 64

var regions = crowdworld.Regions

// benched is the world that is measured.
type benched struct {
	*crowdworld.World
	kafkas map[string]*kafka.Client
	// caches have what is in the regions' clusters: to list a thousand topics' links again and again would be much of
	// what their API servers do.
	caches map[string]cache.Cache
}

// boot starts a world with no service in it.
func boot(ctx context.Context, bin, dir string) (*benched, error) {
	w, err := crowdworld.Start(ctx, bin, dir)
	if err != nil {
		return nil, err
	}
	b := &benched{World: w, kafkas: map[string]*kafka.Client{}, caches: map[string]cache.Cache{}}
	for _, r := range w.Regions() {
		if b.kafkas[r.Name], err = kafka.NewClient(kafka.Options{Brokers: []string{r.Kafka()}}); err != nil {
			return nil, errors.Join(err, w.Stop())
		}
		if b.caches[r.Name], err = watched(ctx, r); err != nil {
			return nil, errors.Join(err, w.Stop())
		}
	}
	return b, nil
}

// watched is what is in a region's cluster, until ctx ends.
func watched(ctx context.Context, r *world.Region) (cache.Cache, error) {
	config, err := r.AdminConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := cache.New(config, cache.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	go func() { _ = c.Start(ctx) }() // only ever the end of its context
	return c, nil
}

// services are as many as have all the topics; without them at first.
func (b *benched) services(o *options) []*v1alpha1.MultiActiveService {
	var out []*v1alpha1.MultiActiveService
	for i := range (o.topics + o.classes - 1) / o.classes {
		out = append(out, crowd.Service(i, b.Serving))
	}
	return out
}

// declare adds topics, by number, to the services.
func (b *benched) declare(ctx context.Context, o *options, services []*v1alpha1.MultiActiveService, from, to int) error {
	for n := from; n < to; n++ {
		s := services[n/o.classes]
		s.Spec.DataClasses = append(s.Spec.DataClasses, v1alpha1.DataClass{
			Name: fmt.Sprintf("class-%04d", n), Mutability: v1alpha1.CreateOnly,
			Sync: []v1alpha1.SyncPolicy{{
				Method:       v1alpha1.SyncMessageQueue,
				MessageQueue: &v1alpha1.MessageQueueSync{Topic: fmt.Sprintf("topic-%04d", n), Partitions: int32(o.partitions), ReplicationFactor: 1}, //nolint:gosec // a partition count
			}},
		})
	}
	for _, s := range services[from/o.classes : (to+o.classes-1)/o.classes] {
		before := &v1alpha1.MultiActiveService{}
		if err := b.Hub.Get(ctx, client.ObjectKeyFromObject(s), before); err != nil {
			return err
		}
		after := before.DeepCopy()
		after.Spec.DataClasses = s.Spec.DataClasses
		if err := b.Hub.Patch(ctx, after, client.MergeFrom(before)); err != nil {
			return err
		}
	}
	return nil
}

// acted says what is missing of the services in the regions.
func (b *benched) acted(ctx context.Context, services int) error {
	for name, c := range b.Members {
		list := &v1alpha1.RegionalServiceList{}
		if err := c.List(ctx, list); err != nil {
			return err
		}
		if len(list.Items) < services {
			return fmt.Errorf("%s has %d of %d services", name, len(list.Items), services)
		}
	}
	return nil
}

// ready says what is missing of the topics in the regions.
func (b *benched) ready(ctx context.Context, topics int) error {
	for name, c := range b.caches {
		list := &v1alpha1.RegionalServiceList{}
		if err := c.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
		have := 0
		for i := range list.Items {
			rs := &list.Items[i]
			if t := meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionTopicsReady); t != nil && t.Status == metav1.ConditionTrue && t.ObservedGeneration == rs.Generation {
				have += len(rs.Spec.Topics)
			}
		}
		if have < topics {
			return fmt.Errorf("%s has %d of %d topics", name, have, topics)
		}
	}
	return nil
}

// linked says what is missing of the links.
func (b *benched) linked(ctx context.Context, topics int) error {
	for name, c := range b.caches {
		list := &v1alpha1.ReplicationLinkList{}
		if err := c.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
		have := 0
		for i := range list.Items {
			if meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1alpha1.ConditionConfigured) {
				have++
			}
		}
		if want := topics * (len(regions) - 1); have < want {
			return fmt.Errorf("%s has %d of %d links", name, have, want)
		}
	}
	return nil
}

// copied says what is missing of the copies.
func (b *benched) copied(ctx context.Context, topics int) error {
	for name, k := range b.kafkas {
		var names []string
		for _, from := range regions {
			for n := range topics {
				if from != name {
					names = append(names, fmt.Sprintf("%s.%s.topic-%04d", from, crowd.Namespace, n))
				}
			}
		}
		all, err := k.Describe(ctx, names...)
		if err != nil {
			return err
		}
		have := 0
		for _, t := range all {
			if t.Exists {
				have++
			}
		}
		if have < len(names) {
			return fmt.Errorf("%s has %d of %d copies", name, have, len(names))
		}
	}
	return nil
}
