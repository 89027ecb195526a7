// Package hub_test runs the hub's controllers against real API servers, one for the hub and one
// for each region, and a real coordination store. The test plays the regions' members and the
// elected leader.
package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/hub/datastore"
	"multiactive.dev/operator/controllers/hub/multiactiveservice"
	"multiactive.dev/operator/controllers/hub/operation"
	"multiactive.dev/operator/controllers/hub/region"
	"multiactive.dev/operator/controllers/hub/regionincident"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

const (
	operatorNamespace = "multiactive-system"
	// soon is a generous bound for what should take a moment: the machine may be busy.
	soon = 30 * time.Second
	// lease is long, so that a busy machine silences no agent.
	lease = 20 * time.Second
)

func init() { ctrl.SetLogger(logr.Discard()) }

// world is a hub, its regions and a coordination store.
type world struct {
	t       *testing.T
	scheme  *runtime.Scheme
	hub     client.Client
	servers map[string]*apiserver.Server
	regions map[string]client.Client
	store   *coordination.Store
	leader  *leader
}

func newWorld(t *testing.T, regions ...string) *world {
	t.Helper()
	w := &world{t: t, regions: map[string]client.Client{}}
	w.scheme = runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		must(t, add(w.scheme))
	}
	w.servers = testkit.StartServers(t, apiserver.Options{}, append([]string{"hub"}, regions...)...)
	for _, name := range append([]string{"hub"}, regions...) {
		testkit.InstallCRDs(t, w.servers[name])
	}
	w.hub = w.client("hub")
	for _, name := range regions {
		w.regions[name] = w.client(name)
	}
	endpoints := testkit.StartStore(t, etcdstore.Options{}, "store").Endpoints()
	w.store = connect(t, endpoints)
	w.leader = lead(t, connect(t, endpoints))
	w.namespace(w.hub, operatorNamespace)
	w.runHub(connect(t, endpoints))
	return w
}

func connect(t *testing.T, endpoints []string) *coordination.Store {
	t.Helper()
	store, err := coordination.Connect(coordination.Options{Endpoints: endpoints})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func (w *world) client(name string) client.Client {
	w.t.Helper()
	c, err := client.New(testkit.Config(w.t, w.servers[name], apiserver.Admin), client.Options{Scheme: w.scheme})
	must(w.t, err)
	return c
}

// runHub runs the hub's controllers until the test ends.
func (w *world) runHub(store *coordination.Store) {
	w.t.Helper()
	skip := true
	mgr, err := ctrl.NewManager(testkit.Config(w.t, w.servers["hub"], apiserver.Admin), ctrl.Options{
		Scheme: w.scheme, Metrics: server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: &skip},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{operatorNamespace: {}}},
		}},
	})
	must(w.t, err)
	view := follow.New(store, clock.RealClock{}, lease, logr.Discard())
	registry := clusters.New(clusters.Options{
		Scheme: w.scheme, Clock: clock.RealClock{}, CheckInterval: time.Second, RetryInterval: 200 * time.Millisecond,
		RequestTimeout: 2 * time.Second,
	})
	for _, part := range []manager.Runnable{view, registry} {
		must(w.t, mgr.Add(part))
	}
	must(w.t, (&region.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: store, Namespace: operatorNamespace,
		Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("region"),
	}).SetupWithManager(mgr))
	must(w.t, (&multiactiveservice.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: store,
		Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("service"),
	}).SetupWithManager(mgr))
	must(w.t, (&regionincident.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view,
		Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("incident"),
	}).SetupWithManager(mgr))
	must(w.t, (&operation.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr))
	must(w.t, (&datastore.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the hub ended with: %v", err)
		}
	})
}

func (w *world) namespace(c client.Client, name string) {
	w.t.Helper()
	must(w.t, client.IgnoreAlreadyExists(c.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})))
}

// kubeconfig stores a Secret for the region, as a platform team would.
func (w *world) kubeconfig(region string, content []byte) {
	w.t.Helper()
	must(w.t, w.hub.Create(w.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: region},
		Data:       map[string][]byte{"kubeconfig": content},
	}))
}

// region declares a region whose cluster is the server of the same name.
func (w *world) region(name string) {
	w.t.Helper()
	content, err := w.servers[name].Kubeconfig(apiserver.Admin)
	must(w.t, err)
	w.kubeconfig(name, content)
	w.declare(name)
}

func (w *world) declare(name string) {
	w.t.Helper()
	must(w.t, w.hub.Create(w.t.Context(), &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			Cluster:           &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: name}},
			AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"multi": "yes"}}},
		},
	}))
}

// eventually waits until check passes for the object as the server has it.
func eventually[T client.Object](w *world, c client.Client, o T, check func(T) error) {
	w.t.Helper()
	within(w, soon, c, o, check)
}

