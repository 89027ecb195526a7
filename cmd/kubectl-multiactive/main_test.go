package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/storeposition"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

const (
	namespace = "multiactive-system"
	// anyCode is for a command that is looked at until it says what is waited for.
	anyCode = -1
)

func init() { ctrl.SetLogger(logr.Discard()) }

// region plays a region's member: it keeps the position of a store that a test sets, and starts anew when
// it has adopted another.
type region struct {
	t      *testing.T
	client client.Client

	mu      sync.Mutex
	known   coordination.Position
	answers uint64
	trouble string
}

func (r *region) Position() coordination.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

func (r *region) Refusal() *coordination.OtherStoreError {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == r.known.ClusterID {
		return nil
	}
	return &coordination.OtherStoreError{Known: r.known, Seen: coordination.Position{ClusterID: r.answers, Revision: 3}}
}

// inTrouble is what the region reports besides.
func (r *region) inTrouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

func (r *region) reports(trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = trouble
}

func (r *region) Advance(coordination.Position) {}

func (r *region) meets(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = id
}

// run is the member's life, until ctx ends.
func (r *region) run(ctx context.Context) {
	for ctx.Err() == nil {
		kept, err := storeposition.Load(ctx, r.client, namespace)
		if err != nil {
			continue
		}
		r.mu.Lock()
		r.known = kept.Position
		if kept.Position.ClusterID == 0 {
			r.known = coordination.Position{ClusterID: r.answers, Revision: 100}
		}
		r.mu.Unlock()
		keeper := &storeposition.Keeper{
			Client: r.client, Reader: r.client, Namespace: namespace, Store: r, Clock: agent.SystemClock(), Started: kept,
			Epoch: func() int64 { return 4 }, Trouble: r.inTrouble, RegionLease: 300 * time.Millisecond, Log: logr.Discard(),
		}
		if err := keeper.Start(ctx); err != nil && !errors.Is(err, storeposition.ErrAdopted) && !errors.Is(err, storeposition.ErrStale) {
			r.t.Error(err)
		}
	}
}

// TestAdopt takes two regions from one store to another, and a third that was away when it is back.
func TestAdopt(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai", "shenzhen")
	w.expect(0, "coordination", "status").has("beijing   000000000000000a", "Follows")
	w.expect(exitAttention, "coordination", "adopt", "--cluster-id=b", "--yes").has("it still follows store 000000000000000a", "nothing was changed")

	w.away("shenzhen", true)
	w.regions["beijing"].meets(0xb)
	w.regions["shanghai"].meets(0xb)
	testkit.Eventually(t, 30*time.Second, func() error {
		if out := w.run(anyCode, "", "coordination", "status"); strings.Count(out, "Refuses") != 2 {
			return errors.New(out)
		}
		return nil
	})
	w.expect(exitAttention, "coordination", "status").has("--cluster-id=000000000000000b", "shenzhen: its cluster could not be read")
	w.expect(exitAttention, "coordination", "adopt", "--cluster-id=b", "--yes").has("--without=shenzhen")
	w.expect(exitAttention, "coordination", "adopt", "--cluster-id=c", "--yes", "--without=shenzhen").has("it meets store 000000000000000b")
	w.expect(exitAttention, "coordination", "adopt", "--cluster-id=b", "--without=shenzhen").has("was not confirmed")
	w.expect(0, "coordination", "adopt", "--cluster-id=b", "--yes", "--without=shenzhen").
		has("beijing: follows store", "shanghai: follows store", "--region=shenzhen")
	w.expect(0, "coordination", "adopt", "--cluster-id=b", "--yes", "--without=shenzhen").has("Nothing to do in beijing, shanghai")

	w.away("shenzhen", false)
	w.regions["shenzhen"].meets(0xb)
	testkit.Eventually(t, 30*time.Second, func() error {
		if out := w.run(anyCode, "", "coordination", "status"); strings.Count(out, "Refuses") != 1 {
			return errors.New(out)
		}
		return nil
	})
	w.answer = "yes\n"
	w.expect(0, "coordination", "adopt", "--cluster-id=b", "--region=shenzhen").has("shenzhen: follows store", "Type yes")
	w.expect(0, "coordination", "status").has("shenzhen  000000000000000b", "Follows")
	kept, err := storeposition.Load(t.Context(), w.regions["shenzhen"].client, namespace)
	if err != nil || kept.AboveEpoch != 4 || kept.RevisionBase < 100 {
		t.Errorf("shenzhen keeps %+v (%v), want epochs above 4 and revisions from 100 on", kept, err)
	}
}

// TestTrouble has a region report something of its store, and nothing any more.
func TestTrouble(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai")
	awaits := func(what, text string, there bool) {
		t.Helper()
		testkit.Eventually(t, 60*time.Second, func() error {
			if out := w.run(anyCode, "", "coordination", "status"); strings.Contains(out, text) != there {
				return errors.New("waiting until " + what + ":\n" + out)
			}
			return nil
		})
	}
	w.regions["shanghai"].reports("gate/beijing: it is gone")
	awaits("trouble is reported", "Trouble", true)
	w.expect(exitAttention, "coordination", "status").has("shanghai: in trouble with the store since 2", "gate/beijing: it is gone", "Follows")
	w.regions["shanghai"].reports("")
	awaits("it is over", "Trouble", false)
	w.expect(0, "coordination", "status").has("Follows")
}

