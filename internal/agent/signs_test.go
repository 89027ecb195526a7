package agent

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// What an agent sees itself is a sign of a loss, unless the region is lost already.
func TestSigns(t *testing.T) {
	clock := newFakeClock()
	timings := ownership.DefaultTimings()
	a := &Agent{
		config:      Config{Region: "beijing", Clock: clock, Timings: timings},
		subscribers: map[chan struct{}]struct{}{}, observer: health.NewObserver(timings),
	}
	state := func(s ownership.RegionState) {
		a.deliver(ownership.Configuration{
			Revision: a.conf.Revision + 1,
			View:     ownership.View{Epoch: 7, Regions: map[string]ownership.RegionRecord{"shanghai": {State: s}}},
			Gates:    map[string]ownership.Gate{"shanghai": {Generation: a.conf.Gates["shanghai"].Generation + 1, Open: s != ownership.RegionLost}},
		})
	}
	probe := func(answered bool) {
		now := clock.Boottime()
		a.observer.Record(now-time.Second, now, "shanghai", answered)
	}
	holds := func(what string, want bool) {
		t.Helper()
		if got := a.Signs(); got != want {
			t.Errorf("%s: signs of a loss: %t", what, got)
		}
	}
	holds("before the first configuration", false)
	state(ownership.RegionServing)
	probe(true)
	holds("all is well", false)
	probe(false)
	holds("one probe fails", false)
	probe(false)
	holds("and another", true)
	state(ownership.RegionLost)
	holds("the region is lost", false)
	state(ownership.RegionReturning)
	holds("it returns", true)
	probe(true)
	holds("and answers", false)
	clock.Step(timings.DownAfter + time.Second)
	holds("the store does not answer", true)
}
