package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/hub/datastore"
	"multiactive.dev/operator/controllers/hub/multiactiveservice"
	"multiactive.dev/operator/controllers/hub/operation"
	"multiactive.dev/operator/controllers/hub/region"
	"multiactive.dev/operator/controllers/hub/regionincident"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/peers"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/storehealth"
	"multiactive.dev/operator/internal/storeposition"
)

// hubOptions are what the hub needs besides its cluster.
type hubOptions struct {
	common commonOptions
}

// hubCache bounds what the hub keeps in memory: Secrets of its own namespace alone.
func hubCache(o commonOptions) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{o.operatorNamespace: {}}},
	}
}

// signs reports whether the hub itself sees that a region may be being lost: the store does not answer, or a
// region that should beat does not.
func signs(now follow.Snapshot) bool {
	if !now.Known {
		return false
	}
	for name, rec := range now.Configuration.View.Regions {
		if rec.State != ownership.RegionLost && !now.Beating[name] {
			return true
		}
	}
	return !now.Connected
}

// setupHub adds the hub's controllers, and what they read besides the hub's cluster.
func setupHub(mgr ctrl.Manager, o hubOptions) error {
	store, err := o.common.connectStore(coordination.Position{}, false)
	if err != nil {
		return err
	}
	log := mgr.GetLogger().WithName("coordination")
	health := &storehealth.Monitor{Store: store, Clock: clock.RealClock{}, Log: log}
	registry := newRegistry(mgr, false)
	adopted := &storeposition.Hub{
		Store: store, Namespace: o.common.operatorNamespace, Clock: clock.RealClock{}, Log: log,
		Regions: regionsWithCluster(mgr.GetClient()),
		Cluster: func(region string) (client.Reader, error) { c, err := registry.Get(region); return c.Client, err },
	}
	for _, part := range []manager.Runnable{health, adopted, closing(store)} {
		if err := mgr.Add(part); err != nil {
			return fmt.Errorf("adding a part to the manager: %w", err)
		}
	}
	return addHub(mgr, o, hubParts{store: store, health: health, registry: registry})
}

// setupHubBeside adds the hub's controllers beside a member, whose store they use. Which store that is, and
// how it does, is the member's matter.
func setupHubBeside(mgr ctrl.Manager, o hubOptions, own member) error {
	return addHub(mgr, o, hubParts{store: own.store, health: own.health, registry: newRegistry(mgr, true), beside: own.agent})
}

func newRegistry(mgr ctrl.Manager, withCopies bool) *clusters.Registry {
	return clusters.New(clusters.Options{
		Scheme: mgr.GetScheme(), Clock: clock.RealClock{}, Log: mgr.GetLogger().WithName("clusters"), Copies: withCopies,
	})
}

// hubParts are what the hub's controllers are made over.
type hubParts struct {
	store    *coordination.Store
	health   *storehealth.Monitor
	registry *clusters.Registry
	// beside is, in peer mode, the agent that they run beside.
	beside *agent.Agent
}

// proposer is who proposes what the hub decides: the store, or, in peer mode, the agent while it leads.
type proposer interface {
	region.Proposer
	multiactiveservice.Proposer
}

// addHub adds the hub's controllers, and what they follow the store and the regions' clusters with.
func addHub(mgr ctrl.Manager, o hubOptions, parts hubParts) error {
	wall, store, registry := clock.RealClock{}, parts.store, parts.registry
	view := follow.New(store, wall, o.common.timed().RegionLease, mgr.GetLogger().WithName("coordination"))
	view.Broken = parts.health.Broken
	for _, part := range []manager.Runnable{view, registry} {
		if err := mgr.Add(part); err != nil {
			return fmt.Errorf("adding a part to the manager: %w", err)
		}
	}
	pacer := pace.New(wall, func() (ownership.Configuration, bool) {
		now := view.Snapshot()
		return now.Configuration, now.Known
	})
	pacer.Signs = func() bool { return signs(view.Snapshot()) }
	var proposes proposer = store
	var group *peers.Group
	if beside := parts.beside; beside != nil {
		proposes = beside
		group = &peers.Group{Region: beside.Region(), Local: mgr.GetClient(), Clusters: registry, View: view, Leader: beside}
	}
	if err := (&region.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: proposes, Peers: group,
		Namespace: o.common.operatorNamespace, Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-region"), Pace: pacer,
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&multiactiveservice.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: proposes, Peers: group,
		Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-service"), Pace: pacer,
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&regionincident.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view,
		Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-incident"), Pace: pacer,
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&operation.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clusters: registry, View: view, Store: store, Clock: wall,
		Recorder: mgr.GetEventRecorder("multiactive-operation"), Peers: group, Shared: store,
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	return (&datastore.Reconciler{Client: mgr.GetClient(), Clusters: registry, Clock: wall}).SetupWithManager(mgr)
}

// regionsWithCluster returns what lists the regions that run a member.
func regionsWithCluster(reader client.Reader) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var list v1alpha1.RegionList
		if err := reader.List(ctx, &list); err != nil {
			return nil, err
		}
		var out []string
		for i := range list.Items {
			if list.Items[i].Spec.Cluster != nil {
				out = append(out, list.Items[i].Name)
			}
		}
		return out, nil
	}
}
