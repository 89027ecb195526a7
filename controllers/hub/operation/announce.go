package operation

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/api/v1alpha1"
)

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
