package multiactiveservice_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

func TestStores(t *testing.T) {
	t.Parallel()
	endpoints := func(regions ...string) []v1alpha1.StoreEndpoint {
		var out []v1alpha1.StoreEndpoint
		for _, r := range regions {
			out = append(out, v1alpha1.StoreEndpoint{Region: r, Address: r + ":3306"})
		}
		return out
	}
	all := endpoints("beijing", "shanghai", "shenzhen")
	for name, test := range map[string]struct {
		store  *v1alpha1.DataStoreSpec
		seen   func(*plan.Seen)
		status metav1.ConditionStatus
		reason string
		words  string
		// staged is in how many regions the slice is to have the store.
		staged int
	}{
		"no such store": {status: metav1.ConditionFalse, reason: v1alpha1.ReasonStoreUnknown, words: "there is no DataStore users-db"},
		"not allowed": {store: &v1alpha1.DataStoreSpec{Endpoints: all}, status: metav1.ConditionFalse, reason: v1alpha1.ReasonStoreNotAllowed,
			words: "does not allow namespace accounts"},
		"without a server in one region": {store: &v1alpha1.DataStoreSpec{AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}}, Endpoints: endpoints("beijing", "shanghai")},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonStoreWithoutEndpoint, words: "shenzhen: DataStore users-db has no server", staged: 2},
		"another service's": {store: &v1alpha1.DataStoreSpec{AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}}, Endpoints: all},
			seen:   func(s *plan.Seen) { s.StoreClaims = map[string]string{"users-db": "shop/cart"} },
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonStoreConflict, words: "used by service shop/cart"},
		"external": {store: &v1alpha1.DataStoreSpec{Management: v1alpha1.StoreExternal, AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}}, Endpoints: all},
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonAsDeclared},
		"not told of yet": {store: &v1alpha1.DataStoreSpec{AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}}, Endpoints: all},
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonProgressing, words: "waiting for the region's member to act", staged: 3},
		"a member of an earlier version": {store: &v1alpha1.DataStoreSpec{AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}}, Endpoints: all},
			seen:   func(s *plan.Seen) { s.Regions["shanghai"].Slice.Status.Features = []string{"Shed"} },
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonNotSupportedYet, words: "shanghai: the region's member knows nothing of stores", staged: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			mas.Spec.DataClasses = append(mas.Spec.DataClasses, v1alpha1.DataClass{Name: "profile", Sync: []v1alpha1.SyncPolicy{{
				Method: v1alpha1.SyncStorageReplication, StorageReplication: &v1alpha1.StorageReplicationSync{Store: "users-db"},
			}}})
			seen := healthy(mas)
			if test.store != nil {
				seen.Stores = map[string]*v1alpha1.DataStore{"users-db": {ObjectMeta: metav1.ObjectMeta{Name: "users-db", UID: "d", Generation: 1}, Spec: *test.store}}
			}
			if test.seen != nil {
				test.seen(&seen)
			}
			todo := plan.Decide(start, mas, seen)
			staged := 0
			for _, step := range todo.Steps {
				if step.Kind == plan.StepStage && len(step.Slice.Spec.Stores) > 0 {
					staged++
				}
			}
			plan.Report(start, mas, seen, todo, true)
			c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionStoresReady)
			if c.Status != test.status || c.Reason != test.reason || !strings.Contains(c.Message, test.words) || staged != test.staged {
				t.Errorf("condition %+v, staged in %d regions, want %s/%s with %q in %d", c, staged, test.status, test.reason, test.words, test.staged)
			}
		})
	}
}

// TestStoreThatAPeerLacks: a hub that begins to lead in a cluster without a DataStore takes it from no region, and says so.
func TestStoreThatAPeerLacks(t *testing.T) {
	t.Parallel()
	mas := service()
	for _, store := range []string{"users-db", "orders-db"} {
		mas.Spec.DataClasses = append(mas.Spec.DataClasses, v1alpha1.DataClass{Name: store, Sync: []v1alpha1.SyncPolicy{{
			Method: v1alpha1.SyncStorageReplication, StorageReplication: &v1alpha1.StorageReplicationSync{Store: store},
		}}})
	}
	seen := healthy(mas)
	seen.Peers = agreed()
	seen.Stores = map[string]*v1alpha1.DataStore{}
	for _, name := range []string{"users-db", "orders-db"} {
		seen.Stores[name] = &v1alpha1.DataStore{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "d", Generation: 1}, Spec: v1alpha1.DataStoreSpec{
			AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}},
			Endpoints:         []v1alpha1.StoreEndpoint{{Region: "beijing", Address: "beijing:3306"}},
		}}
	}
	for _, step := range plan.Decide(start, mas, seen).Steps {
		if step.Kind == plan.StepStage {
			seen.Regions[step.Region].Slice = step.Slice
		}
	}
	if n := len(seen.Regions["beijing"].Slice.Spec.Stores); n != 2 {
		t.Fatalf("the slice has %d stores, want 2", n)
	}
	delete(seen.Stores, "users-db")
	todo := plan.Decide(start, mas, seen)
	if len(todo.Steps) > 0 {
		t.Errorf("steps %v, want none", kinds(todo))
	}
	plan.Report(start, mas, seen, todo, true)
	c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionStoresReady)
	if c.Reason != v1alpha1.ReasonStoreUnknown || !strings.Contains(c.Message, "in the cluster of region beijing") || !strings.Contains(c.Message, "regions keep") {
		t.Errorf("condition %+v", c)
	}
	// One that is named no more goes all the same.
	mas.Spec.DataClasses = mas.Spec.DataClasses[:len(mas.Spec.DataClasses)-2]
	for _, step := range plan.Decide(start, mas, seen).Steps {
		if step.Kind == plan.StepStage && len(step.Slice.Spec.Stores) > 0 {
			t.Errorf("the slice for %s keeps %v", step.Region, step.Slice.Spec.Stores)
		}
	}
}
