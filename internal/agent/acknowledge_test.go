package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// fakeLocal answers what it is told to.
type fakeLocal struct {
	running bool
	vector  ownership.Vector
	stuck   []string
	err     error
	asked   ownership.Vector
	lost    []string
}

func (l *fakeLocal) Stopped(context.Context, ownership.Configuration) (bool, error) {
	return !l.running, l.err
}
func (l *fakeLocal) Vector(context.Context) (ownership.Vector, error) { return l.vector, l.err }
func (l *fakeLocal) CaughtUp(_ context.Context, target ownership.Vector, lost []string) (bool, []string, error) {
	l.asked, l.lost = target, lost
	return len(l.stuck) == 0, l.stuck, l.err
}
func (*fakeLocal) Lagging(context.Context) []string { return nil }

// fakeAcks keeps what was said.
type fakeAcks struct{ said []ownership.Ack }

func (f *fakeAcks) PutAck(_ context.Context, _ ownership.Configuration, a ownership.Ack) (int64, error) {
	f.said = append(f.said, a)
	return 100, nil
}

// draining is a configuration in which beijing is being drained, with shanghai to take over.
func draining() ownership.Configuration {
	serving := ownership.RegionRecord{State: ownership.RegionServing, Role: health.RoleActive}
	open := ownership.Gate{Generation: 1, Open: true}
	before := map[string]ownership.RegionRecord{"beijing": serving, "shanghai": serving}
	return ownership.Configuration{
		Revision: 20, Gates: map[string]ownership.Gate{"beijing": open, "shanghai": open},
		View: ownership.View{
			Epoch: 8, Phase: ownership.PhaseClosing, Base: 7, Previous: before, Change: &ownership.Change{Kind: ownership.ChangeDrain},
			Regions: map[string]ownership.RegionRecord{"beijing": {State: ownership.RegionDrained, Role: health.RoleActive}, "shanghai": serving},
		},
		Services: map[string]ownership.ServiceRecord{"u": {UID: "u", ServiceState: ownership.ServiceState{SpecHash: "h", Regions: []string{"beijing", "shanghai"}}}},
		Acks:     map[string]ownership.Ack{}, Debts: map[string]ownership.Debt{},
	}
}

