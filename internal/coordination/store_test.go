package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/elect"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

var fast = etcdstore.Options{HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second}

// start runs a store of one member; the tests that need three say so.
func start(t *testing.T, members ...string) *etcdstore.Store {
	t.Helper()
	if len(members) == 0 {
		members = []string{"beijing"}
	}
	return testkit.StartStore(t, fast, members...)
}

func connect(t *testing.T, o coordination.Options) *coordination.Store {
	t.Helper()
	s, err := coordination.Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// world is a connected store with a helper for each way to write.
type world struct {
	*coordination.Store
	t *testing.T
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, Store: connect(t, coordination.Options{Endpoints: start(t).Endpoints(), RequestTimeout: 5 * time.Second})}
}

func (w *world) read() ownership.Configuration {
	w.t.Helper()
	c, err := w.Read(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// lead waits until the identity leads.
func (w *world) lead(identity string) *coordination.Term {
	w.t.Helper()
	term, err := elect.Lead(w.t.Context(), w.Store, identity, 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	return term
}

// register registers an incarnation of the agent of region beijing.
func (w *world) register(incarnation string) *coordination.Registration {
	w.t.Helper()
	r, err := w.RegisterAgent(w.t.Context(), "beijing", incarnation, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) must(revision int64, err error) int64 {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return revision
}

// refused fails the test unless the write was refused for exactly this reason.
func (w *world) refused(guard string, err error) {
	w.t.Helper()
	var refused *coordination.GuardError
	if !errors.As(err, &refused) || !errors.Is(err, coordination.ErrGuard) {
		w.t.Fatalf("the write answered %v, want it refused because %s", err, guard)
	}
	if diff := cmp.Diff([]string{guard}, refused.Failed); diff != "" {
		w.t.Fatalf("failed guards (-want +got):\n%s", diff)
	}
}

// nextView is a change of nothing but the view.
func nextView(c ownership.Configuration) change.Txn {
	return change.Txn{What: "test", View: ownership.View{
		Epoch: c.View.Epoch + 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{},
	}}
}

// returning is a change of the view that opens beijing's gate.
func returning(c ownership.Configuration) change.Txn {
	txn := nextView(c)
	txn.OpenGate, txn.Gates = "beijing", []string{"beijing"}
	return txn
}

func TestBeatIsGuarded(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	term := w.lead("x")
	first := w.register("one")

	c := w.read()
	_, err := first.Beat(ctx, c, 1)
	w.refused(coordination.GuardGate, err) // no gate yet
	w.must(first.Ask(ctx, c))
	w.must(term.OpenGate(ctx, w.read(), "beijing"))
	open := w.read()
	w.must(first.Beat(ctx, open, 1))
	w.must(first.Beat(ctx, open, 2))
	if got := w.read().Beats["beijing"]; got != (ownership.Beat{N: 2, Incarnation: "one"}) {
		t.Errorf("beat %+v", got)
	}

	// R1: the replaced incarnation writes nothing, the new one goes on from the last beat.
	second := w.register("two")
	if second.LastBeat() != 2 {
		t.Errorf("the new incarnation goes on after beat %d, want 2", second.LastBeat())
	}
	_, err = first.Beat(ctx, open, 3)
	w.refused(coordination.GuardAgent, err)
	_, err = first.PutEvidence(ctx, open, ownership.Evidence{Failing: []string{"shanghai"}})
	w.refused(coordination.GuardAgent, err)
	_, err = first.PutTrust(ctx, ownership.Trust{Authorities: []string{"one"}})
	w.refused(coordination.GuardAgent, err)
	w.must(second.Beat(ctx, open, 3))

	// R3: nobody beats through a closed gate, also who has not read yet that it is closed.
	w.must(term.CloseGate(ctx, w.read(), "beijing"))
	_, err = second.Beat(ctx, open, 4)
	w.refused(coordination.GuardGate, err)
	_, err = second.PutEvidence(ctx, open, ownership.Evidence{Failing: []string{"shanghai"}})
	w.refused(coordination.GuardGate, err)
	closed := w.read()
	_, err = second.Beat(ctx, closed, 4)
	w.refused(coordination.GuardGate, err)

	// What it shows its peers does not depend on its gate, and is something that routing depends on.
	trust := ownership.Trust{Authorities: []string{"two"}, Knows: map[string][]string{"shanghai": {"f"}}}
	told := w.must(second.PutTrust(ctx, trust))
	if got := w.read(); !cmp.Equal(got.Trusts["beijing"], trust) || got.Decided < told {
		t.Errorf("trust %+v, decided %d, want %+v since %d", got.Trusts, got.Decided, trust, told)
	}

	// R5: opened again, in another generation; a beat of the old one stays refused.
	w.must(second.Ask(ctx, closed))
	asked := w.read()
	w.must(term.Commit(ctx, asked, returning(asked)))
	_, err = second.Beat(ctx, open, 4)
	w.refused(coordination.GuardGate, err)
	again := w.read()
	if again.Gates["beijing"] != (ownership.Gate{Generation: 3, Open: true}) || again.View.Epoch != asked.View.Epoch+1 {
		t.Errorf("gate %+v, epoch %d", again.Gates["beijing"], again.View.Epoch)
	}
	w.must(second.Beat(ctx, again, 4))
}

func TestGateClosesOnlyOnAStillBeat(t *testing.T) {
	w := newWorld(t)
	term := w.lead("x")
	r := w.register("one")
	w.must(term.OpenGate(t.Context(), w.read(), "beijing"))
	open := w.read()
	w.must(r.Beat(t.Context(), open, 1))
	watched := w.read()
	w.must(r.Beat(t.Context(), open, 2))
	_, err := term.CloseGate(t.Context(), watched, "beijing")
	w.refused(coordination.GuardBeat, err)
	w.must(term.CloseGate(t.Context(), w.read(), "beijing"))
	_, err = term.CloseGate(t.Context(), watched, "beijing")
	var refused *coordination.GuardError
	if !errors.As(err, &refused) || !refused.Has(coordination.GuardGate) {
		t.Errorf("closing a gate that another decision closed answered %v", err)
	}
}

func TestDeposedLeaderWritesNothing(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	old := w.lead("old")
	w.register("one")
	before := w.read()
	if before.Leader != "old" {
		t.Errorf("leader %q, want old", before.Leader)
	}
	old.Resign()
	select {
	case <-old.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the term does not end")
	}
	current := w.lead("new")
	c := w.read()
	if c.Leader != "new" {
		t.Errorf("leader %q, want new", c.Leader)
	}
	writes := map[string]func(*coordination.Term) (int64, error){
		"view":   func(x *coordination.Term) (int64, error) { return x.Commit(ctx, c, nextView(c)) },
		"gate":   func(x *coordination.Term) (int64, error) { return x.OpenGate(ctx, c, "beijing") },
		"close":  func(x *coordination.Term) (int64, error) { return x.CloseGate(ctx, c, "shanghai") },
		"return": func(x *coordination.Term) (int64, error) { return x.Commit(ctx, c, returning(c)) },
		"service": func(x *coordination.Term) (int64, error) {
			return x.PutServiceRecords(ctx, c, ownership.ServiceRecord{UID: "u"})
		},
		"incident": func(x *coordination.Term) (int64, error) {
			return x.PutIncident(ctx, c, ownership.Incident{Name: "beijing-1"})
		},
		"order": func(x *coordination.Term) (int64, error) {
			return x.PutOrder(ctx, c, ownership.OrderRecord{Name: "o"})
		},
		"finished order": func(x *coordination.Term) (int64, error) { return x.DeleteOrder(ctx, c, "o") },
		"held":           func(x *coordination.Term) (int64, error) { return x.PutHeld(ctx, map[string]string{"a": "b"}) },
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			_, err := write(old)
			var refused *coordination.GuardError
			if !errors.As(err, &refused) || !refused.Has(coordination.GuardLeader) {
				t.Errorf("the deposed leader's write answered %v", err)
			}
		})
	}
	if got := w.read().Revision; got != c.Revision {
		t.Errorf("the deposed leader's writes took the store from revision %d to %d", c.Revision, got)
	}
	w.must(current.Commit(ctx, c, nextView(c)))
}

func TestViewFollowsOnlyTheOneItWasDecidedFrom(t *testing.T) {
	w := newWorld(t)
	term := w.lead("x")
	c := w.read()
	w.must(term.Commit(t.Context(), c, nextView(c)))
	_, err := term.Commit(t.Context(), c, nextView(c))
	w.refused(coordination.GuardView, err)
	c = w.read()
	skipping := nextView(c)
	skipping.View.Epoch++
	if _, err := term.Commit(t.Context(), c, skipping); err == nil {
		t.Error("an epoch was skipped")
	}
	if w.read().View.Epoch != 1 {
		t.Errorf("epoch %d, want 1", w.read().View.Epoch)
	}
}

func TestRecordsAreGuarded(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	term := w.lead("x")
	empty := w.read()
	record := ownership.ServiceRecord{
		UID: "u", Namespace: "accounts", Name: "user", PeerKey: []byte{1, 2}, ServiceState: ownership.ServiceState{SpecHash: "h"},
	}
	w.must(term.PutServiceRecords(ctx, empty, record))
	_, err := term.PutServiceRecords(ctx, empty, record)
	w.refused(coordination.GuardRecord, err)
	c := w.read()
	if diff := cmp.Diff(map[string]ownership.ServiceRecord{"u": record}, c.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	w.must(term.DeleteServiceRecord(ctx, c, "u"))
	_, err = term.DeleteServiceRecord(ctx, c, "u")
	w.refused(coordination.GuardRecord, err)

	w.must(term.PutIncident(ctx, c, ownership.Incident{Name: "a-1", Region: "a"}))
	w.must(term.DeleteIncident(ctx, w.read(), "a-1"))
	if c := w.read(); len(c.Incidents)+len(c.Services) > 0 {
		t.Errorf("left over: %v %v", c.Incidents, c.Services)
	}
}

// A record answers the intent that the leader has read: one that was withdrawn, changed or proposed
// meanwhile is decided on again.
func TestRecordsAnswerTheIntentThatWasRead(t *testing.T) {
	ctx := t.Context()
	intent := ownership.ServiceIntent{UID: "u", Namespace: "accounts", Name: "user", SpecHash: "h"}
	record := ownership.ServiceRecord{
		UID: "u", Namespace: "accounts", Name: "user", PeerKey: []byte{1}, ServiceState: ownership.ServiceState{SpecHash: "h"},
	}
	changed := intent
	changed.Deleted = true
	for name, c := range map[string]struct {
		before *ownership.ServiceIntent
		then   func(*world)
		want   bool
	}{
		"as it was read":                   {before: &intent, then: func(*world) {}, want: true},
		"withdrawn":                        {before: &intent, then: func(w *world) { w.must(w.DeleteServiceIntent(ctx, "u")) }},
		"changed":                          {before: &intent, then: func(w *world) { w.must(w.PutServiceIntent(ctx, changed)) }},
		"proposed again to the same words": {before: &intent, then: func(w *world) { w.must(w.PutServiceIntent(ctx, intent)) }, want: true},
		"withdrawn and proposed again": {before: &intent, then: func(w *world) {
			w.must(w.DeleteServiceIntent(ctx, "u"))
			w.must(w.PutServiceIntent(ctx, intent))
		}},
		"none, as it was read": {then: func(*world) {}, want: true},
		"proposed meanwhile":   {then: func(w *world) { w.must(w.PutServiceIntent(ctx, intent)) }},
		"another service's": {before: &intent, then: func(w *world) {
			w.must(w.PutServiceIntent(ctx, ownership.ServiceIntent{UID: "v", SpecHash: "h"}))
		}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			term := w.lead("x")
			if c.before != nil {
				w.must(w.PutServiceIntent(ctx, *c.before))
			}
			read := w.read()
			c.then(w)
			_, err := term.PutServiceRecords(ctx, read, record)
			if c.want {
				w.must(0, err)
			} else {
				w.refused(coordination.GuardIntent, err)
			}
			if _, accepted := w.read().Services["u"]; accepted != c.want {
				t.Errorf("accepted is %t, want %t", accepted, c.want)
			}
		})
	}
}

func TestUnchangedValuesAreNotWritten(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	term := w.lead("x")
	r := w.register("one")
	c := w.read()
	w.must(r.Ask(ctx, c))
	w.must(term.OpenGate(ctx, w.read(), "beijing"))
	open := w.read()
	puts := map[string]func() (int64, error){
		"region intent": func() (int64, error) {
			return w.PutRegionIntent(ctx, ownership.RegionIntent{Name: "beijing", Role: "Active"})
		},
		"service intent": func() (int64, error) {
			return w.PutServiceIntent(ctx, ownership.ServiceIntent{UID: "u", SpecHash: "h"})
		},
		"order intent": func() (int64, error) {
			return w.PutOrderIntent(ctx, ownership.OrderIntent{Name: "o", Type: "Drain", Region: "beijing"})
		},
		"acknowledgement": func() (int64, error) { return r.PutAck(ctx, open, ownership.Ack{Epoch: 1, Fenced: true}) },
		"evidence":        func() (int64, error) { return r.PutEvidence(ctx, open, ownership.Evidence{Failing: []string{"x"}}) },
		"trust":           func() (int64, error) { return r.PutTrust(ctx, ownership.Trust{Authorities: []string{"pem"}}) },
		"held":            func() (int64, error) { return term.PutHeld(ctx, map[string]string{"a": "b"}) },
	}
	for name, put := range puts {
		t.Run(name, func(t *testing.T) {
			first := w.must(put())
			if second := w.must(put()); second != first {
				t.Errorf("writing the same again took the store from revision %d to %d", first, second)
			}
		})
	}
	w.must(w.DeleteRegionIntent(ctx, "beijing"))
	w.must(w.DeleteServiceIntent(ctx, "u"))
	w.must(w.DeleteOrderIntent(ctx, "o"))
	if c := w.read(); len(c.RegionIntents)+len(c.ServiceIntents)+len(c.OrderIntents) > 0 {
		t.Errorf("left over: %v %v %v", c.RegionIntents, c.ServiceIntents, c.OrderIntents)
	}
}

func TestNamesCannotLeaveTheirDirectory(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"", "../view", "a/b", "-a", "a b"} {
		if _, err := w.PutRegionIntent(t.Context(), ownership.RegionIntent{Name: name}); err == nil {
			t.Errorf("region %q was accepted", name)
		}
		if _, err := w.RegisterAgent(t.Context(), name, "one", 0); err == nil {
			t.Errorf("agent of region %q was accepted", name)
		}
		if _, err := w.PutOrderIntent(t.Context(), ownership.OrderIntent{Name: name}); err == nil {
			t.Errorf("order %q was accepted", name)
		}
	}
}

// recorder keeps the configurations that a watch delivers.
type recorder struct {
	mu   sync.Mutex
	seen []ownership.Configuration
}

func (r *recorder) deliver(c ownership.Configuration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, c)
}

