// Package linkindex has the cache find ReplicationLinks, and services with stores, by what they are asked for: with a
// thousand topics there are thousands of links, and most questions are about one source, one topic, or the few that
// somebody has paused.
//
// It must never be needed for an answer to be right: what is listed without an index is the same, only slower.
package linkindex

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/plan/replicationlink"
)

// Fields that links can be listed by (client.MatchingFields).
const (
	// From is the source region.
	From = "spec.from"
	// Topic and Store are what arrives.
	Topic = "spec.topic"
	Store = "spec.store"
	// Paused has the value Yes for links that somebody has paused, and none for the others.
	Paused = "paused"
)

// Storing has the value Yes for RegionalServices that use stores, or whose slices are not acted on yet, and none for the
// others: every second the former are looked for, and most services have no store.
const Storing = "storing"

// Yes is the value of Paused and of Storing.
const Yes = "yes"

// Add makes the indices, before the cache is started.
func Add(ctx context.Context, cache client.FieldIndexer) error {
	for field, value := range map[string]func(*v1alpha1.ReplicationLink) string{
		From:  func(l *v1alpha1.ReplicationLink) string { return l.Spec.From },
		Topic: func(l *v1alpha1.ReplicationLink) string { return l.Spec.Topic },
		Store: func(l *v1alpha1.ReplicationLink) string { return l.Spec.Store },
		Paused: func(l *v1alpha1.ReplicationLink) string {
			if replicationlink.Paused(l) {
				return Yes
			}
			return ""
		},
	} {
		err := cache.IndexField(ctx, &v1alpha1.ReplicationLink{}, field, func(obj client.Object) []string {
			if link, is := obj.(*v1alpha1.ReplicationLink); is && value(link) != "" {
				return []string{value(link)}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("indexing links by %s: %w", field, err)
		}
	}
	err := cache.IndexField(ctx, &v1alpha1.RegionalService{}, Storing, func(obj client.Object) []string {
		if rs, is := obj.(*v1alpha1.RegionalService); is && (len(rs.Spec.Stores) > 0 || !regional.Acted(rs)) {
			return []string{Yes}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing regional services by whether they use stores: %w", err)
	}
	return nil
}
