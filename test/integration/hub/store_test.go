package hub_test

import (
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

func usersDB(regions ...string) *v1alpha1.DataStore {
	d := &v1alpha1.DataStore{
		ObjectMeta: metav1.ObjectMeta{Name: "users-db"},
		Spec: v1alpha1.DataStoreSpec{
			Engine: v1alpha1.EngineMariaDB, Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
			ReplicationSecretRef: &v1alpha1.SecretReference{Name: "users-db-replication"},
		},
	}
	for _, r := range regions {
		d.Spec.Endpoints = append(d.Spec.Endpoints, v1alpha1.StoreEndpoint{
			Region: r, Address: "db." + r + ".example.com:3306", SecretRef: v1alpha1.SecretReference{Name: "users-db-admin"},
		})
	}
	return d
}

// storeSays plays what a region's member tells of its server.
func (w *world) storeSays(region string, ready metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		s := slice()
		if err := w.regions[region].Get(w.t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		s.Status.Stores = []v1alpha1.StoreStatus{{Name: "users-db", Ready: ready, Reason: reason, Message: message, Version: "10.11"}}
		s.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionStoresReady, Status: ready, Reason: reason, Message: "users-db: " + message,
			ObservedGeneration: s.Generation, LastTransitionTime: metav1.Now(),
		}}
		return w.regions[region].Status().Update(w.t.Context(), s)
	})
}

func TestStore(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai")
	for _, name := range []string{"beijing", "shanghai"} {
		w.leader.agent(name)
		w.region(name)
		w.namespace(w.regions[name], "shop")
	}
	w.leader.commit(map[string]ownership.RegionRecord{"beijing": serving(), "shanghai": serving()})
	w.namespace(w.hub, "shop")
	namespace := namespaced("shop")
	must(t, w.hub.Patch(t.Context(), namespace, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"multi":"yes"}}}`))))
	mas := service("beijing", "shanghai")
	mas.Spec.DataClasses = []v1alpha1.DataClass{{Name: "profile", Sync: []v1alpha1.SyncPolicy{{
		Method:             v1alpha1.SyncStorageReplication,
		StorageReplication: &v1alpha1.StorageReplicationSync{Store: "users-db", Tables: []string{"shop.profiles"}},
	}}}}
	must(t, w.hub.Create(t.Context(), mas))
	says := func(status metav1.ConditionStatus, reason string, words ...string) {
		t.Helper()
		eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
			return is(m.Status.Conditions, v1alpha1.ConditionStoresReady, status, reason, words...)
		})
	}
	says(no, v1alpha1.ReasonStoreUnknown, "there is no DataStore users-db")
	store := usersDB("beijing")
	must(t, w.hub.Create(t.Context(), store))
	says(no, v1alpha1.ReasonStoreNotAllowed, "users-db does not allow namespace shop")
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		d.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"multi": "yes"}}}
		return w.hub.Update(t.Context(), d)
	})
	says(no, v1alpha1.ReasonStoreWithoutEndpoint, "shanghai: DataStore users-db has no server in the region")
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		d.Spec.Endpoints = usersDB("beijing", "shanghai").Spec.Endpoints
		return w.hub.Update(t.Context(), d)
	})
	for _, region := range []string{"beijing", "shanghai"} {
		eventually(w, w.regions[region], slice(), func(s *v1alpha1.RegionalService) error {
			if len(s.Spec.Stores) != 1 || len(s.Spec.Stores[0].Endpoints) != 2 || s.Spec.Stores[0].StoreID != string(store.UID) ||
				len(s.Spec.Stores[0].Classes) != 1 || s.Spec.Stores[0].Classes[0].Tables[0] != "shop.profiles" {
				return fmt.Errorf("stores are %+v", s.Spec.Stores)
			}
			return nil
		})
	}
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		return is(d.Status.Conditions, "Ready", metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "waiting for the region's member")
	})
	w.storeSays("beijing", yes, v1alpha1.ReasonAsDeclared, "fine")
	w.storeSays("shanghai", no, v1alpha1.ReasonPreconditions, "log_bin is off")
	says(no, v1alpha1.ReasonPreconditions, "shanghai: users-db: log_bin is off")
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		if d.Status.RegionsReady != "1/2" {
			return fmt.Errorf("regions ready %q", d.Status.RegionsReady)
		}
		return is(d.Status.Conditions, "Ready", no, v1alpha1.ReasonPreconditions, "shanghai: log_bin is off")
	})
	w.storeSays("shanghai", yes, v1alpha1.ReasonAsDeclared, "fine")
	says(yes, v1alpha1.ReasonAsDeclared)
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		return is(d.Status.Conditions, "Ready", yes, v1alpha1.ReasonAsDeclared)
	})

	must(t, w.hub.Delete(t.Context(), store))
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		return is(d.Status.Conditions, "Ready", no, v1alpha1.ReasonDeleting, "shop/cart")
	})
	eventually(w, w.regions["beijing"], slice(), func(s *v1alpha1.RegionalService) error {
		if len(s.Spec.Stores) != 1 {
			return fmt.Errorf("the slice has lost its store: %+v", s.Spec.Stores)
		}
		return nil
	})
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		m.Spec.DataClasses = nil
		return w.hub.Update(t.Context(), m)
	})
	testkit.Eventually(t, soon, func() error {
		if err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(store), store); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the store is still there (%w)", err)
		}
		return nil
	})
}
