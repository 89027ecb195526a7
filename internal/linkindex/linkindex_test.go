package linkindex_test

import (
	"context"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/linkindex"
)

// indexer gives a fake client what the cache is given.
type indexer struct{ builder *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, obj client.Object, field string, value client.IndexerFunc) error {
	i.builder.WithIndex(obj, field, value)
	return nil
}

// indexed begins a client that has the indexes.
func indexed(t *testing.T) *fake.ClientBuilder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	if err := linkindex.Add(t.Context(), indexer{builder}); err != nil {
		t.Fatal(err)
	}
	return builder
}

func TestLinksAreFound(t *testing.T) {
	paused := regional.Link("a.two", "beijing", "shenzhen")
	paused.Annotations = map[string]string{regional.AnnotationPaused: ""}
	store := regional.Link("", "shanghai", "shenzhen")
	store.Name, store.Spec.Store = "accounts-from-shanghai", "accounts"
	c := indexed(t).WithObjects(regional.Link("a.one", "beijing", "shenzhen"), regional.Link("a.one", "shanghai", "shenzhen"), paused, store).Build()
	for field, cases := range map[string]map[string]int{
		linkindex.From:   {"beijing": 2, "shanghai": 2, "shenzhen": 0},
		linkindex.Topic:  {"a.one": 2, "a.two": 1},
		linkindex.Store:  {"accounts": 1},
		linkindex.Paused: {linkindex.Yes: 1},
	} {
		for value, want := range cases {
			list := &v1alpha1.ReplicationLinkList{}
			if err := c.List(t.Context(), list, client.MatchingFields{field: value}); err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != want {
				t.Errorf("%d links have %s %q, want %d", len(list.Items), field, value, want)
			}
			if field == linkindex.Paused && !slices.ContainsFunc(list.Items, func(l v1alpha1.ReplicationLink) bool { return l.Name == paused.Name }) {
				t.Errorf("paused is %+v", list.Items)
			}
		}
	}
}

// TestStoresAreFound: of the services those are found that use stores, and those that nobody knows of yet whether they do.
func TestStoresAreFound(t *testing.T) {
	service := func(name string, generation int64, stores ...v1alpha1.StoreSlice) *v1alpha1.RegionalService {
		rs := &v1alpha1.RegionalService{}
		rs.Namespace, rs.Name = "shop", name
		rs.Spec.Stamp.Generation, rs.Spec.Stores = 2, stores
		rs.Status.ActedStamp = &v1alpha1.ActedStamp{Stamp: v1alpha1.SliceStamp{Generation: generation}}
		return rs
	}
	list := &v1alpha1.RegionalServiceList{}
	c := indexed(t).WithObjects(service("none", 2), service("some", 2, v1alpha1.StoreSlice{Name: "accounts"}), service("waits", 1)).Build()
	if err := c.List(t.Context(), list, client.MatchingFields{linkindex.Storing: linkindex.Yes}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rs := range list.Items {
		got = append(got, rs.Name)
	}
	if want := []string{"some", "waits"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
