// Package hub_test runs the hub's controllers against real API servers, one for the hub and one
// for each region, and a real coordination store. The test plays the regions' members and the
// elected leader.
package hub_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/writelog"
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
	// clock of the hub's controllers of services and orders.
	clock ahead
	// written has what the hub has written to its own API server.
	written writelog.Log
	// endpoints of the store, and what stops the hub.
	endpoints []string
	stopHub   func()
}

// wrote counts the hub's writes of one object, by what comes after its name.
func (w *world) wrote(object string) map[string]int {
	return w.written.Count(func(write string) (string, bool) {
		_, what, is := strings.Cut(write+"/", "/"+object+"/")
		return what, is
	})
}

// ahead is a clock that goes before the real one, by nothing to begin with.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time { return time.Now().Add(time.Duration(a.by.Load())) }

func (a *ahead) Since(t time.Time) time.Duration { return a.Now().Sub(t) }

func newWorld(t *testing.T, regions ...string) *world {
	t.Helper()
	w := &world{t: t, regions: map[string]client.Client{}}
	w.scheme = runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		must(t, add(w.scheme))
	}
	w.servers = testkit.StartServers(t, apiserver.Options{}, append([]string{"hub"}, regions...)...)
	testkit.InstallCRDs(t, slices.Collect(maps.Values(w.servers))...)
	w.hub = w.client("hub")
	for _, name := range regions {
		w.regions[name] = w.client(name)
	}
	endpoints := testkit.StartStore(t, etcdstore.Options{}, "store").Endpoints()
	w.store = connect(t, endpoints)
	w.leader = lead(t, connect(t, endpoints))
	w.namespace(w.hub, operatorNamespace)
	w.endpoints = endpoints
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
	access := testkit.Config(w.t, w.servers["hub"], apiserver.Admin)
	access.Wrap(w.written.Wrap)
	mgr, err := ctrl.NewManager(access, ctrl.Options{
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
		Clock: &w.clock, Recorder: mgr.GetEventRecorder("service"),
	}).SetupWithManager(mgr))
	must(w.t, (&regionincident.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view,
		Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("incident"),
	}).SetupWithManager(mgr))
	must(w.t, (&operation.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clusters: registry, View: view, Store: store, Clock: &w.clock,
		Recorder: mgr.GetEventRecorder("order"),
	}).SetupWithManager(mgr))
	must(w.t, (&datastore.Reconciler{Client: mgr.GetClient(), Clusters: registry, Clock: clock.RealClock{}}).SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.stopHub = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the hub ended with: %v", err)
		}
	})
	w.t.Cleanup(w.stopHub)
}

// restartHub stops the hub's controllers, lets something happen without them, and runs others that know nothing.
func (w *world) restartHub(meanwhile func()) {
	w.t.Helper()
	w.stopHub()
	meanwhile()
	w.runHub(connect(w.t, w.endpoints))
}

func (w *world) namespace(c client.Client, name string) {
	w.t.Helper()
	must(w.t, client.IgnoreAlreadyExists(c.Create(w.t.Context(), namespaced(name))))
}

func namespaced(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
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
