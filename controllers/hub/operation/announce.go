package operation

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/api/v1alpha1"
)

// announcements returns all Operations if the order is an announcement, which a later one may end; in peer mode those of
// every cluster that can be read.
func (r *Reconciler) announcements(ctx context.Context, o *v1alpha1.Operation) ([]v1alpha1.Operation, error) {
	if o.Spec.Type != v1alpha1.OperationAnnounce {
		return nil, nil
	}
	if r.Peers != nil {
		return r.Peers.Orders(ctx)
	}
	var list v1alpha1.OperationList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return list.Items, nil
}

// earlier wakes the announcements of a service that another one may end.
func (r *Reconciler) earlier(ctx context.Context, later client.Object) []reconcile.Request {
	o, is := later.(*v1alpha1.Operation)
	if !is || o.Spec.Type != v1alpha1.OperationAnnounce || o.Spec.Service == nil {
		return nil
	}
	var out []reconcile.Request
	for _, other := range r.open(ctx) {
		if other.Name != o.Name && other.Spec.Type == v1alpha1.OperationAnnounce && other.Spec.Service != nil && *other.Spec.Service == *o.Spec.Service {
			out = append(out, request(other.Name))
		}
	}
	return out
}
