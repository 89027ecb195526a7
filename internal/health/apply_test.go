package health_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

func TestApply(t *testing.T) {
	before := wall.Add(-time.Hour)
	serving := ownership.RegionRecord{State: ownership.RegionServing, Role: "Active", Since: before}
	cases := map[string]struct {
		record ownership.RegionRecord
		kind   health.Kind
		want   ownership.RegionRecord
	}{
		"suspect": {serving, health.Suspect, ownership.RegionRecord{
			State: ownership.RegionServing, Role: "Active", Suspect: true, Since: wall,
		}},
		"clear suspect": {
			ownership.RegionRecord{State: ownership.RegionServing, Suspect: true}, health.ClearSuspect,
			ownership.RegionRecord{State: ownership.RegionServing, Since: wall},
		},
		"lost": {
			ownership.RegionRecord{State: ownership.RegionServing, Suspect: true}, health.DeclareLost,
			ownership.RegionRecord{State: ownership.RegionLost, Since: wall, Incident: "c-7", Flaps: 1, LostAt: &wall},
		},
		"lost again": {
			ownership.RegionRecord{State: ownership.RegionReturning, Flaps: 1, LostAt: &wall}, health.DeclareLost,
			ownership.RegionRecord{State: ownership.RegionLost, Since: wall, Incident: "c-7", Flaps: 2, LostAt: &wall},
		},
		"lost again after long enough": {
			ownership.RegionRecord{State: ownership.RegionServing, Flaps: 3, LostAt: &before}, health.DeclareLost,
			ownership.RegionRecord{State: ownership.RegionLost, Since: wall, Incident: "c-7", Flaps: 1, LostAt: &wall},
		},
		"returning": {
			ownership.RegionRecord{State: ownership.RegionLost, Incident: "c-7", Flaps: 1}, health.OpenGateReturning,
			ownership.RegionRecord{State: ownership.RegionReturning, Incident: "c-7", Flaps: 1, Since: wall},
		},
		"serving": {
			ownership.RegionRecord{State: ownership.RegionReturning, Incident: "c-7", Flaps: 1}, health.Serve,
			ownership.RegionRecord{State: ownership.RegionServing, Flaps: 1, Since: wall},
		},
		"admitted": {ownership.RegionRecord{}, health.Admit, ownership.RegionRecord{
			State: ownership.RegionServing, Role: "Active", Since: wall,
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage("a", "b", "c")
			s.c.View.Regions["c"] = c.record
			before := s.c.View.Regions["a"]
			next, changed := health.Apply(s.c, []health.Intent{
				{Kind: health.CloseGate, Region: "a"}, {Kind: c.kind, Region: "c"},
			}, ownership.DefaultTimings(), wall)
			if !changed || next.Epoch != s.c.View.Epoch+1 || next.Phase != ownership.PhaseOpen {
				t.Errorf("changed %v, view %+v", changed, next)
			}
			if diff := cmp.Diff(c.want, next.Regions["c"]); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, next.Regions["a"]); diff != "" {
				t.Errorf("another region's record (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.record, s.c.View.Regions["c"]); diff != "" {
				t.Errorf("the configuration was changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestApplyWithoutChange(t *testing.T) {
	s := newStage("a")
	if _, changed := health.Apply(s.c, []health.Intent{{Kind: health.OpenIncident, Region: "a"}}, ownership.DefaultTimings(), wall); changed {
		t.Error("an incident changes no view")
	}
}

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
		state := s.c.View.Regions[i.Region].State
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
		case health.Serve:
			if state != ownership.RegionReturning || silentFor[i.Region] > 3*time.Second {
				t.Fatalf("R14: %s, which is %s and silent for %s, is to serve", i.Region, state, silentFor[i.Region])
			}
		default:
		}
	}
	left := 0
	for _, n := range names {
		if s.c.View.Regions[n].State == ownership.RegionServing && s.c.Gates[n].Open && !closing[n] {
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
