package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// stage is a store in which the region beijing has a leader, an open gate, an acknowledgement, a
// service and a debt.
type stage struct {
	*world
	term  *coordination.Term
	agent *coordination.Registration
}

func newStage(t *testing.T) *stage {
	t.Helper()
	w := newWorld(t)
	s := &stage{world: w, term: w.lead("x"), agent: w.register("one")}
	w.must(s.agent.Ask(t.Context(), w.read()))
	w.must(s.term.OpenGate(t.Context(), w.read(), "beijing"))
	w.must(s.agent.PutAck(t.Context(), w.read(), ownership.Ack{Epoch: 1}))
	w.must(s.term.PutServiceRecords(t.Context(), w.read(), service("u")))
	c := w.read()
	txn := nextView(c)
	txn.Debts = map[string]ownership.Debt{"beijing": {Epoch: 1, Vector: ownership.Vector{"beijing": {"s": 1}}}}
	w.must(s.term.Commit(t.Context(), c, txn))
	return s
}

func service(uid string) ownership.ServiceRecord {
	return ownership.ServiceRecord{UID: uid, Namespace: "accounts", Name: uid, PeerKey: []byte(strings.Repeat("k", 32)),
		ServiceState: ownership.ServiceState{SpecHash: "h", Regions: []string{"beijing", "shanghai"}}}
}

// whole is a transaction that depends on, and writes, one of each.
func whole(c ownership.Configuration) change.Txn {
	txn := nextView(c)
	txn.Services = []ownership.ServiceRecord{service("u")}
	txn.Debts = map[string]ownership.Debt{"beijing": {Epoch: 2, Vector: ownership.Vector{"beijing": {"s": 2}}}}
	txn.Orders = []ownership.OrderRecord{{Name: "o", State: ownership.OrderFailed}}
	txn.Acks, txn.Gates = []string{"beijing", "shanghai", "beijing"}, []string{"beijing", "shanghai"}
	return txn
}

