package health_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// TestIncident follows one outage from the first evidence to service.
func TestIncident(t *testing.T) {
	s := newStage("a", "b", "c").pass(5 * time.Second)
	s.silent("c").report("a", "c")
	memory := change.NewMemory()
	turn := func(d time.Duration) []health.Intent {
		s.pass(d)
		decision := health.Decide(s.now, s.c, s.watch)
		intents := decision.Intents
		for _, i := range health.Incidents(s.now, wall.Add(s.now-boot), s.c, s.watch, intents) {
			s.c.Incidents[i.Name] = i
		}
		if txn, changed := change.Decide(change.Input{
			Now: s.now, At: wall, Conf: s.c, Timings: ownership.DefaultTimings(), Health: decision, Memory: memory,
		}); changed {
			s.c.View = txn.View
		}
		for _, i := range intents {
			switch i.Kind {
			case health.CloseGate:
				s.gate(i.Region, false)
			case health.OpenGateReturning:
				s.gate(i.Region, true)
				s.beat(i.Region)
			default:
			}
		}
		return intents
	}
	turn(time.Second)
	s.report("b", "c")
	turn(time.Second)
	for range 10 {
		turn(time.Second)
	}
	s.watch.Routed(s.c.View.Epoch)
	turn(time.Second)
	s.report("a").report("b").ask("c")
	for range 15 {
		turn(time.Second)
	}
	if intents := turn(time.Second); len(intents) > 0 {
		t.Errorf("after the outage there is still to do: %v", intents)
	}
	at := func(second int) time.Time { return wall.Add(time.Duration(5+second) * time.Second) }
	step := func(name string, second int) ownership.IncidentStep {
		return ownership.IncidentStep{Step: name, At: at(second), SinceSuspected: time.Duration(second) * time.Second}
	}
	want := map[string]ownership.Incident{"c-8": {
		Name: "c-8", Region: "c", Epoch: 9, Closed: true,
		Timeline: []ownership.IncidentStep{
			step(ownership.StepSuspected, 0), step(ownership.StepConfirmed, 2), step(ownership.StepGateClose, 8),
			step(ownership.StepCommitted, 9), step(ownership.StepRouted, 13),
			step(ownership.StepReturned, 15), step(ownership.StepServing, 25),
		},
	}}
	if diff := cmp.Diff(want, s.c.Incidents); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
}

