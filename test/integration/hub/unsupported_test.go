package hub_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

// What this version does not do is answered, once, and not written again.
func TestUnsupportedKindsAreAnswered(t *testing.T) {
	w := newWorld(t)
	order := &v1alpha1.Operation{
		ObjectMeta: metav1.ObjectMeta{Name: "drill-beijing"},
		Spec:       v1alpha1.OperationSpec{Type: v1alpha1.OperationDrill, Region: "beijing"},
	}
	store := &v1alpha1.DataStore{
		ObjectMeta: metav1.ObjectMeta{Name: "users-db"},
		Spec: v1alpha1.DataStoreSpec{
			Engine: v1alpha1.EngineMySQL, Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
			Endpoints: []v1alpha1.StoreEndpoint{{
				Region: "beijing", Address: "mysql.bj.example.com:3306", SecretRef: v1alpha1.SecretReference{Name: "users-db-admin"},
			}},
		},
	}
	must(t, w.hub.Create(t.Context(), order))
	must(t, w.hub.Create(t.Context(), store))
	eventually(w, w.hub, order, func(o *v1alpha1.Operation) error {
		if o.Status.State != v1alpha1.OperationRefused {
			return fmt.Errorf("state %q", o.Status.State)
		}
		return is(o.Status.Conditions, "Complete", yes, v1alpha1.ReasonNotSupportedYet, "Drill is not in this version", "region beijing")
	})
	eventually(w, w.hub, store, func(d *v1alpha1.DataStore) error {
		return is(d.Status.Conditions, "Ready", no, v1alpha1.ReasonNotSupportedYet, "does not act on stores")
	})
	for _, answered := range []client.Object{order, store} {
		version := answered.GetResourceVersion()
		testkit.Consistently(t, time.Second, func() error {
			must(t, w.hub.Get(t.Context(), client.ObjectKeyFromObject(answered), answered))
			if now := answered.GetResourceVersion(); now != version {
				return fmt.Errorf("%s was written again: version %s, was %s", answered.GetName(), now, version)
			}
			return nil
		})
	}
}
