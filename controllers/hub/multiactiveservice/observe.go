package multiactiveservice

import (
	"context"
	"errors"
	"fmt"
	stdslices "slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/peers"
	"multiactive.dev/operator/internal/plan/announcement"
	"multiactive.dev/operator/internal/plan/capacity"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
	"multiactive.dev/operator/internal/port/clusters"
)

// observe reads everything from caches, but for a DNSEndpoint of this cluster: it never waits for a region.
func (r *Reconciler) observe(ctx context.Context, now time.Time, s subject) (plan.Seen, error) {
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
	seen.NamespaceLabels, seen.DNSHosts = namespace.Labels, namespace.Annotations[v1alpha1.AnnotationDNSHosts]
	seen.DNS = r.observeDNS(ctx, s)
	var err error
	if seen.DNSHostOf, err = r.dnsClaimant(ctx, mas); err != nil {
		return plan.Seen{}, err
	}
	orders, err := peers.AllOrders(ctx, r.Client, r.Peers)
	if err != nil {
		return plan.Seen{}, err
	}
	seen.PreparedFor = capacity.PreparedFor(mas, orders)
	seen.Announced = announcement.Shown(now, v1alpha1.ServiceKey{Namespace: mas.Namespace, Name: mas.Name}, orders)
	if seen.Stores, seen.StoreClaims, err = r.stores(ctx, mas); err != nil {
		return plan.Seen{}, err
	}
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

// stores returns the DataStores that the service names, in peer mode those of this cluster, and which of those that
// one service alone may use another one has.
func (r *Reconciler) stores(ctx context.Context, mas *v1alpha1.MultiActiveService) (map[string]*v1alpha1.DataStore, map[string]string, error) {
	out, claims := map[string]*v1alpha1.DataStore{}, map[string]string{}
	for _, name := range slices.StoreNames(mas.Spec) {
		d := &v1alpha1.DataStore{}
		err := r.Client.Get(ctx, types.NamespacedName{Name: name}, d)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("reading DataStore %s: %w", name, err)
		}
		out[name] = d
		if d.Spec.Topology.Type != v1alpha1.TopologyPrimaryReplica || d.Spec.Management == v1alpha1.StoreExternal {
			continue
		}
		named := func(other *v1alpha1.MultiActiveService) bool {
			return stdslices.Contains(slices.StoreNames(other.Spec), name)
		}
		if claims[name], err = r.claimant(ctx, mas, named); err != nil {
			return nil, nil, err
		}
	}
	return out, claims, nil
}

// claimant returns the service whose declaration also claims something, and that was made before this one; "" when none
// was.
func (r *Reconciler) claimant(ctx context.Context, mas *v1alpha1.MultiActiveService, claims func(other *v1alpha1.MultiActiveService) bool) (string, error) {
	var list v1alpha1.MultiActiveServiceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("listing services: %w", err)
	}
	first := mas
	for i := range list.Items {
		other := &list.Items[i]
		if other.Namespace == mas.Namespace && other.Name == mas.Name || !claims(other) {
			continue
		}
		if c := other.CreationTimestamp.Compare(first.CreationTimestamp.Time); c < 0 || c == 0 && other.UID < first.UID {
			first = other
		}
	}
	if first == mas {
		return "", nil
	}
	return first.Namespace + "/" + first.Name, nil
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
