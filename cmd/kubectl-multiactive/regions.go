package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/storeposition"
)

// perRequest bounds one call of an API server: one region that is away must not hold up the others.
const perRequest = 5 * time.Second

// kubeconfigKey is the key of a Region's Secret that holds the kubeconfig.
const kubeconfigKey = "kubeconfig"

// hubOptions are the flags of every command.
type hubOptions struct {
	namespace, context string
}

// parse reads the flags of a command that speaks with the hub.
func parse(args []string, t terminal, about string, o *hubOptions, bind func(*flag.FlagSet)) error {
	return parseFlags(args, t, about, func(fs *flag.FlagSet) {
		o.bind(fs)
		bind(fs)
	})
}

func (o *hubOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.namespace, "operator-namespace", "multiactive-system", "namespace of the operator, in the hub's cluster and in the regions'")
	fs.StringVar(&o.context, "context", "", "context of the kubeconfig that is the hub's cluster (default: the current one)")
}

// parseFlags reads the flags of a command. Its help is about, and the flags.
func parseFlags(args []string, t terminal, about string, bind func(*flag.FlagSet)) error {
	fs := flag.NewFlagSet("kubectl multiactive", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	config.RegisterFlags(fs)
	bind(fs)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(t.out, about)
		fs.SetOutput(t.out)
		fs.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", err, errUsage)
	case fs.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: %w", fs.Arg(0), errUsage)
	}
	return nil
}

// regionClient is how one region's cluster is reached, or why it is not.
type regionClient struct {
	name    string
	client  client.Client
	problem error
}

// connect returns the regions that the hub has, by name. A region that runs nothing has no cluster.
func (o hubOptions) connect(ctx context.Context, t terminal) ([]regionClient, error) {
	get := t.config
	if get == nil {
		get = config.GetConfigWithContext
	}
	hubConfig, err := get(o.context)
	if err != nil {
		return nil, fmt.Errorf("finding the hub's API server: %w; give --kubeconfig", err)
	}
	hubConfig.Timeout = perRequest
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	hub, err := client.New(hubConfig, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	var list v1alpha1.RegionList
	if err := hub.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing Regions in the hub: %w; is this the hub's kubeconfig?", err)
	}
	var out []regionClient
	for i := range list.Items {
		if rg := &list.Items[i]; rg.Spec.Cluster != nil {
			c, err := o.dial(ctx, hub, rg, scheme)
			out = append(out, regionClient{rg.Name, c, err})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the hub has no Region with a cluster; is this the hub's kubeconfig?")
	}
	slices.SortFunc(out, func(a, b regionClient) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// dial prepares a client of the region's cluster. Nothing is asked of the cluster yet.
func (o hubOptions) dial(ctx context.Context, hub client.Client, rg *v1alpha1.Region, scheme *runtime.Scheme) (client.Client, error) {
	name := rg.Spec.Cluster.KubeconfigSecretRef.Name
	var secret corev1.Secret
	if err := hub.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s in the hub: %w", o.namespace, name, err)
	}
	access, err := clusters.Parse(secret.Data[kubeconfigKey])
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig in Secret %s/%s in the hub: %w", o.namespace, name, err)
	}
	c := access.Config()
	c.Timeout = perRequest
	// Without a mapper of its own the client would ask the cluster for one here.
	return client.New(c, client.Options{Scheme: scheme, Mapper: leaseMapper()})
}

// standing is what a region's Lease says, or why nothing is known.
type standing struct {
	region string
	// problem is why the Lease could not be read.
	problem error
	// fresh: there is no Lease. The region has followed no store yet.
	fresh bool
	kept  storeposition.Kept
	// moved changes whenever the region has written what it keeps.
	moved string
	// lasts is how long a lease of the region may run on.
	lasts time.Duration
	// refusedID is the store that is refused, 0 when none is.
	refusedID                    uint64
	refused, since, word, answer string
	// trouble is what else the region reports, troubleSince since when.
	trouble, troubleSince string
}

// follows reports whether the region follows the store and does not refuse it.
func (s *standing) follows(id uint64) bool {
	return s.problem == nil && !s.fresh && s.kept.Position.ClusterID == id && s.refusedID == 0 && !s.kept.Restored
}

// look reads what every region says, all at once.
func (o hubOptions) look(ctx context.Context, regions []regionClient) []standing {
	out := make([]standing, len(regions))
	var all sync.WaitGroup
	for i, r := range regions {
		all.Go(func() { out[i] = o.lookAt(ctx, r) })
	}
	all.Wait()
	return out
}

func (o hubOptions) lookAt(ctx context.Context, r regionClient) standing {
	s := standing{region: r.name, problem: r.problem}
	if s.problem != nil {
		return s
	}
	var lease coordinationv1.Lease
	err := r.client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: storeposition.LeaseName}, &lease)
	switch {
	case apierrors.IsNotFound(err):
		s.fresh = true
		return s
	case err != nil:
		s.problem = err
		return s
	}
	return read(s, &lease)
}

func read(s standing, lease *coordinationv1.Lease) standing {
	s.kept, s.problem = storeposition.Parse(lease)
	if s.problem != nil {
		return s
	}
	if lease.Spec.RenewTime != nil {
		s.moved = lease.Spec.RenewTime.UTC().Format(time.RFC3339Nano)
	}
	if n := lease.Spec.LeaseDurationSeconds; n != nil {
		s.lasts = time.Duration(*n) * time.Second
	}
	a := lease.Annotations
	s.refused, s.since = a[storeposition.RefusedAnnotation], a[storeposition.RefusedSinceAnnotation]
	s.trouble, s.troubleSince = a[storeposition.TroubleAnnotation], a[storeposition.TroubleSinceAnnotation]
	s.word, s.answer = a[storeposition.AdoptAnnotation], a[storeposition.AdoptionAnnotation]
	if id := a[storeposition.RefusedIDAnnotation]; id != "" {
		s.refusedID, s.problem = storeposition.ParseID(id)
	}
	return s
}