// A leader elected during the outage did not measure its beginning and says so.
func TestIncidentOfAnotherLeader(t *testing.T) {
	s := newStage("a", "b", "c").pass(5*time.Second).incident("c").silent("c").report("a", "c").report("b", "c")
	s.watch = health.NewWatch(ownership.DefaultTimings())
	s.pass(time.Second).gate("c", false)
	got := health.Incidents(s.now, wall, s.c, s.watch, nil)
	want := []ownership.Incident{{Name: "c-7", Region: "c", Timeline: []ownership.IncidentStep{
		{Step: ownership.StepGateClose, At: wall, Approximate: true},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
}

// TestSilent says since when a region is taken to be silent, and by whom.
func TestSilent(t *testing.T) {
	s := newStage("a", "b", "c").pass(5 * time.Second)
	if got := s.watch.Silent(s.now); len(got) > 0 {
		t.Errorf("while all is well: %v", got)
	}
	s.silent("c").report("a", "c").pass(2 * time.Second)
	if diff := cmp.Diff(map[string]time.Duration{"c": 2 * time.Second}, s.watch.Silent(s.now)); diff != "" {
		t.Errorf("since the first evidence (-want +got):\n%s", diff)
	}
	s.watch = health.NewWatch(ownership.DefaultTimings())
	s.pass(2 * time.Second)
	if got := s.watch.Silent(s.now); len(got) > 0 {
		t.Errorf("by an agent that did not see it begin: %v", got)
	}
}

// TestIncidents says what is measured of an outage, by whom, and when it is over. The region c is lost
// or seems to be, and the agent that watches has come to lead when the stage ends.
func TestIncidents(t *testing.T) {
	three := func() *stage { return newStage("a", "b", "c").pass(5 * time.Second) }
	both := func(s *stage) *stage { return s.report("a", "c").report("b", "c") }
	// leaderless is a store that takes nothing until the agents' beats and reports arrive after a time.
	leaderless := func(s *stage, d time.Duration) *stage { return both(s.silent("c").gap(d)).pass(5 * time.Second) }
	opened := func(ago time.Duration) []ownership.IncidentStep {
		return []ownership.IncidentStep{
			{Step: ownership.StepSuspected, At: wall.Add(-ago)},
			{Step: ownership.StepConfirmed, At: wall, SinceSuspected: ago},
		}
	}
	unseen := func(steps []ownership.IncidentStep) []ownership.IncidentStep {
		for i := range steps {
			steps[i].Approximate = true
		}
		return steps
	}
	cases := map[string]struct {
		stage *stage
		want  []ownership.IncidentStep
	}{
		"reports of others, from the first that was seen": {
			three().silent("c").report("a", "c").pass(2*time.Second).report("b", "c").pass(5 * time.Second),
			opened(7 * time.Second),
		},
		"no report while the store has no leader": {leaderless(three(), 4*time.Second), opened(4 * time.Second)},
		"but the agent's own probes": {
			leaderless(three().probe(time.Second, true), 4*time.Second), opened(8 * time.Second),
		},
		"and if they tell only after the reports": {
			leaderless(three(), 4*time.Second).probe(-8*time.Second, true).look(), opened(8 * time.Second),
		},
		"no news for longer than a lease": {
			leaderless(three().probe(time.Second, true).forget(), 8*time.Second), opened(12 * time.Second),
		},
		"no news for so long, and own probes answered": {
			leaderless(three().forget(), 8*time.Second), unseen(opened(5 * time.Second)),
		},
		"reports that were there when the agent began to watch": {
			both(three().silent("c")).forget().look().pass(4 * time.Second), unseen(opened(4 * time.Second)),
		},
		"probes that never were answered": {
			both(three().silent("c")).forget().probe(-time.Hour, false).pass(4 * time.Second),
			unseen(opened(time.Hour + 4*time.Second)),
		},
		"a beat that stood for a lease before any probe failed": {
			both(three().silent("c").pass(20 * time.Second)).pass(time.Second), opened(15 * time.Second),
		},
		"evidence that was gone in between": {
			both(three().report("a", "c").pass(10 * time.Second).report("a").pass(2 * time.Second).silent("c")).pass(3 * time.Second),
			opened(3 * time.Second),
		},
		"silence of the observers ends no suspicion": {
			three().report("a", "c").silent("c").pass(time.Second).silent("a", "b").pass(4*time.Second).
				beat("a").beat("b").report("b", "c").pass(4 * time.Second),
			opened(9 * time.Second),
		},
		"steps of an incident that a predecessor opened, seen to begin as a follower": {
			both(three().silent("c")).pass(4*time.Second).incident("c").pass(time.Second).gate("c", false),
			[]ownership.IncidentStep{{Step: ownership.StepGateClose, At: wall, SinceSuspected: 5 * time.Second}},
		},
		"and after a gap in which that incident stayed open": {
			both(three().silent("c")).pass(4*time.Second).incident("c").pass(time.Second).forget().gap(8*time.Second).gate("c", false),
			[]ownership.IncidentStep{{Step: ownership.StepGateClose, At: wall, SinceSuspected: 13 * time.Second}},
		},
		"and after one in which another was opened": {
			both(three().silent("c")).pass(4*time.Second).incident("c").pass(time.Second).forget().gap(8*time.Second).
				another("c").gate("c", false),
			[]ownership.IncidentStep{{Step: ownership.StepGateClose, At: wall, Approximate: true}},
		},
		"a false alarm": {
			both(three()).pass(time.Second).incident("c").pass(time.Second).report("a").report("b").pass(time.Second),
			[]ownership.IncidentStep{{Step: ownership.StepFalseAlarm, At: wall, SinceSuspected: 3 * time.Second}},
		},
		"no false alarm while the region is not heard of": {
			both(three()).pass(time.Second).incident("c").silent("a", "b", "c").pass(5 * time.Second), nil,
		},
		"served again after its gate was closed": {
			three().incident("c").step("c", ownership.StepGateClose),
			[]ownership.IncidentStep{{Step: ownership.StepServing, At: wall, Approximate: true}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := c.stage
			var got []ownership.IncidentStep
			for _, i := range health.Incidents(s.now, wall, s.c, s.watch, health.Decide(s.now, s.c, s.watch).Intents) {
				if i.Region != "c" {
					t.Errorf("an incident of %s: %+v", i.Region, i)
				}
				last := i.Timeline[len(i.Timeline)-1].Step
				if over := last == ownership.StepFalseAlarm || last == ownership.StepServing; i.Closed != over || i.Epoch != 0 {
					t.Errorf("closed %v with epoch %d after %s", i.Closed, i.Epoch, last)
				}
				got = append(got, i.Timeline[len(s.c.Incidents[i.Name].Timeline):]...)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("new steps (-want +got):\n%s", diff)
			}
		})
	}
}

// gap lets time go by without any news.
func (s *stage) gap(d time.Duration) *stage {
	s.now += d
	return s
}

func (s *stage) look() *stage {
	s.watch.Update(s.now, s.c)
	return s
}

// forget makes the agent one that has had no news for too long. It hears of the configuration next.
func (s *stage) forget() *stage {
	s.watch = s.watch.Anew()
	return s.probed()
}

// probe makes the agent's own probes of c fail from a time on, seen to begin or not.
func (s *stage) probe(from time.Duration, seen bool) *stage {
	s.own["c"] = health.Failing{Since: s.now + from, Seen: seen}
	return s.probed()
}

func (s *stage) probed() *stage {
	s.watch.Probed(s.own)
	return s
}

// another closes the region's incident and opens another one.
func (s *stage) another(region string) *stage {
	delete(s.c.Incidents, region+"-7")
	s.c.Incidents[region+"-9"] = ownership.Incident{Name: region + "-9", Region: region}
	return s
}

// step adds a step to the region's incident.
func (s *stage) step(region, step string) *stage {
	i := s.c.Incidents[region+"-7"]
	i.Timeline = append(i.Timeline, ownership.IncidentStep{Step: step, At: wall})
	s.c.Incidents[i.Name] = i
	return s
}
