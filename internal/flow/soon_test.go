package flow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/internal/flow"
)

// TestGathered: what many objects ask for at the same time is one pass, and every kind of event asks for it.
func TestGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, gathered)
}

func gathered(t *testing.T) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	handler := flow.Gathered(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}}
	})
	in := func(namespace string) client.Object {
		o := &corev1.ConfigMap{}
		o.Namespace = namespace
		return o
	}
	for range 100 {
		handler.Create(t.Context(), event.CreateEvent{Object: in("a")}, queue)
	}
	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: in("b"), ObjectNew: in("c")}, queue)
	handler.Delete(t.Context(), event.DeleteEvent{Object: in("d")}, queue)
	handler.Generic(t.Context(), event.GenericEvent{Object: in("e")}, queue)
	synctest.Wait() // until the queue has taken them all
	if n := queue.Len(); n != 0 {
		t.Fatalf("%d requests do not wait", n)
	}
	got := map[string]bool{}
	for time.Sleep(flow.Gather); len(got) < 5; {
		req, _ := queue.Get()
		queue.Done(req)
		if got[req.Name] {
			t.Fatalf("%s is asked for twice", req.Name)
		}
		got[req.Name] = true
	}
	synctest.Wait()
	if n := queue.Len(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}