func within[T client.Object](w *world, bound time.Duration, c client.Client, o T, check func(T) error) {
	w.t.Helper()
	testkit.Eventually(w.t, bound, func() error {
		if err := c.Get(w.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		return check(o)
	})
}

// is checks a condition: its status and reason, and that its message has the words.
func is(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason string, words ...string) error {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return fmt.Errorf("no condition %s", kind)
	}
	if c.Status != status || c.Reason != reason {
		return fmt.Errorf("%s is %s/%s (%s), want %s/%s", kind, c.Status, c.Reason, c.Message, status, reason)
	}
	for _, word := range words {
		if !contains(c.Message, word) {
			return fmt.Errorf("%s says %q, want it to mention %q", kind, c.Message, word)
		}
	}
	return nil
}

func contains(s, word string) bool {
	return strings.Contains(s, word)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// leader plays the elected leader and the regions' agents: it accepts what hubs propose and
// commits the views that a test asks for.
type leader struct {
	t     *testing.T
	store *coordination.Store
	term  *coordination.Term

	mu   sync.Mutex
	beat map[string]*coordination.Registration
	n    int64
}

func lead(t *testing.T, store *coordination.Store) *leader {
	t.Helper()
	term, err := store.Campaign(t.Context(), "test", 30*time.Second)
	must(t, err)
	l := &leader{t: t, store: store, term: term, beat: map[string]*coordination.Registration{}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for ctx.Err() == nil {
			l.accept(ctx)
			l.beats(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait(); term.Resign() })
	return l
}

// accept turns proposals into records, as the leader does.
func (l *leader) accept(ctx context.Context) {
	c, err := l.store.Read(ctx)
	if err != nil {
		return
	}
	for uid, intent := range c.ServiceIntents {
		record, known := c.Services[uid]
		switch {
		case !known && !intent.Deleted:
			record = ownership.ServiceRecord{UID: uid, Namespace: intent.Namespace, Name: intent.Name, SpecHash: intent.SpecHash, PeerKey: []byte("k")}
		case known && intent.Deleted && !record.Deleted:
			record.Deleted = true
		default:
			continue
		}
		_, _ = l.term.PutServiceRecord(ctx, c, record)
	}
	for uid, record := range c.Services {
		if _, wanted := c.ServiceIntents[uid]; record.Deleted && !wanted {
			_, _ = l.term.DeleteServiceRecord(ctx, c, uid)
		}
	}
}

func (l *leader) beats(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.store.Read(ctx)
	if err != nil {
		return
	}
	l.n++
	for _, registration := range l.beat {
		_, _ = registration.Beat(ctx, c, l.n)
	}
}

// agent lets a region's agent beat from now on; silence stops it.
func (l *leader) agent(region string) {
	l.t.Helper()
	registration, err := l.store.RegisterAgent(l.t.Context(), region, fmt.Sprintf("%s-%d", region, time.Now().UnixNano()))
	must(l.t, err)
	c, err := l.store.Read(l.t.Context())
	must(l.t, err)
	if !c.Gates[region].Open {
		_, err = l.term.OpenGate(l.t.Context(), c, region)
		must(l.t, err)
	}
	l.mu.Lock()
	l.beat[region] = registration
	l.mu.Unlock()
}

// commit writes the next view, with the regions' states changed.
func (l *leader) commit(states map[string]ownership.RegionRecord) int64 {
	l.t.Helper()
	var epoch int64
	l.retry(func(c ownership.Configuration) error {
		next := ownership.View{Epoch: c.View.Epoch + 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}}
		maps.Copy(next.Regions, c.View.Regions)
		maps.Copy(next.Regions, states)
		epoch = next.Epoch
		_, err := l.term.CommitView(l.t.Context(), c, next)
		return err
	})
	return epoch
}

func (l *leader) incident(i ownership.Incident) {
	l.t.Helper()
	l.retry(func(c ownership.Configuration) error {
		_, err := l.term.PutIncident(l.t.Context(), c, i)
		return err
	})
}

// hold writes why a region is left as it is; no reason: it is not.
func (l *leader) hold(region, reason string) {
	l.t.Helper()
	held := map[string]string{}
	if reason != "" {
		held[region] = reason
	}
	l.retry(func(ownership.Configuration) error {
		_, err := l.term.PutHeld(l.t.Context(), held)
		return err
	})
}

// retry repeats a write that something else came before.
func (l *leader) retry(write func(ownership.Configuration) error) {
	l.t.Helper()
	testkit.Eventually(l.t, soon, func() error {
		c, err := l.store.Read(l.t.Context())
		if err != nil {
			return err
		}
		return write(c)
	})
}

func serving() ownership.RegionRecord {
	return ownership.RegionRecord{State: ownership.RegionServing, Role: "Active", Since: time.Now().UTC()}
}

var errNotYet = errors.New("not yet")
