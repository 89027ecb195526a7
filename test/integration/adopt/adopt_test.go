// Package adopt_test runs a region's member and the hub as processes against a real API server and a real
// etcd, which is replaced under them.
package adopt_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/storeposition"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/ports"
)

const (
	namespace = "multiactive-system"
	// soon is a generous bound for what should take seconds: the machine may be busy.
	soon = 90 * time.Second
)

// TestMember: a member that meets another store refuses it and says so on its Lease, adopts it at a person's
// word and ends; the next one follows it, with an epoch above all that the region has seen. The hub says in
// the Region that it refuses the store, and ends when its region has adopted it.
func TestMember(t *testing.T) {
	w := newWorld(t)
	store := w.startStore("one")
	first, hub := w.startMember(), w.startHub()
	w.intent(store)
	w.eventually("the first store is followed", func(kept storeposition.Kept, _ map[string]string) bool {
		return kept.Position.Revision > 0 && kept.Epoch > 0
	})
	w.region("it serves", "True", "serves")
	seen := w.kept()

	must(t, store.Kill())
	store = w.startStore("two")
	w.intent(store)
	var refused string
	w.eventually("the second store is refused", func(kept storeposition.Kept, a map[string]string) bool {
		refused = a[storeposition.RefusedIDAnnotation]
		return kept.Position.ClusterID == seen.Position.ClusterID && refused != ""
	})
	w.region("the hub tells that it refuses the store", "Unknown", "the coordination store is not the one known so far")
	w.say("abc")
	w.eventually("a word for another store is answered", func(_ storeposition.Kept, a map[string]string) bool {
		return strings.Contains(a[storeposition.AdoptionAnnotation], "not 0000000000000abc")
	})
	w.say(refused)
	if err := first.wait(soon); err == nil || !strings.Contains(first.log(), storeposition.ErrAdopted.Error()) {
		t.Fatalf("the member ended with %v, want that it says why:\n%s", err, first.log())
	}
	if err := hub.wait(soon); err == nil || !strings.Contains(hub.log(), storeposition.ErrRegionsAdopted.Error()) {
		t.Fatalf("the hub ended with %v, want that it says why:\n%s", err, hub.log())
	}
	w.startMember()
	w.startHub()
	w.eventually("the second store is followed, with a higher epoch", func(kept storeposition.Kept, a map[string]string) bool {
		return storeposition.FormatID(kept.Position.ClusterID) == refused && kept.Position.Revision > 0 &&
			kept.AboveEpoch >= seen.Epoch && kept.Epoch > kept.AboveEpoch && a[storeposition.AdoptAnnotation] == ""
	})
	w.region("the hub follows it as well", "True", "serves")
}

type world struct {
	t          *testing.T
	client     client.Client
	program    string
	kubeconfig string
	etcd       etcdstore.MemberOptions
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server := testkit.StartServer(t, apiserver.Options{})
	testkit.InstallCRDs(t, server)
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	c, err := client.New(testkit.Config(t, server, apiserver.Admin), client.Options{Scheme: scheme})
	must(t, err)
	must(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	kubeconfig, err := server.Kubeconfig(apiserver.Admin)
	must(t, err)
	// The hub and its one region share the cluster.
	must(t, c.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "beijing"}, Data: map[string][]byte{"kubeconfig": kubeconfig},
	}))
	must(t, c.Create(t.Context(), &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: "beijing"},
		Spec:       v1alpha1.RegionSpec{Cluster: &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: "beijing"}}},
	}))
	dir := t.TempDir()
	w := &world{t: t, client: c, program: filepath.Join(dir, "manager"), kubeconfig: filepath.Join(dir, "kubeconfig")}
	must(t, os.WriteFile(w.kubeconfig, kubeconfig, 0o600))
	root, err := binaries.ModuleRoot()
	must(t, err)
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", w.program, "./cmd/manager")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the manager: %v\n%s", err, out)
	}
	host := ports.Host()
	free, err := ports.Free(host, 2)
	must(t, err)
	w.etcd = etcdstore.MemberOptions{Name: "beijing", Host: host, ClientPort: free[0], PeerPort: free[1]}
	return w
}

