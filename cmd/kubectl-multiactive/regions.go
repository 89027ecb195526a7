package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
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
	// kubeconfig is the flag that names the file.
	kubeconfig *pflag.Flag
}

func (o *hubOptions) bind(fs *pflag.FlagSet) {
	fs.StringVar(&o.namespace, "operator-namespace", "multiactive-system", "namespace of the operator, in the hub's cluster and in the regions'")
	fs.StringVar(&o.context, "context", "", "context of the kubeconfig that is the hub's cluster (default: the current one)")
	bindKubeconfig(fs)
	o.kubeconfig = fs.Lookup(config.KubeconfigFlagName)
}

// bindKubeconfig lets the command line name the kubeconfig.
func bindKubeconfig(fs *pflag.FlagSet) {
	var known flag.FlagSet
	config.RegisterFlags(&known)
	fs.AddGoFlagSet(&known)
	fs.Lookup(config.KubeconfigFlagName).Usage = "`file` with the kubeconfig (default: $KUBECONFIG, or ~/.kube/config)"
}

// regionClient is how one region's cluster is reached, or why it is not.
type regionClient struct {
	name    string
	client  client.Client
	config  *rest.Config
	problem error
}

// connect returns the regions that the hub has, by name. A region that runs nothing has no cluster.
func (o hubOptions) connect(ctx context.Context, t terminal) ([]regionClient, error) {
	hub, err := o.hub(t)
	if err != nil {
		return nil, err
	}
	var list v1alpha1.RegionList
	if err := hub.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing Regions in the hub: %w; is this the hub's kubeconfig?", err)
	}
	var out []regionClient
	for i := range list.Items {
		if rg := &list.Items[i]; rg.Spec.Cluster != nil {
			c, config, err := o.dial(ctx, hub, rg)
			out = append(out, regionClient{rg.Name, c, config, err})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the hub has no Region with a cluster; is this the hub's kubeconfig?")
	}
	slices.SortFunc(out, func(a, b regionClient) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// dial prepares a client of the region's cluster. Nothing is asked of the cluster yet.
func (o hubOptions) dial(ctx context.Context, hub client.Client, rg *v1alpha1.Region) (client.Client, *rest.Config, error) {
	name := rg.Spec.Cluster.KubeconfigSecretRef.Name
	var secret corev1.Secret
	if err := hub.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: name}, &secret); err != nil {
		return nil, nil, fmt.Errorf("reading Secret %s/%s in the hub: %w", o.namespace, name, err)
	}
	access, err := clusters.Parse(secret.Data[kubeconfigKey])
	if err != nil {
		return nil, nil, fmt.Errorf("reading the kubeconfig in Secret %s/%s in the hub: %w", o.namespace, name, err)
	}
	c := access.Config()
	c.Timeout = perRequest
	// Without a mapper of its own the client would ask the cluster for one here.
	out, err := client.New(c, client.Options{Scheme: hub.Scheme(), Mapper: leaseMapper()})
	return out, c, err
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
