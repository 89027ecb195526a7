package agent_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

var regions = []string{"beijing", "shanghai", "shenzhen"}

// network is a fake Prober for all regions: URLs are region names, and dead ones do not answer.
type network struct {
	mu   sync.Mutex
	dead map[string]bool
}

func (n *network) Probe(_ context.Context, p ownership.Probe) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead[p.URL] {
		return errors.New("no answer")
	}
	return nil
}

func (n *network) kill(region string, dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[region] = dead
}

// world is three regions' agents on a real store of three members.
type world struct {
	t      *testing.T
	store  *etcdstore.Store
	hub    *coordination.Store
	net    *network
	agents map[string]*running
	// seen has every configuration that the hub was shown, in order.
	mu   sync.Mutex
	seen []ownership.Configuration
	// changed is called with every further configuration.
	changed func(ownership.Configuration)
}

func (w *world) onChange(f func(ownership.Configuration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = f
}

type running struct {
	*agent.Agent
	stop context.CancelFunc
	done chan error
}

// wait waits until the agent has ended.
func (r *running) wait() {

	for range r.done {
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, func(s *etcdstore.Store, _ string) *coordination.Store { return connect(t, s.Endpoints()) })
}

// newWorldOn is newWorld with agents that reach the store as connected says.
func newWorldOn(t *testing.T, connected func(s *etcdstore.Store, region string) *coordination.Store) *world {
	t.Helper()
	w := &world{t: t, net: &network{dead: map[string]bool{}}, agents: map[string]*running{}}
	w.store = testkit.StartStore(t, etcdstore.Options{
		HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second,
	}, regions...)
	w.hub = connect(t, w.store.Endpoints())
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for ctx.Err() == nil {
			_ = w.hub.Watch(ctx, func(c ownership.Configuration) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.seen = append(w.seen, c)
				if w.changed != nil {
					w.changed(c)
				}
			})
		}
	}()
	t.Cleanup(func() { cancel(); <-watching })
	for _, r := range regions {
		intent := ownership.RegionIntent{Name: r, Role: "Active", Probes: []ownership.Probe{{Name: "edge", URL: r}}}
		if _, err := w.hub.PutRegionIntent(t.Context(), intent); err != nil {
			t.Fatal(err)
		}
		w.startOn(r, connected(w.store, r))
	}
	w.eventually("all regions serve", func(c ownership.Configuration) bool {
		return len(c.View.Regions) == 3 && w.state("beijing") == ownership.RegionServing
	})
	return w
}