func TestCommandLine(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"":                                      {0, "Exit codes"},
		"version":                               {0, version},
		"coordination":                          {0, "coordination status"},
		"coordination adopt --help":             {0, "-cluster-id"},
		"coordination status --help":            {0, "-operator-namespace"},
		"coordination adopt":                    {exitUsage, "--cluster-id is required"},
		"coordination adopt --nope":             {exitUsage, "nope"},
		"coordination status nothing":           {exitUsage, "unexpected argument"},
		"coordination adopt --cluster-id=store": {exitUsage, "not a cluster ID in hexadecimal"},
		"restart":                               {exitUsage, "there is no command"},
		"completion kubectl":                    {0, "exec kubectl multiactive __complete"},
		"completion bash":                       {0, "kubectl-multiactive"},
		"help plan":                             {0, "changes nothing"},
	} {
		t.Run(line, func(t *testing.T) {
			var out bytes.Buffer
			code := exitCode(run(t.Context(), strings.Fields(line), terminal{in: strings.NewReader(""), out: &out, err: &out}), &out)
			if code != want.code || !strings.Contains(out.String(), want.says) {
				t.Errorf("ended with %d, want %d and %q:\n%s", code, want.code, want.says, out.String())
			}
		})
	}
}

type world struct {
	t       *testing.T
	hub     *rest.Config
	servers map[string]*apiserver.Server
	regions map[string]*region
	answer  string
}

func newWorld(t *testing.T, regions ...string) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	w := &world{t: t, servers: testkit.StartServers(t, apiserver.Options{}, append([]string{"hub"}, regions...)...), regions: map[string]*region{}}
	testkit.InstallCRDs(t, w.servers["hub"])
	w.hub = testkit.Config(t, w.servers["hub"], apiserver.Admin)
	hub, err := client.New(w.hub, client.Options{Scheme: scheme})
	must(t, err)
	must(t, hub.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	for _, name := range regions {
		kubeconfig, err := w.servers[name].Kubeconfig(apiserver.Admin)
		must(t, err)
		must(t, hub.Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{kubeconfigKey: kubeconfig},
		}))
		must(t, hub.Create(t.Context(), &v1alpha1.Region{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.RegionSpec{
				Role: v1alpha1.RegionRoleActive, Cluster: &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: name}},
				Probes: []v1alpha1.RegionProbe{{Name: "edge", HTTP: v1alpha1.HTTPProbe{URL: "https://" + name + ".example.com/"}}},
			},
		}))
		c, err := client.New(testkit.Config(t, w.servers[name], apiserver.Admin), client.Options{Scheme: scheme})
		must(t, err)
		must(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
		r := &region{t: t, client: c, answers: 0xa}
		w.regions[name] = r
		w.start(r)
		testkit.Eventually(t, 30*time.Second, func() error {
			kept, err := storeposition.Load(t.Context(), c, namespace)
			if err == nil && kept.Position.ClusterID == 0 {
				err = errors.New("nothing is kept yet")
			}
			return err
		})
	}
	return w
}

// start runs a region's member until the test ends.
func (w *world) start(r *region) {
	ctx, stop := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	var all sync.WaitGroup
	all.Go(func() { r.run(ctx) })
	w.t.Cleanup(func() { stop(); all.Wait() })
}

// away freezes a region's API server, or lets it go on.
func (w *world) away(name string, is bool) {
	w.t.Helper()
	if is {
		must(w.t, w.servers[name].Freeze())
		return
	}
	must(w.t, w.servers[name].Continue())
}

type output struct {
	t    *testing.T
	text string
}

func (o output) has(parts ...string) {
	o.t.Helper()
	for _, p := range parts {
		if !strings.Contains(o.text, p) {
			o.t.Errorf("the output lacks %q:\n%s", p, o.text)
		}
	}
}

func (w *world) expect(code int, args ...string) output {
	w.t.Helper()
	out := w.run(code, w.answer, args...)
	w.t.Logf("$ kubectl multiactive %s\n%s", strings.Join(args, " "), out)
	return output{w.t, out}
}

// run runs the command; its waits are cut short, since the regions' leases are.
func (w *world) run(code int, answer string, args ...string) string {
	w.t.Helper()
	var out bytes.Buffer
	hub := rest.CopyConfig(w.hub)
	t := terminal{
		in: strings.NewReader(answer), out: &out, err: &out, config: func(string) (*rest.Config, error) { return hub, nil },
		sleep: func(ctx context.Context, d time.Duration) error { return sleep(ctx, min(d, poll/2)) },
	}
	if got := exitCode(run(w.t.Context(), args, t), &out); code != anyCode && got != code {
		w.t.Errorf("%q ended with %d, want %d:\n%s", args, got, code, out.String())
	}
	return out.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
