package gateway

import (
	"sync"
	"sync/atomic"
	"testing"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// pairOfRouters returns two configurations: beijing owns the slot by the first, and by the second it is
// closing.
func pairOfRouters(t *testing.T) (own, closing *Router, slot int) {
	t.Helper()
	cfg := testConfig()
	own = mustCompile(t, cfg)
	next := testConfig()
	next.Closing, next.Before = true, testConfig().Regions
	next.Regions[0].State = ownership.RegionDrained
	return own, mustCompile(t, next), ownership.Slot(keyHomedIn(t, "beijing"))
}

// Whatever the order in which requests and configurations come: once a closing configuration is current
// and nothing is counted, nothing is under way, and nothing comes any more. A request that comes too late
// is counted for an instant, and not admitted.
func TestNothingIsUnderWayOnceNothingIsCounted(t *testing.T) {
	own, closing, slot := pairOfRouters(t)
	s := &state{settled: make(chan struct{}, 1)}
	s.install(&snapshot{router: own})
	var underWay atomic.Int64
	stop := make(chan struct{})
	var requests sync.WaitGroup
	for range 4 {
		requests.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				snap := s.load()
				if snap.router.accepts(snap.router, slot) && s.admit(snap, slot) {
					underWay.Add(1)
					underWay.Add(-1)
					s.ended(snap, slot)
				}
			}
		})
	}
	for range 300 {
		s.install(&snapshot{router: closing})
		for s.load().busy() > 0 {
			<-s.settled // a request that ends last says so
		}
		for range 50 {
			if n := underWay.Load(); n != 0 {
				t.Fatalf("%d requests are under way", n)
			}
		}
		s.install(&snapshot{router: own})
	}
	close(stop)
	requests.Wait()
}

func TestBusyCountsWhatIsNotAdmittedAnyMore(t *testing.T) {
	own, closing, slot := pairOfRouters(t)
	s := &state{settled: make(chan struct{}, 1)}
	want := func(n int) {
		t.Helper()
		if got := s.load().busy(); got != n {
			t.Errorf("%d are busy, want %d", got, n)
		}
	}
	s.install(&snapshot{router: own})
	first := s.load()
	for _, admitted := range []int{slot, slot, pinnedSlot} {
		if !s.admit(first, admitted) {
			t.Fatal("not admitted")
		}
	}
	want(0)
	s.install(&snapshot{router: own, version: "renewed"})
	want(0)
	s.install(&snapshot{router: closing})
	want(3) // shanghai owned the pinned data all the time
	if s.admit(first, slot) {
		t.Error("an old snapshot admits")
	}
	s.ended(first, pinnedSlot)
	s.install(&snapshot{router: closing, version: "renewed"})
	want(2)
	s.ended(first, slot)
	s.install(&snapshot{router: own}) // given up
	want(0)
	s.install(&snapshot{router: mustCompile(t, closedConfig())})
	want(1)
	s.ended(first, slot)
	want(0)
	if len(s.settled) == 0 {
		t.Error("nobody was told")
	}
	s.install(&snapshot{router: own})
	if n := len(s.load().earlier); n != 1 {
		t.Errorf("%d earlier configurations are kept, want the last", n)
	}
}

func closedConfig() routing.Config {
	cfg := testConfig()
	cfg.Closed = true
	return cfg
}

// Pinned data is known by its list of regions: flows come and go.
func TestPinnedDataIsFoundInAnotherConfiguration(t *testing.T) {
	flow := func(name string, pinned ...string) routing.Flow {
		return routing.Flow{Name: name, HomeRegion: true, Pinned: pinned, Match: []routing.Match{{Path: "/" + name}}}
	}
	with := func(flows ...routing.Flow) *Router {
		cfg := testConfig()
		cfg.Flows = flows
		return mustCompile(t, cfg)
	}
	here, there := flow("here", "beijing", "shanghai"), flow("there", "shanghai", "beijing")
	old, next, without := with(here, there, flow("again", "beijing", "shanghai")), with(there, here), with(there)
	if len(old.holders) != ownership.SlotCount+2 {
		t.Errorf("%d places for two lists", len(old.holders)-ownership.SlotCount)
	}
	for _, tc := range []struct {
		r    *Router
		slot int
		want bool
	}{{old, 0, true}, {old, 1, false}, {next, 0, true}, {next, 1, false}, {without, 0, false}, {without, 1, false}} {
		if got := tc.r.accepts(old, pinnedSlot+tc.slot); got != tc.want {
			t.Errorf("flows %v accept list %d: %t", tc.r.cfg.Flows, tc.slot, got)
		}
	}
}
