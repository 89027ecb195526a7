package clusters

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
)

// failuresToDisconnect looks in a row must fail before a connection is given up: one lost packet
// must not cost a whole new cache.
const failuresToDisconnect = 2

// resource is what a region's cluster must serve.
const resource = "regionalservices"

// connection engages one cluster: it looks whether the API server answers, keeps a cache while it
// does, and throws the cache away when it does not, so that nobody takes old news for new.
type connection struct {
	region  string
	access  *Access
	options Options
	tell    func(Change)
	wake    chan struct{}

	mu    sync.Mutex
	ready client.Client // nil: not connected
	err   *ConnectionError
	// refused is what the API server last answered to a list or watch that it does not permit, and
	// abort ends the wait for one.
	refused error
	abort   context.CancelFunc
}

func newConnection(region string, access *Access, o Options, tell func(Change)) *connection {
	return &connection{
		region: region, access: access, options: o, tell: tell, wake: make(chan struct{}, 1),
		err: &ConnectionError{Region: region, Kind: ErrNotConnected},
	}
}

func (c *connection) get() (Cluster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready == nil {
		return Cluster{}, c.err
	}
	return Cluster{Region: c.region, Client: c.ready}, nil
}

func (c *connection) suspect() {
	select {
	case c.wake <- struct{}{}:
	default: // a look is due already
	}
}

// run keeps the connection until ctx ends.
func (c *connection) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		c.disconnected(err)
		select {
		case <-ctx.Done():
			return
		case <-c.options.Clock.After(c.options.RetryInterval):
		}
	}
}

// session lasts from a first answer of the API server until it stops answering, which is the
// error that it returns.
func (c *connection) session(ctx context.Context) error {
	requests := rest.CopyConfig(c.access.config)
	requests.Timeout = c.options.RequestTimeout
	requests.UserAgent = "multiactive-hub"
	requests.QPS = -1 // the API server's own priority and fairness limits us
	transport, err := rest.HTTPClientFor(requests)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	discovery, err := discoveryClient(requests, transport)
	if err != nil {
		return err
	}
	if err := c.look(ctx, discovery); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	engaged, reader, err := c.engage(requests, transport)
	if err != nil {
		return err
	}
	running.Go(func() { _ = reader.Start(ctx) }) // ends with ctx; a cache's Start fails only when called twice
	if err := c.listen(ctx, reader); err != nil {
		return err
	}
	c.connected(engaged)
	return c.watch(ctx, discovery)
}

// engage prepares the cache and the client that reads from it. Nothing is requested yet.
func (c *connection) engage(requests *rest.Config, transport *http.Client) (client.Client, cache.Cache, error) {
	watches := rest.CopyConfig(requests)
	watches.Timeout = 0 // a watch is meant to last; look notices a dead server
	watches.Wrap(func(next http.RoundTripper) http.RoundTripper { return noticing{next, c.suspect} })
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	kept := map[client.Object]cache.ByObject{}
	for _, k := range kinds(c.options) {
		mapper.Add(v1alpha1.GroupVersion.WithKind(k.name), k.scope)
		kept[k.object] = cache.ByObject{Transform: k.transform}
	}
	reader, err := cache.New(watches, cache.Options{
		Scheme: c.options.Scheme, Mapper: mapper,
		ByObject:                    kept,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
		DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) {
			c.watchFailed(err)
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the cache: %w", err)
	}
	writer, err := client.New(requests, client.Options{
		HTTPClient: transport, Scheme: c.options.Scheme, Mapper: mapper,
		// A Lease may be read, and not watched.
		Cache: &client.CacheOptions{Reader: reader, Unstructured: false, DisableFor: []client.Object{&coordinationv1.Lease{}}},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the client: %w", err)
	}
	return writer, reader, nil
}

// listen waits for the cache to have everything, and passes its changes on. The informer gets
// its own share of RequestTimeout: a server that answers one request may still hang on the next.
func (c *connection) listen(ctx context.Context, reader cache.Cache) error {
	ctx, cancel := context.WithTimeout(ctx, 2*c.options.RequestTimeout)
	defer cancel()
	c.mu.Lock()
	c.refused, c.abort = nil, cancel
	c.mu.Unlock()
	for _, k := range kinds(c.options) {
		informer, err := reader.GetInformer(ctx, k.object)
		if err != nil {
			return fmt.Errorf("listing %ss: %w", k.name, c.refusal(err))
		}
		if _, err = informer.AddEventHandler(k.handler(c.region, c.tell)); err != nil {
			return fmt.Errorf("listening for %ss: %w", k.name, err)
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			return fmt.Errorf("listing %ss took too long", k.name)
		}
	}
	return nil
}

// watchFailed is told of every list and watch that failed or ended.
func (c *connection) watchFailed(err error) {
	switch {
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return // the next list mends it
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		c.mu.Lock()
		c.refused = err
		if c.abort != nil {
			c.abort()
		}
		c.mu.Unlock()
	}
	c.suspect()
}

// refusal returns why a list was not permitted, which a wait that it ended does not tell.
func (c *connection) refusal(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused != nil {
		return c.refused
	}
	return err
}

// watch looks at the API server now and then, and at once when something failed, until it does
// not answer any more.
func (c *connection) watch(ctx context.Context, discovery rest.Interface) error {
	failures := 0
	for {
		pause := c.options.CheckInterval
		if failures > 0 {
			pause = c.options.RetryInterval
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-c.options.Clock.After(pause):
		}
		err := c.look(ctx, discovery)
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures >= failuresToDisconnect || !errors.Is(classify(c.region, err), ErrUnreachable) {
			return err
		}
		c.suspect()
	}
}

// look asks for the group's resources: one cheap request tells whether the API server answers,
// accepts the credentials and has the CRDs.
func (c *connection) look(ctx context.Context, discovery rest.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.RequestTimeout)
	defer cancel()
	var list metav1.APIResourceList
	err := discovery.Get().AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version).Do(ctx).Into(&list)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }) {
		return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource(resource).GroupResource(), resource)
	}
	return nil
}

func (c *connection) connected(engaged client.Client) {
	c.mu.Lock()
	c.ready, c.err = engaged, nil
	c.mu.Unlock()
	c.options.Log.Info("cluster connected", "region", c.region, "server", c.access.Server)
	c.tell(Change{Region: c.region})
}

func (c *connection) disconnected(err error) {
	fresh := classify(c.region, err)
	c.mu.Lock()
	news := c.ready != nil || c.err == nil || !errors.Is(c.err.Kind, fresh.Kind)
	c.ready, c.err = nil, fresh
	c.mu.Unlock()
	if news {
		c.options.Log.Info("cluster not usable", "region", c.region, "server", c.access.Server, "error", fresh.Error())
		c.tell(Change{Region: c.region})
	}
}

func discoveryClient(config *rest.Config, transport *http.Client) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion = &metav1.SchemeGroupVersion
	config.NegotiatedSerializer = negotiated
	client, err := rest.UnversionedRESTClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("preparing a client: %w", err)
	}
	return client, nil
}
