package operation_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
)

// shared puts an order to drain into beijing's cluster in peer mode.
func shared(service bool) *world {
	w := ordered(v1alpha1.OperationDrain, service)
	w.seen.Peer = "beijing"
	return w
}

// givenBy lets the store have the order, in the name of these regions' Operations.
func (w *world) givenBy(uids map[string]string) *world {
	i := ownership.OrderIntent{
		Name: order.SharedName(w.o), Type: string(w.o.Spec.Type), Region: w.o.Spec.Region, Timeout: operation.DefaultTimeout, Copies: uids,
	}
	if w.seen.Service != nil {
		i.Service = uid
	}
	w.seen.Configuration.OrderIntents[i.Name] = i
	return w
}

// becomes lets the leader answer the shared order.
func (w *world) becomes(state ownership.OrderState) *world {
	w.seen.Configuration.Orders[order.SharedName(w.o)] = ownership.OrderRecord{Name: order.SharedName(w.o), State: state, StartedAt: now}
	return w
}

func TestDecideAsPeer(t *testing.T) {
	t.Parallel()
	own, others := map[string]string{"beijing": "u"}, map[string]string{"shanghai": "v"}
	both := map[string]string{"beijing": "u", "shanghai": "v"}
	held := func(w *world) { w.o.Finalizers = []string{operation.Finalizer} }
	for name, c := range map[string]struct {
		w     *world
		steps string
		state v1alpha1.OperationState
		words string
	}{
		"nobody has given it": {shared(true), "AddFinalizer Propose", v1alpha1.OperationPending, ""},
		"given":               {shared(true).givenBy(own).but(held), "", v1alpha1.OperationPending, ""},
		"given in another region: it joins": {
			shared(true).givenBy(others), "AddFinalizer Propose", v1alpha1.OperationPending, "",
		},
		"held back for its survivors": {
			shared(true).runs(v1alpha1.SurvivorsScale), "", v1alpha1.OperationRunning, "accounts/user in shanghai: 3/6 ready",
		},
		"held back here, and not any more in another region": {
			shared(true).runs(v1alpha1.SurvivorsScale).held().givenBy(others), "AddFinalizer Propose", v1alpha1.OperationRunning, "leader",
		},
		"given in another region, under way": {
			shared(true).givenBy(others).becomes(ownership.OrderRunning), "AddFinalizer Propose", v1alpha1.OperationRunning, "",
		},
		"given in another region, and done long ago": {
			shared(false).givenBy(others).becomes(ownership.OrderSucceeded).but(func(w *world) {
				w.o.CreationTimestamp = metav1.NewTime(now.Add(-operation.DefaultTimeout))
			}), "AddFinalizer Propose", v1alpha1.OperationSucceeded, "owns no keys",
		},
		"another order has the name": {
			shared(false).givenBy(others).but(func(w *world) { w.o.Spec.Type = v1alpha1.OperationUndrain }),
			"", v1alpha1.OperationRefused, "another name",
		},
		"an order about a service that is gone since": {
			shared(true).givenBy(others).becomes(ownership.OrderSucceeded).but(func(w *world) { w.seen.Service = nil }),
			"AddFinalizer Propose", v1alpha1.OperationSucceeded, "accounts/user",
		},
		"made anew while the store forgets the last one": {
			shared(false).becomes(ownership.OrderSucceeded), "", v1alpha1.OperationPending, "",
		},
		"made anew in this cluster, given by others": {
			shared(false).givenBy(map[string]string{"beijing": "before", "shanghai": "v"}).becomes(ownership.OrderSucceeded),
			"AddFinalizer Propose", v1alpha1.OperationSucceeded, "",
		},
		"ended: it is kept": {shared(false).givenBy(both).becomes(ownership.OrderSucceeded).but(held).ended(), "", "", ""},
		"ended, in a store that does not know it": {
			shared(false).but(held).ended(), "RemoveFinalizer", "", "",
		},
		"ended, and the store is not known": {
			shared(false).but(held).ended().but(func(w *world) { w.seen.StoreKnown = false }), "", "", "",
		},
		"deleted": {
			shared(false).givenBy(both).but(held).ended().but(func(w *world) { w.o.DeletionTimestamp = ptr.To(metav1.NewTime(now)) }),
			"Withdraw RemoveFinalizer", "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := operation.Decide(now, c.w.o, c.w.seen)
			if diff := cmp.Diff(c.steps, kinds(got)); diff != "" {
				t.Errorf("steps (-want +got)\n%s", diff)
			}
			var state v1alpha1.OperationState
			message := ""
			if got.Answer != nil {
				state, message = got.Answer.State, got.Answer.Message
			}
			if state != c.state || !strings.Contains(message, c.words) {
				t.Errorf("answer %q: %s; want %q with %q", state, message, c.state, c.words)
			}
			for _, s := range got.Steps {
				if s.Kind == operation.StepPropose && s.Intent.Name != order.SharedName(c.w.o) {
					t.Errorf("proposed as %s", s.Intent.Name)
				}
			}
		})
	}
}
