// Command manager runs MultiActive's controllers: those of the hub, which turn declarations into
// one slice per region, those of a region's member, which act on the slice, or both. It wires parts
// together and decides nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"multiactive.dev/operator/api/v1alpha1"
	opmetrics "multiactive.dev/operator/internal/metrics"
	_ "multiactive.dev/operator/internal/publicroots"
)

// version is set by the linker.
var version = "dev"

func main() {
	err := run(ctrl.SetupSignalHandler(), os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "manager: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, os.Getenv, stdout)
	if err != nil {
		return err
	}
	if o.common.showVersion {
		_, err := fmt.Fprintln(stdout, version)
		return err
	}
	logger := zap.New(zap.UseFlagOptions(&o.logging), zap.WriteTo(stderr))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger.WithName("client-go"))
	restConfig, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the Kubernetes API server: %w; give --kubeconfig, or run in a Pod", err)
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	if o.common.check {
		return check(ctx, o, restConfig, scheme, clock.RealClock{}.Now(), stdout)
	}
	settings := managerOptions(&o, scheme)
	if settings.LeaderElectionResourceLockInterface, err = electionLock(restConfig, o.common); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(restConfig, settings)
	if err != nil {
		return fmt.Errorf("preparing the controller manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the liveness check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	if err := o.common.webhook.setup(mgr, o.common.operatorNamespace); err != nil {
		return err
	}
	if err := setup(ctx, mgr, o); err != nil {
		return fmt.Errorf("preparing mode %s: %w", o.common.mode, err)
	}
	return mgr.Start(ctx)
}

func setup(ctx context.Context, mgr ctrl.Manager, o options) error {
	o.member.common = o.common
	objects := &opmetrics.Objects{Reader: mgr.GetCache(), Hub: o.common.mode != modeMember, Member: o.common.mode != modeHub}
	if err := metrics.Registry.Register(objects); err != nil {
		return fmt.Errorf("registering the objects' metrics: %w", err)
	}
	switch o.common.mode {
	case modeHub:
		return setupHub(mgr, hubOptions{common: o.common})
	case modePeer:
		return setupPeer(ctx, mgr, o.member)
	}
	_, err := setupMember(ctx, mgr, o.member)
	return err
}

func managerOptions(o *options, scheme *runtime.Scheme) ctrl.Options {
	m := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       server.Options{BindAddress: o.common.metricsAddress},
		PprofBindAddress:              o.common.pprofAddress,
		HealthProbeBindAddress:        o.common.healthAddress,
		LeaderElection:                o.common.leaderElect,
		LeaderElectionID:              electionID(o.common.mode),
		LeaderElectionNamespace:       o.common.operatorNamespace,
		LeaderElectionReleaseOnCancel: true,
		Cache:                         cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	}
	switch o.common.mode {
	case modeHub:
		m.Cache.ByObject = hubCache(o.common)
	case modeMember:
		m.Cache.ByObject = memberCache()
	case modePeer:
		m.Cache.ByObject = memberCache()
		maps.Copy(m.Cache.ByObject, hubCache(o.common))
	}
	if server := o.common.webhook.server(); server != nil {
		m.WebhookServer = server
		maps.Copy(m.Cache.ByObject, o.common.webhook.cached())
	}
	return m
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the built-in types: %w", err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering multiactive.dev: %w", err)
	}
	return scheme, nil
}
