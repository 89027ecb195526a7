package multiactiveservice

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/capacity"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
	"multiactive.dev/operator/internal/port/clusters"
)

// observe reads everything from caches: it never waits for a region.
func (r *Reconciler) observe(ctx context.Context, s subject) (plan.Seen, error) {
	mas := s.declared
	view := r.View.Snapshot()
	seen := plan.Seen{
		Regions:    map[string]*plan.RegionSeen{},
		StoreKnown: view.Known, StoreConnected: view.Connected, StoreProblem: view.Problem, Configuration: view.Configuration, Peers: s.peers,
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, types.NamespacedName{Name: mas.Namespace}, &namespace); err != nil && !apierrors.IsNotFound(err) {
		return plan.Seen{}, fmt.Errorf("reading namespace %s: %w", mas.Namespace, err)
	}
	seen.NamespaceLabels = namespace.Labels
	orders, err := r.orders(ctx)
	if err != nil {
		return plan.Seen{}, err
	}
	seen.PreparedFor = capacity.PreparedFor(mas, orders)
	for name, rg := range s.regions {
		at, err := r.observeRegion(ctx, mas, rg)
		if err != nil {
			return plan.Seen{}, err
		}
		seen.Regions[name] = at
	}
	for _, declared := range mas.Spec.Regions {
		if seen.Regions[declared.Name] == nil {
			seen.Regions[declared.Name] = &plan.RegionSeen{Connection: plan.Unusable, Problem: "there is no such Region"}
		}
	}
	return seen, nil
}

// orders returns all Operations; in peer mode those of every cluster that can be read, since one may be given
// in any of them.
func (r *Reconciler) orders(ctx context.Context) ([]v1alpha1.Operation, error) {
	if r.Peers != nil {
		return r.Peers.Orders(ctx)
	}
	var list v1alpha1.OperationList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return list.Items, nil
}

func (r *Reconciler) observeRegion(ctx context.Context, mas *v1alpha1.MultiActiveService, rg *v1alpha1.Region) (*plan.RegionSeen, error) {
	at := &plan.RegionSeen{Region: rg}
	cluster, err := r.Clusters.Get(rg.Name)
	switch {
	case errors.Is(err, clusters.ErrNotConnected):
		at.Connection, at.Problem = plan.Connecting, "connecting"
		return at, nil
	case err != nil:
		at.Connection, at.Problem = plan.Unusable, "see the Region: "+kindOf(err)
		return at, nil
	}
	at.Connection = plan.Connected
	slice := &v1alpha1.RegionalService{}
	err = cluster.Client.Get(ctx, client.ObjectKeyFromObject(mas), slice)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return nil, fmt.Errorf("reading the slice in region %s: %w", rg.Name, err)
	default:
		at.Slice = slice
	}
	return at, nil
}

// kindOf returns what is wrong with a connection without what differs from one failure to the next.
func kindOf(err error) string {
	if connection, is := errors.AsType[*clusters.ConnectionError](err); is {
		return connection.Kind.Error()
	}
	return "not usable"
}
