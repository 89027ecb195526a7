package region

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/region"
	"multiactive.dev/operator/internal/port/clusters"
)

// kubeconfigKey is the key of the Secret that holds the kubeconfig.
const kubeconfigKey = "kubeconfig"

// observe reads what the region's report is made of. The cluster's own answer is the latest one
// known: nothing here waits for it.
func (r *Reconciler) observe(ctx context.Context, s subject) (plan.Seen, error) {
	rg := s.declared
	view := r.View.Snapshot()
	seen := plan.Seen{
		StoreKnown: view.Known, StoreConnected: view.Connected, StoreProblem: view.Problem,
		Configuration: view.Configuration, Beating: view.Beating, Peers: s.peers,
	}
	intent, proposed := view.Configuration.RegionIntents[rg.Name]
	if s.peers != nil && !s.peers.Acts {
		r.contests.forget(rg.Name) // whoever leads proposes, and that may be another thing than this hub did
	} else {
		r.contests.look(r.Clock.Now(), intent, proposed, &seen)
	}
	var err error
	if seen.Cluster, err = r.connect(ctx, rg); err != nil {
		return plan.Seen{}, err
	}
	if err := r.observeServices(ctx, rg, &seen); err != nil {
		return plan.Seen{}, err
	}
	return seen, nil
}

// observeServices notes which services declare the region, and which are settled elsewhere.
func (r *Reconciler) observeServices(ctx context.Context, rg *v1alpha1.Region, seen *plan.Seen) error {
	if rg.DeletionTimestamp.IsZero() {
		return nil // only a deletion asks
	}
	all, err := r.services(ctx)
	if err != nil {
		return err
	}
	seen.Settled = map[string]bool{}
	known := map[string]bool{}
	for _, mas := range all {
		known[string(mas.UID)] = true
		if slices.ContainsFunc(mas.Spec.Regions, func(s v1alpha1.ServiceRegion) bool { return s.Name == rg.Name }) {
			seen.Services = append(seen.Services, mas.Namespace+"/"+mas.Name)
			continue
		}
		uid := string(mas.UID)
		seen.Settled[uid] = seen.Configuration.Services[uid].SpecHash == desired.Ownership(mas).Hash
	}
	slices.Sort(seen.Services)
	for uid := range seen.Configuration.ServiceIntents {
		known[uid] = true
	}
	return r.holding(ctx, rg.Name, known, seen)
}

// holding notes which of the services that the hub knows the region's cluster has. Nothing is known of one
// that cannot be used.
func (r *Reconciler) holding(ctx context.Context, region string, known map[string]bool, seen *plan.Seen) error {
	cluster, err := r.Clusters.Get(region)
	if err != nil {
		return nil //nolint:nilerr // ClusterReachable tells it
	}
	var list v1alpha1.RegionalServiceList
	if err := cluster.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing what runs in region %s: %w", region, err)
	}
	for i := range list.Items {
		if s := &list.Items[i]; known[s.Spec.ServiceID] {
			seen.Holding = append(seen.Holding, s.Namespace+"/"+s.Name)
		}
	}
	slices.Sort(seen.Holding)
	return nil
}

// connect hands the kubeconfig to the registry, which does the same thing twice only once, and
// says how the cluster stands.
func (r *Reconciler) connect(ctx context.Context, rg *v1alpha1.Region) (plan.ClusterSeen, error) {
	if rg.Spec.Cluster == nil {
		r.Clusters.Remove(rg.Name)
		return plan.ClusterSeen{}, nil
	}
	name := rg.Spec.Cluster.KubeconfigSecretRef.Name
	invalid := func(reason, format string, args ...any) plan.ClusterSeen {
		r.Clusters.Remove(rg.Name)
		return plan.ClusterSeen{Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	var secret corev1.Secret
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return invalid(v1alpha1.ReasonSecretNotFound, "there is no Secret %s/%s: create it with the kubeconfig under the key %s",
			r.Namespace, name, kubeconfigKey), nil
	case err != nil:
		return plan.ClusterSeen{}, fmt.Errorf("reading Secret %s/%s: %w", r.Namespace, name, err)
	case len(secret.Data[kubeconfigKey]) == 0:
		return invalid(v1alpha1.ReasonKubeconfigInvalid, "Secret %s/%s has no key %s: store the kubeconfig under it",
			r.Namespace, name, kubeconfigKey), nil
	}
	access, err := r.accesses.parse(secret)
	if err != nil {
		return invalid(v1alpha1.ReasonKubeconfigInvalid, "Secret %s/%s: %v", r.Namespace, name, err), nil
	}
	if err := r.Clusters.Set(rg.Name, secret.Data[kubeconfigKey]); err != nil {
		return invalid(v1alpha1.ReasonKubeconfigInvalid, "Secret %s/%s: %v", r.Namespace, name, err), nil
	}
	seen := plan.ClusterSeen{Probe: apiServerProbe(access)}
	seen.Reason, seen.Message = r.standing(rg.Name, access.Server)
	return seen, nil
}

// accesses remembers what kubeconfigs say, by the Secrets' UIDs: a Region is looked at often, and its Secret changes
// hardly ever. Its zero value is empty.
type accesses struct {
	mu     sync.Mutex
	parsed map[types.UID]parsed
}

type parsed struct {
	version string
	access  *clusters.Access
	err     error
}

func (a *accesses) parse(secret corev1.Secret) (*clusters.Access, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, known := a.parsed[secret.UID]
	if !known || p.version != secret.ResourceVersion {
		p = parsed{version: secret.ResourceVersion}
		p.access, p.err = clusters.Parse(secret.Data[kubeconfigKey])
		if a.parsed == nil {
			a.parsed = map[types.UID]parsed{}
		}
		a.parsed[secret.UID] = p
	}
	return p.access, p.err
}

// standing returns a condition reason and a message without anything that changes from one
// failure to the next, such as ports and request IDs.
func (r *Reconciler) standing(region, server string) (reason, message string) {
	_, err := r.Clusters.Get(region)
	switch {
	case err == nil:
		return v1alpha1.ReasonConnected, ""
	case errors.Is(err, clusters.ErrNotConnected):
		return "", ""
	case errors.Is(err, clusters.ErrUnauthorized):
		return v1alpha1.ReasonUnauthorized, "the API server " + server + " refuses the credentials: renew the kubeconfig in the Secret, and bind " +
			"the hub's role for regions to its user"
	case errors.Is(err, clusters.ErrCRDsMissing):
		return v1alpha1.ReasonCRDsMissing, "the cluster at " + server + " does not serve " + v1alpha1.GroupVersion.String() +
			": install the CRDs and the member there"
	default:
		return v1alpha1.ReasonClusterUnreachable, "the API server " + server + " does not answer"
	}
}

// apiServerProbe returns the probe of an API server: its readiness over HTTPS, for which any
// answer counts, or a mere connection where the certificate cannot be verified by the CA alone.
func apiServerProbe(a *clusters.Access) *ownership.Probe {
	if len(a.CA) > 0 && a.ServerName == "" {
		return &ownership.Probe{
			Name: plan.ProbeAPIServer, URL: strings.TrimSuffix(a.Server, "/") + "/readyz", CABundle: a.CA,
		}
	}
	server, err := url.Parse(a.Server)
	if err != nil {
		return nil // Parse has accepted the URL
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	return &ownership.Probe{Name: plan.ProbeAPIServer, URL: "tcp://" + net.JoinHostPort(server.Hostname(), port)}
}