func connect(t *testing.T, endpoints []string) *coordination.Store {
	t.Helper()
	c, err := coordination.Connect(coordination.Options{Endpoints: endpoints, RequestTimeout: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) start(region string) {
	w.t.Helper()
	w.startOn(region, connect(w.t, w.store.Endpoints()))
}

func (w *world) startOn(region string, store *coordination.Store) {
	w.t.Helper()
	a, err := agent.New(agent.Config{
		Region: region, Store: store, Clock: agent.SystemClock(),
		Timings: ownership.FastTimings(), Prober: w.net, Log: testr.New(w.t).WithName(region), Ballots: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(region, a)
}

// run runs a region's agent until the test ends, or stop.
func (w *world) run(region string, a *agent.Agent) {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Agent: a, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- a.Run(ctx); close(r.done) }()
	w.agents[region] = r
	w.t.Cleanup(func() { stop(); r.wait() })
}

// kill ends a region's agent and edge.
func (w *world) kill(region string) {
	w.net.kill(region, true)
	w.agents[region].stop()
	w.agents[region].wait()
}

func (w *world) latest() ownership.Configuration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return ownership.Configuration{}
	}
	return w.seen[len(w.seen)-1]
}

func (w *world) history() []ownership.Configuration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// quiet reports whether the last n configurations differ in beats only.
func (w *world) quiet(n int) bool {
	seen := w.history()
	if len(seen) < n {
		return false
	}
	for _, c := range seen[len(seen)-n:] {
		last := seen[len(seen)-1]
		if c.Decided != last.Decided || len(c.Evidence) != len(last.Evidence) || !maps.Equal(c.Asks, last.Asks) {
			return false
		}
	}
	return true
}

// leader returns the region whose agent leads.
func (w *world) leader() string {
	region, _, _ := strings.Cut(w.latest().Leader, "/")
	return region
}

func (w *world) state(region string) ownership.RegionState {
	return w.latest().View.Regions[region].State
}

func (w *world) eventually(what string, holds func(ownership.Configuration) bool) {
	w.t.Helper()
	testkit.Eventually(w.t, 60*time.Second, func() error {
		if c := w.latest(); !holds(c) {
			return fmt.Errorf("waiting until %s; view %+v, held %v", what, c.View, c.Held)
		}
		return nil
	})
}

// recover brings a killed region back and waits until it serves and holds a lease.
func (w *world) recover(region string) {
	w.t.Helper()
	w.net.kill(region, false)
	w.start(region)
	w.eventually("it serves again", func(c ownership.Configuration) bool {
		i := incidentOf(c, region)
		return c.View.Regions[region].State == ownership.RegionServing && i.Closed && w.agents[region].Lease() > 0
	})
}

func TestRegionLostAndReturned(t *testing.T) {
	for name, leads := range map[string]bool{"a follower's region": false, "the leader's region": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			victim := w.leader()
			if !leads {
				victim = regions[(slices.Index(regions, victim)+1)%len(regions)]
			}
			old := w.agents[victim].Identity()
			lost := time.Now()
			if err := w.store.Member(victim).Kill(); err != nil {
				t.Fatal(err)
			}
			w.kill(victim)
			w.eventually("the region is Lost", func(c ownership.Configuration) bool {
				return c.View.Regions[victim].State == ownership.RegionLost && hasStep(c, victim, ownership.StepCommitted)
			})
			w.checkMeasured(victim, lost)
			if w.leader() == victim {
				t.Error("the dead agent still leads")
			}
			for _, r := range regions {
				a := w.agents[r]
				if (a.Lease() > 0) != (r != victim) {
					t.Errorf("%s has a lease of %s after the loss of %s", r, a.Lease(), victim)
				}
				if r != victim {
					checkTells(t, a.Agent, victim)
				}
			}
			if err := w.store.Member(victim).Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.recover(victim)
			if w.agents[victim].Identity() == old {
				t.Error("the restarted agent has its predecessor's identity")
			}
			w.checkHistory(victim)
		})
	}
}

// checkTells: a survivor's metrics tell of the loss.
func checkTells(t *testing.T, a *agent.Agent, victim string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(a)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := strings.TrimPrefix(f.GetName(), "multiactive_agent_")
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"region_state " + victim + " " + a.Region() + " Lost": 1, "region_state " + victim + " " + a.Region() + " Serving": 0,
		"peer_reachable " + victim + " " + a.Region(): 0, "store_reachable " + a.Region(): 1,
		"store_damaged " + a.Region(): 0, "contested " + a.Region(): 0,
	} {
		if value, known := got[name]; value != want || !known {
			t.Errorf("%s is %v (known: %t), want %v; there are %v", name, value, known, want, got)
		}
	}
	if got["lease_remaining_seconds "+a.Region()] <= 0 {
		t.Error("no lease is told of")
	}
}

// A region that is cut off and keeps running holds nothing once it is Lost, and comes back with
// the same incarnation.
func TestStoreLostAndBack(t *testing.T) {
	w := newWorld(t)
	for _, member := range w.store.Members() {
		if err := member.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	before := map[string]ownership.Configuration{}
	testkit.Eventually(t, 20*time.Second, func() error {
		for _, r := range regions {
			a := w.agents[r]
			if reachable, _ := a.StoreReachable(); reachable || a.Lease() > 0 {
				return fmt.Errorf("%s: store reachable %v, lease %s", r, reachable, a.Lease())
			}
			before[r], _ = a.Snapshot()
		}
		return nil
	})
	for _, r := range regions {
		if c, have := w.agents[r].Snapshot(); !have || len(c.View.Regions) != 3 || c.Revision != before[r].Revision {
			t.Errorf("%s forgot its configuration: %+v", r, c.View)
		}
	}
	for _, member := range w.store.Members() {
		if err := member.Continue(); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all have their lease again", func(c ownership.Configuration) bool {
		for _, r := range regions {
			reachable, _ := w.agents[r].StoreReachable()
			if c.View.Regions[r].State != ownership.RegionServing || w.agents[r].Lease() == 0 || !reachable {
				return false
			}
		}
		return true
	})
	for _, c := range w.history() {
		for r, record := range c.View.Regions {
			if record.State != ownership.RegionServing {
				t.Fatalf("revision %d: %s was made %s by an outage of the store alone", c.Revision, r, record.State)
			}
		}
	}
}

