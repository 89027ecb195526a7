package coordination_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// What a leader's hub proposes ends with the leader's term, and every leader's ballot is higher than those
// before.
func TestProposalsOfATerm(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	first := w.lead("beijing/1")
	w.must(first.PutBallot(ctx, w.read(), "beijing/1", 0))
	w.must(first.PutRegionIntent(ctx, ownership.RegionIntent{Name: "beijing", Role: "Active"}))
	w.must(first.PutServiceIntent(ctx, ownership.ServiceIntent{UID: "u", SpecHash: "new"}))
	stale := w.read()
	if diff := cmp.Diff(ownership.Ballot{N: 1, Leader: "beijing/1"}, stale.Ballot); diff != "" {
		t.Errorf("ballot (-want +got)\n%s", diff)
	}
	first.Resign()
	second := w.lead("shanghai/1")
	for what, write := range map[string]func() (int64, error){
		"service": func() (int64, error) {
			return first.PutServiceIntent(ctx, ownership.ServiceIntent{UID: "u", SpecHash: "old"})
		},
		"service withdrawn": func() (int64, error) { return first.DeleteServiceIntent(ctx, "u") },
		"region": func() (int64, error) {
			return first.PutRegionIntent(ctx, ownership.RegionIntent{Name: "beijing", Role: "Witness"})
		},
		"region withdrawn": func() (int64, error) { return first.DeleteRegionIntent(ctx, "beijing") },
		"ballot":           func() (int64, error) { return first.PutBallot(ctx, stale, "beijing/1", 0) },
	} {
		t.Run(what, func(t *testing.T) {
			_, err := write()
			(&world{Store: w.Store, t: t}).refused(coordination.GuardLeader, err)
		})
	}
	if c := w.read(); c.ServiceIntents["u"].SpecHash != "new" || c.RegionIntents["beijing"].Role != "Active" {
		t.Errorf("intents %+v, %+v", c.ServiceIntents, c.RegionIntents)
	}
	w.must(second.PutBallot(ctx, w.read(), "shanghai/1", 40))
	if got := w.read().Ballot; got.N != 41 {
		t.Errorf("ballot %+v, want one above 40", got)
	}
	_, err := second.PutBallot(ctx, stale, "shanghai/1", 0)
	w.refused(coordination.GuardRecord, err)
	w.must(second.DeleteServiceIntent(ctx, "u"))
	w.must(second.DeleteRegionIntent(ctx, "beijing"))
	if c := w.read(); len(c.ServiceIntents)+len(c.RegionIntents) > 0 {
		t.Errorf("not withdrawn: %+v, %+v", c.ServiceIntents, c.RegionIntents)
	}
}

// An order stands until the last Operation that gives it is gone.
func TestSharedOrders(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	order := ownership.OrderIntent{Name: "drain-1", Type: "Drain", Region: "beijing"}
	w.must(w.HoldOrder(ctx, order, "beijing", "u1"))
	w.must(w.HoldOrder(ctx, order, "shanghai", "u2"))
	other := order
	other.Region = "shanghai"
	if _, err := w.HoldOrder(ctx, other, "shenzhen", "u3"); !errors.Is(err, coordination.ErrOtherOrder) {
		t.Errorf("another order under the name: error %v", err)
	}
	aborted, again := order, order
	aborted.Abort = "enough"
	w.must(w.HoldOrder(ctx, aborted, "shanghai", "u2"))
	w.must(w.HoldOrder(ctx, again, "beijing", "u1")) // which does not know, and takes nothing back
	want := aborted
	want.Copies = map[string]string{"beijing": "u1", "shanghai": "u2"}
	if diff := cmp.Diff(want, w.read().OrderIntents["drain-1"]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w.must(w.ReleaseOrder(ctx, "drain-1", "beijing"))
	if got := w.read().OrderIntents["drain-1"]; len(got.Copies) != 1 {
		t.Errorf("after one release: %+v", got)
	}
	w.must(w.ReleaseOrder(ctx, "drain-1", "shenzhen")) // which never gave it
	w.must(w.ReleaseOrder(ctx, "drain-1", "shanghai"))
	w.must(w.ReleaseOrder(ctx, "drain-1", "shanghai"))
	if c := w.read(); len(c.OrderIntents) > 0 {
		t.Errorf("orders %+v are still there", c.OrderIntents)
	}
	for _, name := range []string{"", "a/b"} {
		if _, err := w.HoldOrder(ctx, ownership.OrderIntent{Name: name}, "beijing", "u"); err == nil {
			t.Errorf("order %q is given", name)
		}
	}
}
