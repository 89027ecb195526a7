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
		ObjectMeta: metav1.ObjectMeta{Name: "announce"},
		Spec:       v1alpha1.OperationSpec{Type: v1alpha1.OperationAnnounce, Service: &v1alpha1.ServiceKey{Namespace: "shop", Name: "cart"}},
	}
	must(t, w.hub.Create(t.Context(), order))
	eventually(w, w.hub, order, func(o *v1alpha1.Operation) error {
		if o.Status.State != v1alpha1.OperationRefused {
			return fmt.Errorf("state %q", o.Status.State)
		}
		return is(o.Status.Conditions, "Complete", yes, v1alpha1.ReasonNotSupportedYet, "Announce is not in this version", "shop/cart")
	})
	for _, answered := range []client.Object{order} {
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