func TestCommitIsGuarded(t *testing.T) {
	ctx := t.Context()
	cases := map[string]struct {
		then  func(*stage, ownership.Configuration)
		guard string
	}{
		"nothing has changed": {func(*stage, ownership.Configuration) {}, ""},
		"what it does not depend on has": {func(s *stage, c ownership.Configuration) {
			s.must(s.agent.Beat(ctx, c, 1))
			s.must(s.term.PutServiceRecords(ctx, c, service("v")))
			s.must(s.PutRegionIntent(ctx, ownership.RegionIntent{Name: "beijing"}))
		}, ""},
		"the view": {func(s *stage, c ownership.Configuration) { s.must(s.term.Commit(ctx, c, nextView(c))) }, coordination.GuardView},
		"a gate":   {func(s *stage, c ownership.Configuration) { s.must(s.term.CloseGate(ctx, c, "beijing")) }, coordination.GuardGate},
		"a gate that was not there": {func(s *stage, c ownership.Configuration) {
			s.must(s.term.OpenGate(ctx, c, "shanghai"))
		}, coordination.GuardGate},
		"an acknowledgement": {func(s *stage, c ownership.Configuration) {
			s.must(s.agent.PutAck(ctx, c, ownership.Ack{Epoch: 1, Fenced: true}))
		}, coordination.GuardAck},
		"a service": {func(s *stage, c ownership.Configuration) { s.must(s.term.PutServiceRecords(ctx, c, service("u"))) }, coordination.GuardRecord},
		"a service is gone": {func(s *stage, c ownership.Configuration) {
			s.must(s.term.DeleteServiceRecord(ctx, c, "u"))
		}, coordination.GuardRecord},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			from := s.read()
			c.then(s, from)
			before := s.read()
			_, err := s.term.Commit(ctx, from, whole(from))
			if c.guard != "" {
				refusedFor(t, c.guard, err)
				if diff := cmp.Diff(before, s.read()); diff != "" {
					t.Errorf("a refused transaction has changed something (-before +after):\n%s", diff)
				}
				return
			}
			s.must(0, err)
			after := s.read()
			want := before
			want.Revision, want.Decided, want.View = after.Revision, after.Revision, whole(from).View
			want.Debts, want.Orders = whole(from).Debts, map[string]ownership.OrderRecord{"o": whole(from).Orders[0]}
			if diff := cmp.Diff(want, after); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}

// refusedFor demands that this comparison failed, however often, and no other.
func refusedFor(t *testing.T, guard string, err error) {
	t.Helper()
	var refused *coordination.GuardError
	if !errors.As(err, &refused) {
		t.Fatalf("the write answered %v, want it refused because %s", err, guard)
	}
	for _, failed := range refused.Failed {
		if failed != guard {
			t.Fatalf("refused because %v, want %s alone", refused.Failed, guard)
		}
	}
}

func TestDeposedLeaderCommitsNothing(t *testing.T) {
	s := newStage(t)
	s.term.Resign()
	s.lead("y")
	c := s.read()
	_, err := s.term.Commit(t.Context(), c, whole(c))
	s.refused(coordination.GuardLeader, err)
}

// A gate is opened for the incarnation that asked: its successor has not read that it is closed.
func TestCommitOpensTheGateForWhoAsked(t *testing.T) {
	ctx := t.Context()
	s := newStage(t)
	s.must(s.term.CloseGate(ctx, s.read(), "beijing"))
	s.must(s.agent.Ask(ctx, s.read()))
	asked := s.read()
	s.register("two")
	_, err := s.term.Commit(ctx, asked, returning(asked))
	s.refused(coordination.GuardAgent, err)
	if got := s.read().Gates["beijing"]; got.Open {
		t.Errorf("gate %+v", got)
	}
	c := s.read()
	s.must(s.term.Commit(ctx, c, returning(c)))
	if got := s.read().Gates["beijing"]; got != (ownership.Gate{Generation: 3, Open: true}) {
		t.Errorf("gate %+v, want it open in generation 3", got)
	}
	// Somebody has opened and closed it since.
	_, err = s.term.Commit(ctx, asked, returning(asked))
	var refused *coordination.GuardError
	if !errors.As(err, &refused) || !refused.Has(coordination.GuardGate) {
		t.Errorf("opening a gate of another generation answered %v", err)
	}
}

func TestCommitRemovesDebts(t *testing.T) {
	s := newStage(t)
	c := s.read()
	txn := nextView(c)
	txn.Debts = map[string]ownership.Debt{"beijing": {}, "unknown": {}}
	s.must(s.term.Commit(t.Context(), c, txn))
	if got := s.read().Debts; len(got) > 0 {
		t.Errorf("debts %v are left", got)
	}
}

// etcd refuses more than 128 operations, or comparisons, of one transaction.
func TestCommitFitsTheStoresLimit(t *testing.T) {
	cases := map[string]struct{ services, regions int }{
		"many services in few regions": {50, 5},
		"many regions":                 {40, 15},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			term := w.lead("x")
			for i := range c.services {
				w.must(term.PutServiceRecords(t.Context(), w.read(), service(fmt.Sprintf("u%d", i))))
			}
			from := w.read()
			txn := nextView(from)
			txn.Debts = map[string]ownership.Debt{}
			for i := range c.services {
				txn.Services = append(txn.Services, service(fmt.Sprintf("u%d", i)))
			}
			for range 2 { // who loses slots and who gains some may be the same
				for i := range c.regions {
					txn.Acks = append(txn.Acks, fmt.Sprintf("r%d", i))
				}
			}
			for i := range c.regions {
				region := fmt.Sprintf("r%d", i)
				txn.Gates = append(txn.Gates, region)
				txn.Debts[region] = ownership.Debt{Epoch: 1, Vector: ownership.Vector{region: {"s": 1}}}
			}
			w.must(term.Commit(t.Context(), from, txn))
			if got := w.read(); got.View.Epoch != 1 || len(got.Debts) != c.regions {
				t.Errorf("epoch %d, debts %v", got.View.Epoch, got.Debts)
			}
		})
	}
}

func TestAcknowledgementsAreGuarded(t *testing.T) {
	ctx := t.Context()
	ack := ownership.Ack{
		Epoch: 3, Incarnation: "forged", Fenced: true, Vector: ownership.Vector{"beijing": {"s": 1}}, CaughtUp: true,
		Stuck: []string{"u"}, Applied: map[string]int64{"shanghai": 2},
	}
	cases := map[string]struct {
		then  func(*stage)
		fresh bool // the writer has seen what was done
		guard string
	}{
		"as it was read":           {then: func(*stage) {}},
		"the view has changed":     {then: func(s *stage) { c := s.read(); s.must(s.term.Commit(ctx, c, nextView(c))) }},
		"the gate is closed":       {then: func(s *stage) { s.must(s.term.CloseGate(ctx, s.read(), "beijing")) }, guard: coordination.GuardGate},
		"and it has seen it":       {then: func(s *stage) { s.must(s.term.CloseGate(ctx, s.read(), "beijing")) }, fresh: true, guard: coordination.GuardGate},
		"the gate is another":      {then: func(s *stage) { s.reopen(ctx) }, guard: coordination.GuardGate},
		"and it has seen it, open": {then: func(s *stage) { s.reopen(ctx) }, fresh: true},
		"the agent is replaced":    {then: func(s *stage) { s.register("two") }, guard: coordination.GuardAgent},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			from := s.read()
			c.then(s)
			want := from.Acks["beijing"]
			if c.fresh {
				from = s.read()
			}
			_, err := s.agent.PutAck(ctx, from, ack)
			if c.guard != "" {
				s.refused(c.guard, err)
			} else {
				s.must(0, err)
				want = ack
				want.Incarnation = "one"
			}
			if diff := cmp.Diff(want, s.read().Acks["beijing"]); diff != "" {
				t.Errorf("acknowledgement (-want +got):\n%s", diff)
			}
		})
	}
}

