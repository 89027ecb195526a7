// Package peer_test runs hubs in peer mode against real API servers, one for each region, and a real
// coordination store with a member in each. Every region has a real agent and its hub's controllers, as
// one process of it has; the test plays the regions' members.
package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/hub/multiactiveservice"
	"multiactive.dev/operator/controllers/hub/operation"
	"multiactive.dev/operator/controllers/hub/region"
	"multiactive.dev/operator/controllers/hub/regionincident"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peers"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

const (
	operatorNamespace = "multiactive-system"
	// soon is a generous bound for what should take seconds: the machine may be busy.
	soon = 90 * time.Second

	// peerUser is the manager's account, and remoteUser the one that regions' hubs have in each cluster.
	peerUser   = "system:serviceaccount:" + operatorNamespace + ":multiactive-peer"
	remoteUser = "system:serviceaccount:" + operatorNamespace + ":multiactive-hub-access"

	yes = metav1.ConditionTrue
	no  = metav1.ConditionFalse
)

func init() { ctrl.SetLogger(logr.Discard()) }

// timings keep a busy machine from losing regions.
func timings() ownership.Timings {
	t := ownership.DefaultTimings()
	t.RegionLease, t.DownAfter = 30*time.Second, 20*time.Second
	return t
}

// reachable is a Prober that finds everybody well.
type reachable struct{}

func (reachable) Probe(context.Context, ownership.Probe) error { return nil }

// world is the regions, each with its cluster and its peer, and the coordination store.
type world struct {
	t       *testing.T
	scheme  *runtime.Scheme
	names   []string
	servers map[string]*apiserver.Server
	regions map[string]client.Client
	etcd    *etcdstore.Store
	store   *coordination.Store
	peers   map[string]*peer
}

// peer is one region's process.
type peer struct {
	agent *agent.Agent
	stop  func()
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := &world{t: t, names: names, regions: map[string]client.Client{}, peers: map[string]*peer{}, scheme: runtime.NewScheme()}
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		must(t, add(w.scheme))
	}
	w.servers = testkit.StartServers(t, apiserver.Options{Users: []apiserver.User{{Name: peerUser}, {Name: remoteUser}}}, names...)
	w.etcd = testkit.StartStore(t, etcdstore.Options{}, names...)
	w.store = w.connect()
	t.Cleanup(func() { _ = w.store.Close() })
	testkit.InstallCRDs(t, slices.Collect(maps.Values(w.servers))...)
	for _, name := range names {
		c, err := client.New(testkit.Config(t, w.servers[name], apiserver.Admin), client.Options{Scheme: w.scheme})
		must(t, err)
		w.regions[name] = c
		must(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}))
		must(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}))
		w.grant(c)
	}
	for _, name := range names {
		content, err := w.servers[name].Kubeconfig(remoteUser)
		must(t, err)
		w.everywhere(func(c client.Client) error {
			return c.Create(t.Context(), &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: name}, Data: map[string][]byte{"kubeconfig": content},
			})
		})
		w.everywhere(func(c client.Client) error { return c.Create(t.Context(), declared(name)) })
	}
	for _, name := range names {
		w.start(name)
	}
	return w
}

// grant gives the peers the roles that they are installed with, and no others.
func (w *world) grant(c client.Client) {
	w.t.Helper()
	root, err := binaries.ModuleRoot()
	must(w.t, err)
	for _, name := range []string{"role.yaml", "binding.yaml", "hub_access.yaml"} {
		content, err := os.ReadFile(filepath.Join(root, "config", "rbac", "peer", name))
		must(w.t, err)
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
		for {
			o := &unstructured.Unstructured{}
			err := decoder.Decode(&o.Object)
			if errors.Is(err, io.EOF) {
				break
			}
			must(w.t, err)
			if len(o.Object) > 0 {
				must(w.t, c.Create(w.t.Context(), o))
			}
		}
	}
}

func declared(region string) *v1alpha1.Region {
	return &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: region},
		Spec: v1alpha1.RegionSpec{
			Cluster:           &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: region}},
			AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}},
		},
	}
}

func (w *world) connect() *coordination.Store {
	w.t.Helper()
	store, err := coordination.Connect(coordination.Options{Endpoints: w.etcd.Endpoints()})
	must(w.t, err)
	return store
}

// start runs a region's peer until it is stopped or the test ends.
func (w *world) start(name string) {
	w.t.Helper()
	store := w.connect()
	a, err := agent.New(agent.Config{
		Region: name, Store: store, Clock: agent.SystemClock(), Timings: timings(), Prober: reachable{}, Ballots: true,
		Log: testr.New(w.t).WithName(name),
	})
	must(w.t, err)
	mgr, err := ctrl.NewManager(testkit.Config(w.t, w.servers[name], peerUser), ctrl.Options{
		Scheme: w.scheme, Metrics: server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{operatorNamespace: {}}},
		}},
	})
	must(w.t, err)
	w.addHub(mgr, store, a)
	must(w.t, mgr.Add(manager.RunnableFunc(a.Run)))
	ctx, cancel := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("the peer of %s ended with: %v", name, err)
		}
		_ = store.Close()
	}
	w.t.Cleanup(stop)
	w.peers[name] = &peer{agent: a, stop: stop}
}

