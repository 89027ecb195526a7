package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/order"
	"multiactive.dev/operator/internal/testkit"
)

// hubPlays answers every Operation: the states in order, one after the other.
func (w *hubWorld) hubPlays(states ...v1alpha1.OperationState) {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			var list v1alpha1.OperationList
			if err := w.client.List(ctx, &list); err != nil {
				continue
			}
			for i := range list.Items {
				w.answers(ctx, &list.Items[i], states)
			}
			_ = sleep(ctx, 20*time.Millisecond)
		}
	}()
	w.t.Cleanup(func() { stop(); <-ended })
}

func (w *hubWorld) answers(ctx context.Context, o *v1alpha1.Operation, states []v1alpha1.OperationState) {
	next := 0
	for i, s := range states {
		if s == o.Status.State {
			next = i + 1
		}
	}
	if next == len(states) {
		return
	}
	o.Status.State = states[next]
	message := "owners are changing"
	if next == len(states)-1 {
		message = "region beijing owns no keys of any service, and will not before this is ordered: " + order.Command(v1alpha1.OperationUndrain, "beijing", nil)
	}
	o.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonOrderRunning, message)}
	_ = w.client.Status().Update(ctx, o) // once more, if it did not work
}

func (w *hubWorld) orders() []v1alpha1.Operation {
	w.t.Helper()
	var list v1alpha1.OperationList
	must(w.t, w.client.List(w.t.Context(), &list))
	return list.Items
}

func testOrders(t *testing.T, w *hubWorld) {
	w.put(regionObject("beijing", v1alpha1.RegionUp), regionObject("shanghai", v1alpha1.RegionUp), regionObject("shenzhen", v1alpha1.RegionUp), userService(t))

	w.expect(exitUsage, "drain").has("the region is missing")
	w.expect(exitUsage, "drain", "beijng").has(`there is no Region "beijng"; there are: beijing, shanghai, shenzhen`)
	w.expect(exitUsage, "drain", "beijing", "--service", "user").has(`no MultiActiveService "user" in namespace default; is it the one of -n accounts?`)
	w.expect(exitUsage, "drain", "beijing", "--capacity", "ignore").has("neither Wait nor Ignore")
	w.expect(exitUsage, "undrain", "beijing", "--capacity", "Ignore").has("unknown flag: --capacity")
	w.expect(exitAttention, "drain", "beijing").has("nothing was ordered", "give --yes")
	w.expect(0, "drain", "beijing", "--dry-run=client").has("Region beijing is Up, 2/2 observers reach it, epoch 7.", "beijing to shanghai", "replicas  shanghai: 3 to 6", "nothing was ordered")
	w.expect(0, "drain", "beijing", "--dry-run=server").has("the API server would take the order")
	w.expect(0, "drain", "beijing", "--dry-run=client", "-o", "yaml", "--reason", "power", "--service", "user", "-n", "accounts", "--timeout", "30m").
		has("generateName: drain-beijing-", "reason: power", "namespace: accounts", "timeout: 30m0s")
	w.expect(exitFailed, "drain", "beijing", "--yes", "--dry-run=server", "--name", "Not_A_Name").has("giving the order")
	w.answer = "no\n"
	w.expect(exitAttention, "drain", "beijing").has("Type yes", "nothing was ordered")
	w.answer = "yes\n"
	w.expect(exitAttention, "declare-lost", "beijing").has("cannot be undone", "Type beijing", "nothing was ordered")
	if n := len(w.orders()); n != 0 {
		t.Fatalf("%d orders were given by what gives none", n)
	}

	w.expect(0, "drain", "beijing", "--wait=false").has("Ordered: operation/drain-beijing-", "kubectl delete mop drain-beijing-")
	w.answer = "beijing\n"
	w.expect(0, "declare-lost", "beijing", "--wait=false", "--name", "gone", "--expected-epoch", "7").has("operation/gone")
	w.answer = ""
	w.expect(exitAttention, "handback", "beijing", "--yes", "--wait-timeout", "3s").has("Pending: waits for the hub to see it", "the order goes on: kubectl get mop handback-beijing-")
	for _, o := range w.orders() {
		if o.Name == "gone" && (o.Spec.Type != v1alpha1.OperationDeclareLost || o.Spec.ExpectedEpoch != 7 || o.Spec.Region != "beijing") {
			t.Errorf("ordered %+v", o.Spec)
		}
		must(t, w.client.Delete(t.Context(), &o))
	}

	w.hubPlays(v1alpha1.OperationPending, v1alpha1.OperationRunning, v1alpha1.OperationSucceeded)
	w.expect(0, "drain", "beijing", "--yes").has("Running: owners are changing", "Succeeded: ", "kubectl multiactive undrain beijing")
}

func testOrderIsRefusedOrDeleted(t *testing.T, w *hubWorld) {
	w.put(regionObject("beijing", v1alpha1.RegionDown), userService(t))
	var out bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- exitCode(run(t.Context(), []string{"approve", "beijing", "--yes", "--name", "mine"}, w.terminal(&out)), &out)
	}()
	testkit.Eventually(t, 30*time.Second, func() error {
		return w.client.Get(t.Context(), client.ObjectKey{Name: "mine"}, &v1alpha1.Operation{})
	})
	must(t, w.client.Delete(t.Context(), &v1alpha1.Operation{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}))
	if code := <-ended; code != exitFailed || !strings.Contains(out.String(), "operation mine was deleted") {
		t.Errorf("ended with %d:\n%s", code, out.String())
	}
	w.hubPlays(v1alpha1.OperationRefused)
	w.expect(exitFailed, "approve", "beijing", "--yes").has("Refused: ")
	w.expect(0, "abandon", "user", "-n", "accounts", "--dry-run=client").has("is not being deleted: the order will be refused")
}

// Every order that conditions tell of is told in this command's words.
func TestPlugin(t *testing.T) {
	user := &v1alpha1.ServiceKey{Namespace: "accounts", Name: "user"}
	for want, message := range map[string]string{
		"to go on: kubectl multiactive handback beijing. See":            "to go on: " + order.Command(v1alpha1.OperationHandback, "beijing", nil) + ". See",
		"kubectl multiactive approve beijing --service user -n accounts": order.Command(v1alpha1.OperationApproveFailover, "beijing", user),
		"kubectl multiactive drill beijing":                              order.Command(v1alpha1.OperationDrill, "beijing", nil),
		"kubectl multiactive abandon user -n accounts":                   order.Command(v1alpha1.OperationAbandon, "", user),
		"kubectl multiactive abandon user -n accounts --region beijing":  order.Command(v1alpha1.OperationAbandon, "beijing", user),
		order.Command("Future", "beijing", nil) + " and no others":       order.Command("Future", "beijing", nil) + " and no others",
	} {
		if got := plugin(message); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
