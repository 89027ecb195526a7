package health_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

func TestHoldDown(t *testing.T) {
	want := map[int]time.Duration{
		0: 10 * time.Second, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second,
		6: 320 * time.Second, 7: 10 * time.Minute, 8: 10 * time.Minute, 1 << 30: 10 * time.Minute,
	}
	for flaps, d := range want {
		if got := health.HoldDown(ownership.DefaultTimings(), flaps); got != d {
			t.Errorf("after %d flaps: %s, want %s", flaps, got, d)
		}
	}
}

func TestFlapsAt(t *testing.T) {
	ago := func(d time.Duration) *time.Time {
		at := wall.Add(-d)
		return &at
	}
	cases := map[string]struct {
		record ownership.RegionRecord
		want   int
	}{
		"the first loss":                {ownership.RegionRecord{}, 1},
		"another soon after":            {ownership.RegionRecord{Flaps: 1, LostAt: ago(9 * time.Minute)}, 2},
		"one is forgotten after 10 min": {ownership.RegionRecord{Flaps: 3, LostAt: ago(10 * time.Minute)}, 3},
		"all are, and no more":          {ownership.RegionRecord{Flaps: 3, LostAt: ago(time.Hour)}, 1},
		"a clock that went back":        {ownership.RegionRecord{Flaps: 3, LostAt: ago(-time.Hour)}, 4},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := health.FlapsAt(ownership.DefaultTimings(), c.record, wall); got != c.want {
				t.Errorf("%d flaps, want %d", got, c.want)
			}
		})
	}
}

// TestDecideNeverGoesTooFar draws outages of every shape and holds every decision against the
// rules, computed here by other means.
func TestDecideNeverGoesTooFar(t *testing.T) {
	states := []ownership.RegionState{
		ownership.RegionServing, ownership.RegionServing, ownership.RegionServing,
		ownership.RegionLost, ownership.RegionReturning, ownership.RegionDrained,
	}
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(1, 5).Draw(t, "regions")]
		s := newStage(names...)
		silentFor := map[string]time.Duration{}
		for _, n := range names {
			s.state(n, rapid.SampledFrom(states).Draw(t, "state of "+n))
			if rapid.Bool().Draw(t, "gate of "+n+" closed") {
				s.gate(n, false)
			}
			s.report(n, rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, n+" cannot reach")...)
		}
		for range rapid.IntRange(1, 4).Draw(t, "phases") {
			for _, n := range names {
				s.beating[n] = s.c.Gates[n].Open && rapid.Bool().Draw(t, n+" beats")
			}
			d := time.Duration(rapid.IntRange(1, 8).Draw(t, "seconds")) * time.Second
			for _, n := range names {
				silentFor[n] += d
				if s.beating[n] {
					silentFor[n] = 0
				}
			}
			s.pass(d)
		}
		check(t, s, names, silentFor)
	})
}

func check(t *rapid.T, s *stage, names []string, silentFor map[string]time.Duration) {
	d := health.Decide(s.now, s.c, s.watch)
	closing := map[string]bool{}
	for _, i := range d.Intents {
		switch i.Kind {
		case health.CloseGate:
			closing[i.Region] = true
			if silentFor[i.Region] < 6*time.Second {
				t.Fatalf("R4: closes the gate of %s after %s", i.Region, silentFor[i.Region])
			}
			witnesses := 0
			for _, n := range names {
				if n != i.Region && s.beating[n] && slices.Contains(s.c.Evidence[n].Unreachable, i.Region) {
					witnesses++
				}
			}
			// A region that stopped within downAfter may count as one more.
			if len(names) < 3 || witnesses == 0 && countRecent(names, silentFor) == 0 {
				t.Fatalf("R13: closes the gate of %s on the word of nobody", i.Region)
			}
		case health.DeclareLost:
			if s.c.Gates[i.Region].Open {
				t.Fatalf("R4: declares %s Lost with its gate open", i.Region)
			}
		default:
		}
	}
	for _, n := range d.Ready {
		if state := s.c.View.Regions[n].State; state != ownership.RegionReturning || silentFor[n] > 3*time.Second {
			t.Fatalf("R14: %s, which is %s and silent for %s, is ready", n, state, silentFor[n])
		}
	}
	left := 0
	for _, n := range names {
		state := s.c.View.Regions[n].State
		joins := state == ownership.RegionReturning && slices.Contains(d.Reachable, n)
		if (state == ownership.RegionServing || joins) && s.c.Gates[n].Open && !closing[n] {
			left++
		}
	}
	if len(closing) > 0 && left == 0 {
		t.Fatalf("R14: closes the gates of %v and leaves no region that serves", closing)
	}
}

// countRecent counts the regions that fell silent so lately that they still count as observers.
func countRecent(names []string, silentFor map[string]time.Duration) int {
	n := 0
	for _, name := range names {
		if d := silentFor[name]; d > 0 && d <= 3*time.Second {
			n++
		}
	}
	return n
}