// startStore runs an empty store at the one address, with the token that makes its identity.
func (w *world) startStore(token string) *etcdstore.Store {
	w.t.Helper()
	return testkit.StartStore(w.t, etcdstore.Options{
		HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second,
		Members: []etcdstore.MemberOptions{w.etcd}, ExtraArgs: []string{"--initial-cluster-token=" + token},
	})
}

// intent proposes the region, as the hub does.
func (w *world) intent(store *etcdstore.Store) {
	w.t.Helper()
	s, err := coordination.Connect(coordination.Options{Endpoints: store.Endpoints()})
	must(w.t, err)
	defer func() { _ = s.Close() }()
	testkit.Eventually(w.t, soon, func() error {
		_, err := s.PutRegionIntent(w.t.Context(), ownership.RegionIntent{Name: "beijing", Role: "Active"})
		return err
	})
}

// member is a process of the manager, in either mode.
type member struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ended chan error
}

// Write implements io.Writer.
func (m *member) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(p)
}

func (m *member) log() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

func (m *member) wait(d time.Duration) error {
	select {
	case err := <-m.ended:
		return err
	case <-time.After(d):
		return nil
	}
}

func (w *world) startMember() *member {
	w.t.Helper()
	host := ports.Host()
	free, err := ports.Free(host, 1)
	must(w.t, err)
	return w.start("member", "--region=beijing", "--gateway-image=none", "--agent-bind-address="+net.JoinHostPort(host, strconv.Itoa(free[0])))
}

func (w *world) startHub() *member {
	w.t.Helper()
	return w.start("hub")
}

// start runs the manager in a mode until the test ends.
func (w *world) start(mode string, more ...string) *member {
	w.t.Helper()
	host := ports.Host()
	free, err := ports.Free(host, 1)
	must(w.t, err)
	ctx, stop := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	m := &member{ended: make(chan error, 1)}
	args := append([]string{
		"--mode=" + mode, "--timings=fast", "--kubeconfig=" + w.kubeconfig,
		"--coordination-endpoints=http://" + net.JoinHostPort(w.etcd.Host, strconv.Itoa(w.etcd.ClientPort)),
		"--health-probe-bind-address=" + net.JoinHostPort(host, strconv.Itoa(free[0])),
	}, more...)
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Stdout, cmd.Stderr = m, m
	must(w.t, cmd.Start())
	done := make(chan struct{})
	go func() { defer close(done); m.ended <- cmd.Wait() }()
	w.t.Cleanup(func() {
		stop()
		<-done
		if w.t.Failed() {
			w.t.Logf("log of the %s:\n%s", mode, m.log())
		}
	})
	return m
}

// region waits until the Region's condition Serving has the status, and a message with the words.
func (w *world) region(what string, status metav1.ConditionStatus, words string) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		rg := &v1alpha1.Region{}
		if err := w.client.Get(w.t.Context(), client.ObjectKey{Name: "beijing"}, rg); err != nil {
			return err
		}
		c := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionServing)
		if c == nil || c.Status != status || !strings.Contains(c.Message, words) {
			return fmt.Errorf("waiting until %s; Serving is %+v", what, c)
		}
		return nil
	})
}

func (w *world) lease() (*coordinationv1.Lease, error) {
	l := &coordinationv1.Lease{}
	return l, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: storeposition.LeaseName}, l)
}

func (w *world) kept() storeposition.Kept {
	w.t.Helper()
	kept, err := storeposition.Load(w.t.Context(), w.client, namespace)
	must(w.t, err)
	return kept
}

func (w *world) eventually(what string, holds func(storeposition.Kept, map[string]string) bool) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		lease, err := w.lease()
		if err != nil {
			return err
		}
		kept, err := storeposition.Parse(lease)
		if err == nil && !holds(kept, lease.Annotations) {
			err = fmt.Errorf("waiting until %s; the Lease has %v", what, lease.Annotations)
		}
		return err
	})
}

// say writes a person's word.
func (w *world) say(id string) {
	w.t.Helper()
	lease, err := w.lease()
	must(w.t, err)
	base := lease.DeepCopy()
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, storeposition.AdoptAnnotation, id)
	must(w.t, w.client.Patch(w.t.Context(), lease, client.MergeFrom(base)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
