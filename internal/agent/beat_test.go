package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// fakeRegistration commits beats after during has run, or fails with err.
type fakeRegistration struct {
	during      func()
	err         error
	beats, asks int
}

func (*fakeRegistration) Incarnation() string { return "one" }

func (r *fakeRegistration) Beat(context.Context, ownership.Configuration, int64) (int64, error) {
	r.beats++
	if r.during != nil {
		r.during()
	}
	return 100, r.err
}

func (r *fakeRegistration) Ask(context.Context, ownership.Configuration) (int64, error) {
	r.asks++
	return 100, r.err
}

// TestLeaseCountsFromBeforeTheBeat holds R3: what a slow store takes is part of the lease.
func TestLeaseCountsFromBeforeTheBeat(t *testing.T) {
	closed := ownership.Configuration{Revision: 11, Gates: map[string]ownership.Gate{"beijing": {Generation: 2}}}
	cases := map[string]struct {
		during func(*desk)
		err    error
		before time.Duration // lease before the beat
		want   time.Duration
	}{
		"at once":               {want: 6 * time.Second},
		"a slow commit":         {during: func(d *desk) { d.clock.Step(2 * time.Second) }, want: 4 * time.Second},
		"a commit beyond it":    {during: func(d *desk) { d.clock.Step(7 * time.Second) }, want: 0},
		"refused":               {err: &coordination.GuardError{Failed: []string{coordination.GuardGate}}, want: 0},
		"no answer":             {err: context.DeadlineExceeded, before: 3 * time.Second, want: 3 * time.Second},
		"extends":               {before: 3 * time.Second, want: 6 * time.Second},
		"gate closed meanwhile": {during: func(d *desk) { d.deliver(closed) }, before: time.Second, want: 0},
		"another store meanwhile": {
			during: func(d *desk) { d.storeAnswered(&coordination.OtherStoreError{}) }, before: time.Second, want: 0,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.show(10, 3)
			d.lease(c.before)
			r := &fakeRegistration{err: c.err}
			if c.during != nil {
				r.during = func() { c.during(d) }
			}
			conf, _ := d.Snapshot()
			if err := d.beatOnce(t.Context(), r, conf, 1); !errors.Is(err, c.err) {
				t.Errorf("beating answered %v, want %v", err, c.err)
			}
			if d.Lease() != c.want || r.beats != 1 || r.asks != 0 {
				t.Errorf("lease %s after %d beats and %d asks, want %s after one beat", d.Lease(), r.beats, r.asks, c.want)
			}
		})
	}
}

// TestAsksOnce holds R5: an agent whose gate is closed asks, once for each generation.
func TestAsksOnce(t *testing.T) {
	gate := map[string]ownership.Gate{"beijing": {Generation: 4}}
	cases := map[string]struct {
		conf ownership.Configuration
		asks int
	}{
		"no gate yet":  {ownership.Configuration{}, 1},
		"closed":       {ownership.Configuration{Gates: gate}, 1},
		"asked before": {ownership.Configuration{Gates: gate, Asks: map[string]ownership.Ask{"beijing": {Generation: 4, Incarnation: "one"}}}, 0},
		"asked for another generation": {
			ownership.Configuration{Gates: gate, Asks: map[string]ownership.Ask{"beijing": {Generation: 2, Incarnation: "one"}}}, 1,
		},
		"predecessor asked": {
			ownership.Configuration{Gates: gate, Asks: map[string]ownership.Ask{"beijing": {Generation: 4, Incarnation: "zero"}}}, 1,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			r := &fakeRegistration{}
			if err := d.beatOnce(t.Context(), r, c.conf, 1); err != nil {
				t.Fatal(err)
			}
			if r.asks != c.asks || r.beats != 0 || d.Lease() != 0 {
				t.Errorf("%d asks, %d beats, lease %s; want %d asks and nothing else", r.asks, r.beats, d.Lease(), c.asks)
			}
		})
	}
}

func TestStoreReachable(t *testing.T) {
	d := newDesk(t)
	if reachable, err := d.StoreReachable(); reachable || err != nil {
		t.Errorf("before any answer: %v, %v", reachable, err)
	}
	expect := func(when string, want bool) {
		t.Helper()
		if reachable, err := d.StoreReachable(); reachable != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", when, reachable, err, want)
		}
	}
	d.show(10, 3)
	expect("after a configuration", true)
	d.clock.Step(3*time.Second + 1)
	expect("after downAfter", false)
	d.storeAnswered(&coordination.GuardError{})
	expect("after a refused write", true)
	d.clock.Step(time.Minute)
	d.storeAnswered(context.DeadlineExceeded)
	expect("after a call without an answer", false)
	d.storeAnswered(&coordination.OtherStoreError{})
	if reachable, err := d.StoreReachable(); reachable || !errors.Is(err, coordination.ErrOtherStore) {
		t.Errorf("with another store: %v, %v", reachable, err)
	}
}
