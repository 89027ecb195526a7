// Package crowdworld is a world of the playground with a namespace for services that are only counted: three regions,
// each with an API server and a manager, and a hub.
package crowdworld

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/crowd"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/binaries"
)

// Regions of the world.
var Regions = []string{"beijing", "shanghai", "shenzhen"}

// World is one that runs.
type World struct {
	*world.World
	// Hub and Members are clients of the API servers.
	Hub     client.Client
	Members map[string]client.Client
	// Serving is what services declare of the regions.
	Serving []v1alpha1.ServiceRegion
}

// Start starts a world with no service in it, from programs in bin, with its files in dir. adjust, if given, changes its
// options. Whoever started it stops it.
func Start(ctx context.Context, bin, dir string, adjust ...func(*world.Options)) (*World, error) {
	root, err := binaries.ModuleRoot()
	if err != nil {
		return nil, err
	}
	m, err := world.ReadManifest(filepath.Join(root, "examples", "user", "multiactiveservice.yaml"))
	if err != nil {
		return nil, err
	}
	o := world.Options{
		Dir: dir, Root: root, Programs: bin, Self: filepath.Join(bin, "playground"), Manifest: m, Regions: Regions,
		Idle: []string{crowd.Namespace}, Progress: step, Clock: clock.RealClock{},
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, change := range adjust {
		change(&o)
	}
	w, err := world.New(o)
	if err != nil {
		return nil, err
	}
	c := &World{World: w, Members: map[string]client.Client{}, Serving: m.Service.Spec.Regions}
	if err := errors.Join(w.Start(ctx), c.connect(ctx)); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return c, nil
}

func step(what string) func(error) {
	return func(err error) {
		if err != nil {
			_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		}
	}
}

// connect makes the clients, and what the services need in every cluster.
func (w *World) connect(ctx context.Context) error {
	var err error
	if w.Hub, err = w.HubClient(); err != nil {
		return err
	}
	all := []client.Client{w.Hub}
	for _, r := range w.Regions() {
		if w.Members[r.Name], err = r.Client(); err != nil {
			return err
		}
		all = append(all, w.Members[r.Name])
	}
	for _, c := range all {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: crowd.Namespace, Labels: map[string]string{"multiactive.dev/services": "allowed"},
		}}
		if err := errors.Join(c.Create(ctx, namespace), c.Create(ctx, crowd.Application())); err != nil {
			return err
		}
	}
	return nil
}