func (w *world) addHub(mgr ctrl.Manager, store *coordination.Store, a *agent.Agent) {
	w.t.Helper()
	view := follow.New(store, clock.RealClock{}, timings().RegionLease, testr.New(w.t).WithName(a.Region()+" follower"))
	registry := clusters.New(clusters.Options{
		Scheme: w.scheme, Clock: clock.RealClock{}, CheckInterval: time.Second, RetryInterval: 200 * time.Millisecond,
		RequestTimeout: 5 * time.Second, Copies: true,
	})
	for _, part := range []manager.Runnable{view, registry} {
		must(w.t, mgr.Add(part))
	}
	group := &peers.Group{Region: a.Region(), Local: mgr.GetClient(), Clusters: registry, View: view, Leader: a}
	must(w.t, (&region.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: a, Peers: group, Namespace: operatorNamespace,
		Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("region"),
	}).SetupWithManager(mgr))
	must(w.t, (&multiactiveservice.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Store: a, Peers: group,
		Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("service"),
	}).SetupWithManager(mgr))
	must(w.t, (&regionincident.Reconciler{
		Client: mgr.GetClient(), Clusters: registry, View: view, Clock: clock.RealClock{}, Recorder: mgr.GetEventRecorder("incident"),
	}).SetupWithManager(mgr))
	must(w.t, (&operation.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clusters: registry, View: view, Store: store, Clock: clock.RealClock{},
		Recorder: mgr.GetEventRecorder("operation"), Peers: group, Shared: store,
	}).SetupWithManager(mgr))
}

// leader waits for a leader that hubs act for, and names its region.
func (w *world) leader() string {
	w.t.Helper()
	var leader string
	testkit.Eventually(w.t, soon, func() error {
		c, err := w.store.Read(w.t.Context())
		if err != nil {
			return err
		}
		leader = c.LeadingRegion()
		if leader == "" || c.Ballot.Leader != c.Leader {
			return fmt.Errorf("leader %q, ballot %+v", c.Leader, c.Ballot)
		}
		return nil
	})
	return leader
}

// others returns the regions but the named ones.
func (w *world) others(names ...string) []string {
	return slices.DeleteFunc(slices.Clone(w.names), func(n string) bool { return slices.Contains(names, n) })
}

// configuration waits until check accepts what the coordination store has.
func (w *world) configuration(check func(ownership.Configuration) error) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		c, err := w.store.Read(w.t.Context())
		if err != nil {
			return err
		}
		return check(c)
	})
}

func (w *world) everywhere(do func(client.Client) error) { w.in(w.names, do) }

func (w *world) in(names []string, do func(client.Client) error) {
	w.t.Helper()
	for _, name := range names {
		if err := do(w.regions[name]); err != nil {
			w.t.Fatalf("region %s: %v", name, err)
		}
	}
}

// eventually waits until check passes for the object as each of the regions' servers has it.
func eventually[T client.Object](w *world, regions []string, fresh func() T, check func(T) error) {
	w.t.Helper()
	for _, name := range regions {
		testkit.Eventually(w.t, soon, func() error {
			o := fresh()
			if err := w.regions[name].Get(w.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return fmt.Errorf("region %s: %w", name, err)
			}
			if err := check(o); err != nil {
				return fmt.Errorf("region %s: %w", name, err)
			}
			return nil
		})
	}
}

// gone waits until the object is in none of the regions.
func gone[T client.Object](w *world, regions []string, fresh func() T) {
	w.t.Helper()
	for _, name := range regions {
		testkit.Eventually(w.t, soon, func() error {
			o := fresh()
			err := w.regions[name].Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("region %s has it: %w (%s)", name, err, describe(o))
		})
	}
}

func describe(o client.Object) string {
	if m, is := o.(*v1alpha1.MultiActiveService); is {
		if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			return fmt.Sprintf("finalizers %v, %s", m.Finalizers, c.Message)
		}
	}
	return fmt.Sprintf("finalizers %v", o.GetFinalizers())
}

// is checks a condition: its status and reason, and that its message has the words.
func is(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason string, words ...string) error {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return fmt.Errorf("no condition %s among %d", kind, len(conditions))
	}
	if c.Status != status || c.Reason != reason {
		return fmt.Errorf("%s is %s/%s (%s), want %s/%s", kind, c.Status, c.Reason, c.Message, status, reason)
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			return fmt.Errorf("%s says %q, want it to mention %q", kind, c.Message, word)
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// named returns the services that the store has accepted and not given up, by UID.
func named(c ownership.Configuration) []string {
	all := maps.Clone(c.Services)
	maps.DeleteFunc(all, func(_ string, s ownership.ServiceRecord) bool { return s.Deleted })
	return slices.Sorted(maps.Keys(all))
}