func (r *recorder) all() []ownership.Configuration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]ownership.Configuration(nil), r.seen...)
}

func (r *recorder) until(t *testing.T, revision int64) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		all := r.all()
		if len(all) == 0 || all[len(all)-1].Revision < revision {
			return fmt.Errorf("revision %d was not delivered", revision)
		}
		return nil
	})
}

func watch(t *testing.T, s *coordination.Store) (*recorder, context.CancelFunc) {
	t.Helper()
	r := &recorder{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = s.Watch(ctx, r.deliver)
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return r, stop
}

func TestWatchDeliversEveryRevisionWhole(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	before, stop := watch(t, w.Store)
	term := w.lead("x")
	reg := w.register("one")
	w.must(reg.Ask(ctx, w.read()))
	asked := w.read()
	w.must(term.Commit(ctx, asked, returning(asked)))
	open := w.read()
	last := int64(0)
	for n := range 20 {
		last = w.must(reg.Beat(ctx, open, int64(n+1)))
	}
	before.until(t, last)
	stop()

	shown := before.all()
	for i, c := range shown {
		if i > 0 && c.Revision <= shown[i-1].Revision {
			t.Errorf("revision %d after %d", c.Revision, shown[i-1].Revision)
		}
		// Gate and view are written at once: no configuration shows one without the other.
		if c.Gates["beijing"].Open != (c.View.Epoch == 1) {
			t.Errorf("revision %d: gate %+v with epoch %d", c.Revision, c.Gates["beijing"], c.View.Epoch)
		}
		if c.Decided > c.Revision {
			t.Errorf("revision %d: decided at %d", c.Revision, c.Decided)
		}
	}
	for n := range int64(20) {
		if i := len(shown) - 20 + int(n); shown[i].Beats["beijing"].N != n+1 {
			t.Errorf("beat %d was not delivered on its own: %+v", n+1, shown[i].Beats)
		}
	}
	if a, b := shown[len(shown)-1].Decided, shown[len(shown)-20].Decided; a != b {
		t.Errorf("beats took Decided from %d to %d", b, a)
	}

	// A later watch starts with the whole content and says the same.
	after, _ := watch(t, w.Store)
	after.until(t, last)
	ignoreDecided := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Decided" }, cmp.Ignore())
	if diff := cmp.Diff(shown[len(shown)-1], after.all()[0], ignoreDecided); diff != "" {
		t.Errorf("read and folded content differ (-folded +read):\n%s", diff)
	}
}

// The history that a watch needs goes between its read and its start: it must start over by
// itself, and miss nothing.
func TestCompactedWatchStartsOver(t *testing.T) {
	members := start(t)
	s := connect(t, coordination.Options{Endpoints: members.Endpoints(), RequestTimeout: 5 * time.Second})
	direct, err := clientv3.New(clientv3.Config{Endpoints: members.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = direct.Close() }()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var seen []ownership.Configuration
	err = s.Watch(ctx, func(c ownership.Configuration) {
		seen = append(seen, c)
		if len(seen) > 1 {
			cancel()
			return
		}
		for i := range 5 {
			if _, err := s.PutServiceIntent(ctx, ownership.ServiceIntent{UID: fmt.Sprintf("u%d", i)}); err != nil {
				t.Error(err)
			}
		}
		if _, err := direct.Compact(ctx, s.Position().Revision, clientv3.WithCompactPhysical()); err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the watch ended with %v", err)
	}
	if len(seen[0].ServiceIntents) != 0 || len(seen[1].ServiceIntents) != 5 || seen[1].Revision != seen[0].Revision+5 {
		t.Errorf("the watch showed %+v, then %+v", seen[0], seen[1])
	}
}
