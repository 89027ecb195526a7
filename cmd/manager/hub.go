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

	"multiactive.dev/operator/controllers/hub/datastore"
	"multiactive.dev/operator/controllers/hub/multiactiveservice"
	"multiactive.dev/operator/controllers/hub/operation"
	"multiactive.dev/operator/controllers/hub/region"
	"multiactive.dev/operator/controllers/hub/regionincident"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/peers"
	"multiactive.dev/operator/internal/port/clusters"
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

// setupHub adds the hub's controllers, and what they read besides the hub's cluster.
func setupHub(mgr ctrl.Manager, o hubOptions) error {
	store, err := o.common.connectStore(coordination.Position{}, false)
	if err != nil {
		return err
	}
	closeStore := manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		return store.Close()
	})
	if err := mgr.Add(closeStore); err != nil {
		return fmt.Errorf("adding a part to the manager: %w", err)
	}
	return addHub(mgr, o, store, nil)
}

// proposer is who proposes what the hub decides: the store, or, in peer mode, the agent while it leads.
type proposer interface {
	region.Proposer
	multiactiveservice.Proposer
}

// addHub adds the hub's controllers over a store. In peer mode beside is the agent that they run beside.
func addHub(mgr ctrl.Manager, o hubOptions, store *coordination.Store, beside *agent.Agent) error {
	timings, err := o.common.timings()
	if err != nil {
		return err
	}
	wall := clock.RealClock{}
	view := follow.New(store, wall, timings.RegionLease, mgr.GetLogger().WithName("coordination"))
	registry := clusters.New(clusters.Options{
		Scheme: mgr.GetScheme(), Clock: wall, Log: mgr.GetLogger().WithName("clusters"), Copies: beside != nil,
	})
	for _, part := range []manager.Runnable{view, registry} {
		if err := mgr.Add(part); err != nil {
			return fmt.Errorf("adding a part to the manager: %w", err)
		}
	}
	var proposes proposer = store
	var group *peers.Group
	if beside != nil {
		proposes = beside
		group = &peers.Group{Region: beside.Region(), Local: mgr.GetClient(), Clusters: registry, View: view, Leader: beside}
	}
	if err := (&region.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: proposes, Peers: group,
		Namespace: o.common.operatorNamespace, Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-region"),
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&multiactiveservice.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: proposes, Peers: group,
		Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-service"),
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&regionincident.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view,
		Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-incident"),
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&operation.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), View: view, Store: store, Clock: wall, Peers: group, Shared: store,
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	return (&datastore.Reconciler{Client: mgr.GetClient(), Clock: wall}).SetupWithManager(mgr)
}
