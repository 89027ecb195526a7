package clusters

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Defaults of Options.
const (
	DefaultRequestTimeout = 5 * time.Second
	DefaultCheckInterval  = 10 * time.Second
	DefaultRetryInterval  = 2 * time.Second
)

// Options configure a Registry.
type Options struct {
	// Scheme has the types of multiactive.dev. Required.
	Scheme *runtime.Scheme
	// Clock is required.
	Clock clock.WithTicker
	Log   logr.Logger
	// RequestTimeout bounds every request to a cluster. Default 5 s.
	RequestTimeout time.Duration
	// CheckInterval is the time between looks at a cluster that answers; a broken watch or a failed
	// request is looked into at once. Default 10 s.
	CheckInterval time.Duration
	// RetryInterval is the time between looks at one that does not. Default 2 s.
	RetryInterval time.Duration
	// Copies has the clusters' MultiActiveServices and Regions kept too, without their statuses: in peer
	// mode every cluster has a copy.
	Copies bool
}

// Change is news about a region's cluster.
type Change struct {
	Region string
	// Service is the RegionalService that changed, or the MultiActiveService.
	Service types.NamespacedName
	// Declared is the Region object that changed.
	Declared string
	// Order is the Operation that changed. With none of them, the connection itself did.
	Order string
}

// Connection reports whether the news are about the connection itself.
func (c Change) Connection() bool {
	return c.Service == (types.NamespacedName{}) && c.Declared == "" && c.Order == ""
}

// Cluster is a region's cluster that answered the latest look at it.
type Cluster struct {
	Region string
	// Client reads RegionalServices, and the copies with Options.Copies, from a synchronised cache, and Leases
	// from the API server, to which it sends all writes; each request is bounded by Options.RequestTimeout.
	// It knows no other kinds.
	Client client.Client
}

// Registry holds the regions' clusters. It is safe for concurrent use.
type Registry struct {
	options Options

	mu        sync.Mutex
	ctx       context.Context // nil before Start
	members   map[string]*member
	running   sync.WaitGroup
	listeners map[int]func(Change)
	next      int
}

type member struct {
	kubeconfig []byte
	connection *connection
	cancel     context.CancelFunc
}

// New returns an empty Registry. Clusters are engaged once it is started.
func New(o Options) *Registry {
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	if o.CheckInterval <= 0 {
		o.CheckInterval = DefaultCheckInterval
	}
	if o.RetryInterval <= 0 {
		o.RetryInterval = DefaultRetryInterval
	}
	return &Registry{options: o, members: map[string]*member{}, listeners: map[int]func(Change){}}
}

// Start engages clusters until ctx ends, and returns when all are let go.
func (r *Registry) Start(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for _, m := range r.members {
		r.engage(m)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.running.Wait()
	return nil
}

// Set names a region's cluster and engages it in the background. The same kubeconfig again changes
// nothing; another one replaces the connection. An unusable one is a *KubeconfigError and ends the
// connection that there was: credentials that were taken back must not be used on.
func (r *Registry) Set(region string, kubeconfig []byte) error {
	r.mu.Lock()
	if m := r.members[region]; m != nil && bytes.Equal(m.kubeconfig, kubeconfig) {
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()
	access, err := Parse(kubeconfig)
	if err != nil {
		r.Remove(region)
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(region)
	m := &member{kubeconfig: bytes.Clone(kubeconfig), connection: newConnection(region, access, r.options, r.tell)}
	r.members[region] = m
	if r.ctx != nil {
		r.engage(m)
	}
	return nil
}

// Remove lets go of a region's cluster.
func (r *Registry) Remove(region string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(region)
}

// Get returns a region's cluster, or a *ConnectionError. It never waits.
func (r *Registry) Get(region string) (Cluster, error) {
	r.mu.Lock()
	m := r.members[region]
	r.mu.Unlock()
	if m == nil {
		return Cluster{}, &ConnectionError{Region: region, Kind: ErrUnknown}
	}
	return m.connection.get()
}

// Suspect asks for a look at a region's cluster now, for callers whose request to it failed.
func (r *Registry) Suspect(region string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[region]; m != nil {
		m.connection.suspect()
	}
}

// Listen calls listener with news of all regions until ctx ends. It may be called from several
// goroutines and must not block.
func (r *Registry) Listen(ctx context.Context, listener func(Change)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.next
	r.next++
	r.listeners[id] = listener
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.listeners, id)
	})
}

func (r *Registry) tell(c Change) {
	r.mu.Lock()
	listeners := make([]func(Change), 0, len(r.listeners))
	for _, l := range r.listeners {
		listeners = append(listeners, l)
	}
	r.mu.Unlock()
	for _, l := range listeners {
		l(c)
	}
}

// engage runs the member's connection. mu is held.
func (r *Registry) engage(m *member) {
	ctx, cancel := context.WithCancel(r.ctx)
	m.cancel = cancel
	r.running.Go(func() { m.connection.run(ctx) })
}

// drop ends a region's connection in the background. mu is held.
func (r *Registry) drop(region string) {
	m := r.members[region]
	if m == nil {
		return
	}
	delete(r.members, region)
	if m.cancel != nil {
		m.cancel()
	}
}