// reopen closes beijing's gate and opens it again.
func (s *stage) reopen(ctx context.Context) {
	s.t.Helper()
	s.must(s.term.CloseGate(ctx, s.read(), "beijing"))
	s.must(s.agent.Ask(ctx, s.read()))
	c := s.read()
	s.must(s.term.Commit(ctx, c, returning(c)))
}

func TestOrders(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	term := w.lead("x")
	running := ownership.OrderRecord{Name: "o", State: ownership.OrderRunning, Message: "waits"}
	_, err := term.PutOrder(ctx, w.read(), running)
	w.refused(coordination.GuardIntent, err) // nobody ordered it
	intent := ownership.OrderIntent{Name: "o", Type: "Drain", Region: "beijing", ExpectedEpoch: 3, Timeout: 60e9}
	w.must(w.PutOrderIntent(ctx, intent))
	c := w.read()
	w.must(term.PutOrder(ctx, c, running))
	_, err = term.PutOrder(ctx, c, running)
	w.refused(coordination.GuardRecord, err)
	c = w.read()
	if diff := cmp.Diff(map[string]ownership.OrderIntent{"o": intent}, c.OrderIntents); diff != "" {
		t.Errorf("intents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]ownership.OrderRecord{"o": running}, c.Orders); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}

	w.must(w.DeleteOrderIntent(ctx, "o"))
	w.must(w.DeleteOrderIntent(ctx, "o")) // one that is not there is no error
	_, err = term.PutOrder(ctx, w.read(), running)
	w.refused(coordination.GuardIntent, err)
	c = w.read()
	w.must(term.DeleteOrder(ctx, c, "o"))
	_, err = term.DeleteOrder(ctx, c, "o")
	var refused *coordination.GuardError
	if !errors.As(err, &refused) || !refused.Has(coordination.GuardRecord) {
		t.Errorf("forgetting an order twice answered %v", err)
	}
	if c := w.read(); len(c.Orders)+len(c.OrderIntents) > 0 {
		t.Errorf("left over: %v %v", c.Orders, c.OrderIntents)
	}
	if _, err := term.PutOrder(ctx, w.read(), ownership.OrderRecord{Name: "a/b"}); err == nil {
		t.Error("an order's name may reach into another directory")
	}
}

// The watch folds the keys of a change of owners as a read does.
func TestWatchFoldsAcknowledgementsDebtsAndOrders(t *testing.T) {
	s := newStage(t)
	before, stop := watch(t, s.Store)
	before.until(t, s.read().Revision)
	s.must(s.PutOrderIntent(t.Context(), ownership.OrderIntent{Name: "o", Type: "Drain", Region: "beijing"}))
	s.must(s.agent.PutAck(t.Context(), s.read(), ownership.Ack{Epoch: 1, Fenced: true}))
	c := s.read()
	s.must(s.term.Commit(t.Context(), c, whole(c)))
	c = s.read()
	gone := nextView(c)
	gone.Debts = map[string]ownership.Debt{"beijing": {}}
	last := s.must(s.term.Commit(t.Context(), c, gone))
	before.until(t, last)
	stop()
	shown := before.all()
	if diff := cmp.Diff(s.read(), shown[len(shown)-1]); diff != "" {
		t.Errorf("read and folded content differ (-read +folded):\n%s", diff)
	}
	if first := shown[0]; len(first.Debts) != 1 || len(first.Orders) != 0 {
		t.Errorf("a configuration that was handed out has changed: debts %v, orders %v", first.Debts, first.Orders)
	}
}

// As many services as a pass accepts are one configuration; when one of them was withdrawn meanwhile, none is accepted.
func TestManyServicesAreOneConfiguration(t *testing.T) {
	const many = 40
	w := newWorld(t)
	term := w.lead("x")
	records := make([]ownership.ServiceRecord, many)
	for i := range many {
		records[i] = service(fmt.Sprintf("u%d", i))
		w.must(w.PutServiceIntent(t.Context(), ownership.ServiceIntent{UID: records[i].UID, SpecHash: "h"}))
	}
	withdrawn := w.read()
	w.must(w.DeleteServiceIntent(t.Context(), records[many-1].UID))
	_, err := term.PutServiceRecords(t.Context(), withdrawn, records...)
	w.refused(coordination.GuardIntent, err)
	if got := w.read(); len(got.Services) != 0 {
		t.Fatalf("%d are accepted", len(got.Services))
	}
	w.must(w.PutServiceIntent(t.Context(), ownership.ServiceIntent{UID: records[many-1].UID, SpecHash: "h"}))
	before := w.read()
	w.must(term.PutServiceRecords(t.Context(), before, records...))
	if got := w.read(); len(got.Services) != many || got.Revision != before.Revision+1 {
		t.Errorf("%d are accepted in %d revisions", len(got.Services), got.Revision-before.Revision)
	}
}
