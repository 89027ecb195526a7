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
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
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
func setupHub(_ context.Context, mgr ctrl.Manager, o hubOptions) error {
	timings, err := o.common.timings()
	if err != nil {
		return err
	}
	store, err := o.common.connectStore(coordination.Position{}, false)
	if err != nil {
		return err
	}
	wall := clock.RealClock{}
	view := follow.New(store, wall, timings.RegionLease, mgr.GetLogger().WithName("coordination"))
	registry := clusters.New(clusters.Options{
		Scheme: mgr.GetScheme(), Clock: wall, Log: mgr.GetLogger().WithName("clusters"),
	})
	closeStore := manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		return store.Close()
	})
	for _, part := range []manager.Runnable{view, registry, closeStore} {
		if err := mgr.Add(part); err != nil {
			return fmt.Errorf("adding a part to the manager: %w", err)
		}
	}
	pacer := pace.New(wall, func() (ownership.Configuration, bool) {
		now := view.Snapshot()
		return now.Configuration, now.Known
	})
	pacer.Signs = func() bool { return signs(view.Snapshot()) }
	if err := (&region.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: store,
		Namespace: o.common.operatorNamespace, Clock: wall, Recorder: mgr.GetEventRecorder("multiactive-region"), Pace: pacer,
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&multiactiveservice.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: store,
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
	}).SetupWithManager(mgr); err != nil {
		return err
	}
	return (&datastore.Reconciler{Client: mgr.GetClient(), Clock: wall}).SetupWithManager(mgr)
}
