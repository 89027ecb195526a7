package operation

import (
	"context"
	"fmt"
	"reflect"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// watchView wakes the open orders, of which there are few, when the store says something about orders.
func (r *Reconciler) watchView(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	news := make(chan struct{}, 1)
	wake := func(before, after follow.Snapshot) {
		if !concerns(before, after) {
			return
		}
		select {
		case news <- struct{}{}:
		default: // a pass is due already
		}
	}
	r.View.Listen(ctx, wake)
	wake(follow.Snapshot{}, r.View.Snapshot())
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-news:
				r.wakeOpen(ctx, queue)
			}
		}
	}()
	return nil
}

// wakeOpen wakes the open orders, and a sweep for what the store has of orders that nobody gives any more:
// under the order's own name, which is no Operation's.
func (r *Reconciler) wakeOpen(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	intents := r.View.Snapshot().Configuration.OrderIntents
	known := map[string]bool{}
	var list v1alpha1.OperationList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing operations")
		return
	}
	for i := range list.Items {
		o := &list.Items[i]
		known[order.Name(o)] = true
		if _, proposed := intents[order.Name(o)]; proposed {
			queue.Add(request(o.Name))
		}
	}
	for _, o := range r.open(ctx) {
		queue.Add(request(o.Name))
	}
	for name := range intents {
		if !known[name] {
			queue.Add(request(name))
		}
	}
}

// concerns reports whether a change is about orders. Unchanged maps are the same maps, so comparing them
// costs nothing.
func concerns(before, after follow.Snapshot) bool {
	b, a := before.Configuration, after.Configuration
	return before.Known != after.Known || before.Connected != after.Connected || before.Problem != after.Problem || (b.Leader == "") != (a.Leader == "") ||
		changing(b) != changing(a) || !reflect.DeepEqual(b.Orders, a.Orders) || !reflect.DeepEqual(b.OrderIntents, a.OrderIntents)
}

// changing returns the order that the change under way was begun for.
func changing(c ownership.Configuration) string {
	if c.View.Change == nil {
		return ""
	}
	return c.View.Change.Order
}

// sweep withdraws what the store has of orders that are gone without having been withdrawn: a finalizer
// that was removed by hand, or a store that was restored.
func (r *Reconciler) sweep(ctx context.Context) error {
	intents := r.View.Snapshot().Configuration.OrderIntents // before the list, so that nothing new is in it
	if len(intents) == 0 {
		return nil
	}
	var list v1alpha1.OperationList
	if err := r.Reader.List(ctx, &list); err != nil {
		return fmt.Errorf("listing operations: %w", err)
	}
	known := map[string]bool{}
	for i := range list.Items {
		known[order.Name(&list.Items[i])] = true
	}
	for name := range intents {
		if known[name] {
			continue
		}
		if _, err := r.Store.DeleteOrderIntent(ctx, name); err != nil {
			return fmt.Errorf("withdrawing order %s: %w", name, err)
		}
	}
	return nil
}