func TestSteadyStateWritesOnlyBeats(t *testing.T) {
	w := newWorld(t)
	w.eventually("nothing is held and nobody suspect", func(c ownership.Configuration) bool {
		return len(c.Held) == 0 && w.quiet(5)
	})
	from := w.latest()
	w.eventually("thirty more revisions", func(c ownership.Configuration) bool { return c.Revision >= from.Revision+30 })
	last := from
	for _, c := range w.history() {
		if c.Revision <= from.Revision {
			continue
		}
		beats, changed := c.Beats, c
		changed.Beats, changed.Revision = last.Beats, last.Revision
		if diff := cmp.Diff(last, changed); diff != "" {
			t.Errorf("revision %d changed more than beats (-before +after):\n%s", c.Revision, diff)
		}
		if maps.Equal(beats, last.Beats) {
			t.Errorf("revision %d changed no beat", c.Revision)
		}
		last = c
	}
}

func TestReplacedAgentEnds(t *testing.T) {
	w := newWorld(t)
	old := w.agents["shanghai"]
	w.start("shanghai")
	select {
	case err := <-old.done:
		if !errors.Is(err, agent.ErrReplaced) {
			t.Errorf("the replaced agent ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the replaced agent runs on")
	}
	if old.Lease() > 0 {
		t.Errorf("the replaced agent ended with a lease of %s", old.Lease())
	}
	w.eventually("its successor has a lease", func(ownership.Configuration) bool { return w.agents["shanghai"].Lease() > 0 })
}

func TestServicesAreAccepted(t *testing.T) {
	w := newWorld(t)
	intent := ownership.ServiceIntent{UID: "u-1", Namespace: "accounts", Name: "user", SpecHash: "one"}
	put := func(i ownership.ServiceIntent) {
		t.Helper()
		if _, err := w.hub.PutServiceIntent(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	put(intent)
	w.eventually("the service is accepted", func(c ownership.Configuration) bool { return c.Services["u-1"].UID != "" })
	first := w.latest().Services["u-1"]
	want := ownership.ServiceRecord{UID: "u-1", Namespace: "accounts", Name: "user", ServiceState: ownership.ServiceState{SpecHash: "one"}, PeerKey: first.PeerKey}
	if diff := cmp.Diff(want, first); diff != "" || len(first.PeerKey) != 32 {
		t.Errorf("peer key of %d bytes, record (-want +got):\n%s", len(first.PeerKey), diff)
	}

	// Another ownership spec takes the place of the one in force in two phases.
	intent.SpecHash = "two"
	put(intent)
	w.eventually("the other spec is in force", func(c ownership.Configuration) bool {
		return c.Services["u-1"].SpecHash == "two" && c.View.Phase == ownership.PhaseOpen
	})
	if phases := w.phases(); !slices.Contains(phases, "Closing Respec") {
		t.Errorf("the view went through %v, want the owners closed first", phases)
	}
	put(ownership.ServiceIntent{UID: "u-2", Namespace: "accounts", Name: "other", SpecHash: "x"})
	w.eventually("the other service is accepted", func(c ownership.Configuration) bool { return c.Services["u-2"].UID != "" })
	if slices.Equal(first.PeerKey, w.latest().Services["u-2"].PeerKey) {
		t.Error("two services share a peer key")
	}

	intent.Deleted = true
	put(intent)
	w.eventually("the service is deleted", func(c ownership.Configuration) bool { return c.Services["u-1"].Deleted })
	if _, err := w.hub.DeleteServiceIntent(t.Context(), "u-1"); err != nil {
		t.Fatal(err)
	}
	w.eventually("its record is gone", func(c ownership.Configuration) bool { return c.Services["u-1"].UID == "" })
}

// checkHistory looks at every configuration that there was: the gate closes before the region is
// Lost, it comes back as Returning, and revisions only grow.
func (w *world) checkHistory(victim string) {
	w.t.Helper()
	seen := w.history()
	var states []ownership.RegionState
	for i, c := range seen {
		// A watch that starts over begins with the last revision again.
		if i > 0 && c.Revision < seen[i-1].Revision {
			w.t.Errorf("revision %d delivered after %d", c.Revision, seen[i-1].Revision)
		}
		state := c.View.Regions[victim].State
		if state == ownership.RegionLost && c.Gates[victim].Open {
			w.t.Errorf("revision %d: %s is Lost with its gate open", c.Revision, victim)
		}
		if len(states) == 0 || states[len(states)-1] != state {
			states = append(states, state)
		}
	}
	want := []ownership.RegionState{
		"", ownership.RegionServing, ownership.RegionLost, ownership.RegionReturning, ownership.RegionServing,
	}
	if !slices.Equal(states, want) {
		w.t.Errorf("the region's states were %q, want %q", states, want)
	}
	w.t.Logf("incident: %+v", incidentOf(seen[len(seen)-1], victim))
}

func incidentOf(c ownership.Configuration, region string) ownership.Incident {
	for _, i := range c.Incidents {
		if i.Region == region {
			return i
		}
	}
	return ownership.Incident{}
}

func hasStep(c ownership.Configuration, region, step string) bool {
	return slices.ContainsFunc(incidentOf(c, region).Timeline, func(s ownership.IncidentStep) bool { return s.Step == step })
}

// phases returns what the view went through, each change once.
func (w *world) phases() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, c := range w.seen {
		phase := string(c.View.Phase)
		if c.View.Change != nil {
			phase += " " + string(c.View.Change.Kind)
		}
		if len(out) == 0 || out[len(out)-1] != phase {
			out = append(out, phase)
		}
	}
	return out
}

// TestOwnersChange lets people order a region empty and back, and then loses it: every change closes first
// and opens when those whom it concerns have acknowledged.
func TestOwnersChange(t *testing.T) {
	w := newWorld(t)
	put := func(o ownership.OrderIntent) {
		t.Helper()
		if _, err := w.hub.PutOrderIntent(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	intent := ownership.ServiceIntent{UID: "u-1", Namespace: "accounts", Name: "user", SpecHash: "one", Regions: regions}
	if _, err := w.hub.PutServiceIntent(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	w.eventually("the service is accepted", func(c ownership.Configuration) bool { return c.Services["u-1"].UID != "" })

	put(ownership.OrderIntent{Name: "1-drain", Type: "Drain", Region: "beijing"})
	w.eventually("beijing is drained", func(c ownership.Configuration) bool {
		return c.View.Regions["beijing"].State == ownership.RegionDrained && c.View.Phase == ownership.PhaseOpen &&
			c.Orders["1-drain"].State == ownership.OrderSucceeded
	})
	put(ownership.OrderIntent{Name: "2-undrain", Type: "Undrain", Region: "beijing"})
	w.eventually("beijing serves again", func(c ownership.Configuration) bool {
		return c.View.Regions["beijing"].State == ownership.RegionServing && c.Orders["2-undrain"].State == ownership.OrderSucceeded
	})
	if record := w.latest().View.Regions["beijing"]; record.Unshipped {
		t.Errorf("beijing is %+v, though nothing of it was lost", record)
	}

	w.kill("beijing")
	w.eventually("beijing is lost and the others have taken over", func(c ownership.Configuration) bool {
		record := c.View.Regions["beijing"]
		return record.State == ownership.RegionLost && record.Unshipped && len(record.Awaits) == 0 && c.View.Phase == ownership.PhaseOpen
	})
	w.net.kill("beijing", false)
	w.start("beijing")
	w.eventually("beijing has returned", func(c ownership.Configuration) bool {
		return c.View.Regions["beijing"].State == ownership.RegionReturning
	})
	put(ownership.OrderIntent{Name: "3-handback", Type: "Handback", Region: "beijing"})
	w.eventually("beijing serves as before", func(c ownership.Configuration) bool {
		record := c.View.Regions["beijing"]
		return record.State == ownership.RegionServing && !record.Unshipped && c.Orders["3-handback"].State == ownership.OrderSucceeded
	})
	want := []string{"Closing Drain", "Open", "Closing Handback", "Open", "Closing Loss", "Open", "Closing Handback", "Open"}
	phases := w.phases()
	if diff := cmp.Diff(want, phases[len(phases)-len(want):]); diff != "" {
		t.Errorf("the view went through (-want +got):\n%s", diff)
	}
}
