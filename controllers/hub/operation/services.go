package operation

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/capacity"
	plan "multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/port/clusters"
)

// gather is how long news of the regions are gathered before the orders that wait for them are looked at.
const gather = 500 * time.Millisecond

// reckons reports whether it matters to an order what runs in the regions.
func reckons(o *v1alpha1.Operation) bool {
	switch o.Spec.Type {
	case v1alpha1.OperationDrain, v1alpha1.OperationUndrain, v1alpha1.OperationHandback, v1alpha1.OperationDrill,
		v1alpha1.OperationAnnounce:
		return !plan.Ended(o.Status.State)
	case v1alpha1.OperationApproveFailover, v1alpha1.OperationDeclareLost, v1alpha1.OperationAbandon:
	}
	return false
}

// allServices returns the services that an order is about which names none. regions are those that may have
// slices.
func (r *Reconciler) allServices(ctx context.Context, o *v1alpha1.Operation, regions []string) ([]capacity.Service, error) {
	if !reckons(o) {
		return nil, nil
	}
	if r.Peers != nil {
		services, err := r.allShared(ctx, regions)
		if err != nil {
			return nil, err
		}
		return r.servicesOf(ctx, o, services...)
	}
	var list v1alpha1.MultiActiveServiceList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	services := make([]*v1alpha1.MultiActiveService, len(list.Items))
	for i := range list.Items {
		services[i] = &list.Items[i]
	}
	return r.servicesOf(ctx, o, services...)
}

// allShared returns the services as most regions' clusters declare them.
func (r *Reconciler) allShared(ctx context.Context, regions []string) ([]*v1alpha1.MultiActiveService, error) {
	keys, err := r.Peers.Names(ctx)
	if err != nil {
		return nil, err
	}
	var out []*v1alpha1.MultiActiveService
	for _, key := range keys {
		mas, err := r.shared(ctx, v1alpha1.ServiceKey{Namespace: key.Namespace, Name: key.Name}, regions)
		if err != nil {
			return nil, err
		}
		if mas != nil {
			out = append(out, mas)
		}
	}
	return out, nil
}

// servicesOf returns the services with what the regions' clusters have of them, as far as the hub can use
// those. It reads from caches: it never waits for a region.
func (r *Reconciler) servicesOf(ctx context.Context, o *v1alpha1.Operation, list ...*v1alpha1.MultiActiveService) ([]capacity.Service, error) {
	if !reckons(o) {
		return nil, nil
	}
	var out []capacity.Service
	for _, mas := range list {
		s := capacity.Service{Declared: mas, Slices: map[string]*v1alpha1.RegionalService{}}
		for _, declared := range mas.Spec.Regions {
			cluster, err := r.Clusters.Get(declared.Name)
			if err != nil {
				continue // its Region says why
			}
			slice := &v1alpha1.RegionalService{}
			switch err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(mas), slice); {
			case apierrors.IsNotFound(err):
				s.Slices[declared.Name] = nil
			case err != nil:
				return nil, fmt.Errorf("reading the slice in region %s: %w", declared.Name, err)
			default:
				s.Slices[declared.Name] = slice
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// watchClusters wakes the orders that reckon with the regions when one of these reports on a service, or
// can be used again.
func (r *Reconciler) watchClusters(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Clusters.Listen(ctx, func(clusters.Change) {
		for _, o := range r.open(ctx) {
			if reckons(&o) {
				queue.AddAfter(request(o.Name), gather)
			}
		}
	})
	return nil
}
