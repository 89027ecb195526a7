package pace_test

import (
	"fmt"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
)

// world is three regions as the store has them.
type world struct {
	clock *clocktesting.FakeClock
	conf  ownership.Configuration
	signs bool
	pacer *pace.Pacer
}

func newWorld() *world {
	w := &world{clock: clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	w.conf = ownership.Configuration{
		View:  ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
		Gates: map[string]ownership.Gate{}, Evidence: map[string]ownership.Evidence{},
	}
	for _, name := range []string{"a", "b", "c"} {
		w.conf.View.Regions[name] = ownership.RegionRecord{State: ownership.RegionServing}
		w.conf.Gates[name] = ownership.Gate{Open: true}
	}
	w.pacer = pace.New(w.clock, func() (ownership.Configuration, bool) { return w.conf, true })
	w.pacer.Signs = func() bool { return w.signs }
	return w
}

// lose makes c lost.
func (w *world) lose() {
	w.conf.View.Regions["c"] = ownership.RegionRecord{State: ownership.RegionLost}
	w.conf.Gates["c"] = ownership.Gate{}
}

// TestLosing tells which configurations are those of a loss under way.
func TestLosing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*world)
		want   bool
	}{
		"all is well":                         {func(*world) {}, false},
		"probes fail":                         {func(w *world) { w.conf.Evidence["a"] = ownership.Evidence{Failing: []string{"c"}} }, true},
		"a region cannot be reached":          {func(w *world) { w.conf.Evidence["a"] = ownership.Evidence{Unreachable: []string{"c"}} }, true},
		"a region has no vote about itself":   {func(w *world) { w.conf.Evidence["c"] = ownership.Evidence{Failing: []string{"c"}} }, false},
		"it is suspected":                     {func(w *world) { w.conf.View.Regions["c"] = ownership.RegionRecord{Suspect: true} }, true},
		"its gate is closed":                  {func(w *world) { w.conf.Gates["c"] = ownership.Gate{} }, true},
		"it is lost":                          {func(w *world) { w.lose() }, false},
		"what a lost one says is an old tale": {func(w *world) { w.lose(); w.conf.Evidence["c"] = ownership.Evidence{Unreachable: []string{"a"}} }, false},
		"it is lost, and others cannot reach it": {func(w *world) {
			w.lose()
			w.conf.Evidence["a"] = ownership.Evidence{Unreachable: []string{"c"}}
		}, false},
		"owners change for it": {func(w *world) {
			w.lose()
			w.conf.View.Phase, w.conf.View.Change = ownership.PhaseClosing, &ownership.Change{Kind: ownership.ChangeLoss}
		}, true},
		"a planned change": {func(w *world) {
			w.conf.View.Phase, w.conf.View.Change = ownership.PhaseClosing, &ownership.Change{Kind: ownership.ChangeDrain}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			c.change(w)
			if got := pace.Losing(w.conf); got != c.want {
				t.Errorf("losing is %t", got)
			}
		})
	}
}

// wrote lets time go by until the writer may write, and returns how long that took.
func (w *world) wrote(t *testing.T, writer string) time.Duration {
	t.Helper()
	began := w.clock.Now()
	for range 1000 {
		wait := w.pacer.Wait(writer)
		if wait == 0 {
			return w.clock.Since(began)
		}
		w.clock.Step(wait)
	}
	t.Fatal("it waits for ever")
	return 0
}

func TestNothingWaitsWhileAllIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, p := range []*pace.Pacer{w.pacer, nil} {
		p.Wait("service")
		if wait := p.Wait("service"); wait != 0 {
			t.Errorf("waits %s", wait)
		}
	}
	(*pace.Pacer)(nil).Notice()
}

// From the first sign on nobody writes until the loss is in force and gateways have had time to act; then all
// do, one after the other, and in their order however often they ask.
func TestWritersFollowALoss(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.pacer.Notice()
	for i := range 1000 {
		if w.pacer.Wait(fmt.Sprint(i)) == 0 {
			t.Fatal("writes at the first sign")
		}
	}
	w.clock.Step(3 * time.Second)
	w.conf.Evidence["a"] = ownership.Evidence{Unreachable: []string{"c"}}
	w.pacer.Wait("1")
	w.clock.Step(9 * time.Second)
	if w.pacer.Wait("0") == 0 {
		t.Error("writes during the loss")
	}
	w.lose()
	if got := w.wrote(t, "0"); got < 3*time.Second || got > 4*time.Second {
		t.Errorf("the first waits %s more", got)
	}
	if got := w.wrote(t, "999"); got < 10*time.Second || got > time.Minute {
		t.Errorf("the last waits %s more: it is one of a thousand", got)
	}
	w.clock.Step(time.Minute)
	if wait := w.pacer.Wait("999"); wait != 0 {
		t.Errorf("waits %s after everything was told", wait)
	}
}

// A second loss holds back what the first one did not come to tell.
func TestALossAfterALoss(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.signs = true
	w.pacer.Wait("service")
	w.signs = false
	if wait := w.pacer.Wait("service"); wait < 2*time.Second {
		t.Errorf("waits %s", wait)
	}
	w.clock.Step(time.Second)
	w.signs = true
	w.pacer.Wait("service")
	w.clock.Step(4 * time.Second)
	if w.pacer.Wait("service") == 0 {
		t.Error("writes during the second")
	}
}

// What does not come to an end is told all the same, and so is what comes of it.
func TestNothingWaitsForGood(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*world){
		"a region is reached by some": func(w *world) { w.conf.Evidence["a"] = ownership.Evidence{Unreachable: []string{"c"}} },
		"the store does not answer":   func(w *world) { w.signs = true },
		"a connection flaps":          func(w *world) { w.pacer.Notice() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			begin(w)
			w.pacer.Wait("other")
			if got := w.wrote(t, "service"); got < 4*time.Second || got > 30*time.Second {
				t.Errorf("waits %s", got)
			}
			begin(w)
			w.clock.Step(time.Second)
			if got := w.wrote(t, "service"); got > 30*time.Second {
				t.Errorf("the next one waits %s", got)
			}
		})
	}
}