// TestAcknowledgesWhenFenced holds R8: no word before everything that may accept a write has ended.
func TestAcknowledgesWhenFenced(t *testing.T) {
	ready := func(d *desk, _ *fakeLocal) { d.clock.Step(health.Expiry(d.config.Timings)) }
	gateway := func(epoch int64, busy int) func(*desk, *fakeLocal) {
		return func(d *desk, l *fakeLocal) {
			ready(d, l)
			d.acks.lease(serviceName{"accounts", "user"}, "gw-1", 6*time.Second)
			d.acks.note(Ack{Namespace: "accounts", Name: "user", Gateway: "gw-1", Epoch: epoch, Busy: busy})
		}
	}
	cases := map[string]struct {
		given func(*desk, *fakeLocal)
		want  bool
	}{
		"nothing runs here":                {ready, true},
		"just started":                     {func(*desk, *fakeLocal) {}, false},
		"a gateway acts on the epoch":      {gateway(8, 0), true},
		"a gateway acts on an earlier one": {gateway(7, 0), false},
		"a write is under way":             {gateway(8, 1), false},
		"a gateway that was given a lease, mute": {func(d *desk, l *fakeLocal) {
			ready(d, l)
			d.acks.lease(serviceName{"accounts", "user"}, "gw-2", time.Second)
		}, false},
		"its lease has run out":                   {func(d *desk, l *fakeLocal) { gateway(7, 1)(d, l); d.clock.Step(7 * time.Second) }, true},
		"its lease has run out, not on its clock": {func(d *desk, l *fakeLocal) { gateway(7, 1)(d, l); d.clock.Step(6050 * time.Millisecond) }, false},
		"a workload still runs":                   {func(d *desk, l *fakeLocal) { ready(d, l); l.running = true }, false},
		"workloads cannot be looked at":           {func(d *desk, l *fakeLocal) { ready(d, l); l.err = errors.New("no API server") }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, l, r := newDesk(t), &fakeLocal{vector: ownership.Vector{"beijing": {"s": 5}}}, &fakeAcks{}
			d.config.Local = l
			started := d.clock.Boottime()
			c.given(d, l)
			var said ownership.Ack
			if err := d.acknowledgeOnce(t.Context(), r, draining(), started, &said); err != nil {
				t.Fatal(err)
			}
			var want []ownership.Ack
			if c.want {
				want = []ownership.Ack{{Epoch: 8, Fenced: true, Vector: l.vector}}
			}
			if diff := cmp.Diff(want, r.said); diff != "" {
				t.Errorf("acknowledged (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAcknowledgesWhenCaughtUp holds R9 and R10: a region that gains slots waits for those that lose
// them, and for the debts.
func TestAcknowledgesWhenCaughtUp(t *testing.T) {
	fencedAck := ownership.Ack{Epoch: 8, Fenced: true, Vector: ownership.Vector{"beijing": {"s": 5}, "shanghai": {"s": 2}}}
	early := fencedAck
	early.Epoch = 7
	caughtUp := []ownership.Ack{{Epoch: 8, CaughtUp: true}}
	cases := map[string]struct {
		ack    ownership.Ack
		change func(*ownership.Configuration, *fakeLocal)
		want   []ownership.Ack
		asked  ownership.Vector
	}{
		"the loser is not fenced":        {},
		"it was for an earlier epoch":    {ack: early},
		"everything is applied":          {ack: fencedAck, want: caughtUp, asked: ownership.Vector{"beijing": {"s": 5}}},
		"applied for some services":      {ack: fencedAck, change: func(_ *ownership.Configuration, l *fakeLocal) { l.stuck = []string{"u"} }, want: []ownership.Ack{{Epoch: 8, CaughtUp: true, Stuck: []string{"u"}}}, asked: ownership.Vector{"beijing": {"s": 5}}},
		"what is applied cannot be read": {ack: fencedAck, change: func(_ *ownership.Configuration, l *fakeLocal) { l.err = errors.New("no broker") }, asked: ownership.Vector{"beijing": {"s": 5}}},
		"the loser's gate is closed":     {change: func(c *ownership.Configuration, _ *fakeLocal) { delete(c.Gates, "beijing") }},
		"the loser is lost": {change: func(c *ownership.Configuration, _ *fakeLocal) {
			delete(c.Gates, "beijing")
			c.View.Regions["beijing"] = ownership.RegionRecord{State: ownership.RegionLost, Role: health.RoleActive}
		}, want: caughtUp, asked: ownership.Vector{}},
		"an earlier change left a debt behind": {ack: fencedAck, change: func(c *ownership.Configuration, _ *fakeLocal) {
			c.Debts["shenzhen"] = ownership.Debt{Epoch: 3, Vector: ownership.Vector{"beijing": {"s": 9}}}
		}, want: []ownership.Ack{{Epoch: 8, CaughtUp: true, Applied: map[string]int64{"shenzhen": 3}}}, asked: ownership.Vector{"beijing": {"s": 9}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, l, r, conf := newDesk(t), &fakeLocal{}, &fakeAcks{}, draining()
			d.config.Local, d.config.Region = l, "shanghai"
			conf.Acks["beijing"] = c.ack
			if c.change != nil {
				c.change(&conf, l)
			}
			var said ownership.Ack
			if err := d.acknowledgeOnce(t.Context(), r, conf, 0, &said); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, r.said); diff != "" {
				t.Errorf("acknowledged (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.asked, l.asked); diff != "" {
				t.Errorf("asked whether the region has (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAcknowledgesOnce holds that a fact is written once, and found out anew for another epoch.
func TestAcknowledgesOnce(t *testing.T) {
	d, l, r, conf := newDesk(t), &fakeLocal{}, &fakeAcks{}, draining()
	d.config.Local = l
	d.clock.Step(health.Expiry(d.config.Timings))
	var said ownership.Ack
	pass := func() {
		t.Helper()
		if err := d.acknowledgeOnce(t.Context(), r, conf, 0, &said); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	conf.Acks["beijing"] = r.said[0]
	l.running = true // it is a fact all the same
	pass()
	if len(r.said) != 1 {
		t.Errorf("said %+v, want it once", r.said)
	}
	conf.View.Epoch = 9
	pass()
	if len(r.said) != 1 {
		t.Errorf("said %+v, though a workload runs in the next epoch", r.said)
	}
}
