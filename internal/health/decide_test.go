package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// stage is a configuration that a test changes step by step, seen by one leader.
type stage struct {
	c     ownership.Configuration
	watch *health.Watch
	now   time.Duration
	// beating lists the regions whose beat moves with every step of time.
	beating map[string]bool
	// own has the regions that the agent's own probes do not reach.
	own map[string]health.Failing
}

const boot = 1000 * time.Second

var wall = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newStage returns regions that all serve and beat.
func newStage(names ...string) *stage {
	s := &stage{
		now: boot, beating: map[string]bool{}, watch: health.NewWatch(ownership.DefaultTimings()), own: map[string]health.Failing{},
	}
	s.c = ownership.Configuration{
		View:  ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
		Gates: map[string]ownership.Gate{}, Agents: map[string]ownership.AgentRecord{}, Asks: map[string]ownership.Ask{},
		Beats: map[string]ownership.Beat{}, Evidence: map[string]ownership.Evidence{},
		Incidents: map[string]ownership.Incident{}, RegionIntents: map[string]ownership.RegionIntent{},
	}
	for _, n := range names {
		s.c.RegionIntents[n] = ownership.RegionIntent{Name: n, Role: "Active"}
		s.c.Agents[n] = ownership.AgentRecord{Incarnation: n + "-1"}
		s.c.Gates[n] = ownership.Gate{Generation: 1, Open: true}
		s.c.Beats[n] = ownership.Beat{N: 100, Incarnation: n + "-1"}
		s.c.View.Regions[n] = ownership.RegionRecord{State: ownership.RegionServing, Role: "Active"}
		s.beating[n] = true
	}
	s.watch.Update(s.now, s.c)
	return s
}

// pass lets time go by in steps of a second; the regions that beat do, and the leader watches.
func (s *stage) pass(d time.Duration) *stage {
	for end := s.now + d; s.now < end; {
		s.now += min(time.Second, end-s.now)
		for n, beats := range s.beating {
			if beats {
				b := s.c.Beats[n]
				b.N++
				s.c.Beats[n] = b
			}
		}
		s.watch.Update(s.now, s.c)
	}
	return s
}

func (s *stage) silent(names ...string) *stage {
	for _, n := range names {
		s.beating[n] = false
	}
	return s
}

// report makes the observer report the regions unreachable.
func (s *stage) report(observer string, unreachable ...string) *stage {
	s.c.Evidence[observer] = ownership.Evidence{Unreachable: unreachable}
	s.watch.Update(s.now, s.c)
	return s
}

func (s *stage) region(name string, change func(*ownership.RegionRecord)) *stage {
	r := s.c.View.Regions[name]
	change(&r)
	s.c.View.Regions[name] = r
	s.watch.Update(s.now, s.c)
	return s
}

func (s *stage) state(name string, state ownership.RegionState) *stage {
	return s.region(name, func(r *ownership.RegionRecord) { r.State = state })
}

func (s *stage) suspect(names ...string) *stage {
	for _, n := range names {
		s.region(n, func(r *ownership.RegionRecord) { r.Suspect = true })
	}
	return s
}

func (s *stage) gate(name string, open bool) *stage {
	s.c.Gates[name] = ownership.Gate{Generation: s.c.Gates[name].Generation + 1, Open: open}
	s.watch.Update(s.now, s.c)
	return s
}

// lost makes the region Lost, with the incident that belongs to it.
func (s *stage) lost(name string) *stage {
	s.silent(name).incident(name).gate(name, false)
	return s.region(name, func(r *ownership.RegionRecord) {
		r.State, r.Incident, r.Flaps = ownership.RegionLost, name+"-7", r.Flaps+1
	})
}

func (s *stage) incident(region string) *stage {
	name := region + "-7"
	s.c.Incidents[name] = ownership.Incident{Name: name, Region: region}
	return s
}

func (s *stage) ask(name string) *stage {
	s.c.Asks[name] = ownership.Ask{Generation: s.c.Gates[name].Generation, Incarnation: s.c.Agents[name].Incarnation}
	return s
}

// decided is what is decided, with the intents as "Kind region".
type decided struct {
	Intents []string
	Held    map[string]string
	Ready   []string
}

func (s *stage) decided() decided {
	d := health.Decide(s.now, s.c, s.watch)
	out := decided{Held: d.Held, Ready: d.Ready}
	for _, i := range d.Intents {
		out.Intents = append(out.Intents, fmt.Sprintf("%s %s", i.Kind, i.Region))
	}
	return out
}

func TestDecide(t *testing.T) {
	const expiry = 6*time.Second + 60*time.Millisecond + time.Nanosecond
	three := func() *stage { return newStage("a", "b", "c").pass(5 * time.Second) }
	five := func() *stage { return newStage("a", "b", "c", "d", "e").pass(5 * time.Second) }
	cases := map[string]struct {
		stage *stage
		want  []string
		held  map[string]string
		ready []string
	}{
		"all is well": {stage: three()},
		"R14: suspect at first evidence": {
			stage: three().report("a", "c"), want: []string{"Suspect c"}, held: map[string]string{"c": health.ReasonNoMajority},
		},
		"R13: one of two observers is no majority": {
			stage: three().suspect("c").report("a", "c").silent("c").pass(5 * time.Second),
			held:  map[string]string{"c": health.ReasonNoMajority},
		},
		"R13: a region has no vote about itself": {
			stage: three().suspect("c").report("a", "c").report("c", "c"), held: map[string]string{"c": health.ReasonNoMajority},
		},
		"evidence gone": {stage: three().suspect("c"), want: []string{"ClearSuspect c"}},
		"R4: confirmed, lease may still run": {
			stage: three().suspect("c").silent("c").pass(4*time.Second).report("a", "c").report("b", "c"),
			want:  []string{"OpenIncident c"}, held: map[string]string{"c": health.ReasonLeaseRunning},
		},
		"R4: a nanosecond before the expiry": {
			stage: three().suspect("c").incident("c").silent("c").report("a", "c").report("b", "c").pass(expiry - 1),
			held:  map[string]string{"c": health.ReasonLeaseRunning},
		},
		"R4: at the expiry": {
			stage: three().suspect("c").incident("c").silent("c").report("a", "c").report("b", "c").pass(expiry),
			want:  []string{"CloseGate c"},
		},
		"R4: a new leader starts afresh": {
			stage: func() *stage {
				s := three().suspect("c").incident("c").silent("c").report("a", "c").report("b", "c").pass(time.Minute)
				s.watch = health.NewWatch(ownership.DefaultTimings())
				return s.pass(4 * time.Second)
			}(),
			held: map[string]string{"c": health.ReasonLeaseRunning},
		},
		"R13: a new leader does not confirm at once what it finds": {
			stage: three().suspect("c").report("a", "c").report("b", "c").forget().pass(2 * time.Second),
			held:  map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R13: but what has stood for downAfter": {
			stage: three().suspect("c").report("a", "c").report("b", "c").forget().pass(4 * time.Second),
			want:  []string{"OpenIncident c"}, held: map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R13: and what it has seen come up as a follower": {
			stage: three().suspect("c").report("a", "c").report("b", "c"),
			want:  []string{"OpenIncident c"}, held: map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R13: what comes up in the first downAfter may be half of a leftover": {
			stage: three().suspect("c").report("a", "c").forget().pass(2*time.Second).report("b", "c").pass(time.Second),
			held:  map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R13: what comes up after a gap without news is not confirmed at once": {
			stage: three().suspect("c").gap(4*time.Second).report("a", "c").report("b", "c").pass(2 * time.Second),
			held:  map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R13: nor what comes up when the observers beat again": {
			stage: three().suspect("c").silent("a", "b").pass(4*time.Second).beat("a").beat("b").
				report("a", "c").report("b", "c").pass(time.Second),
			held: map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R4: a gate that is to be closed does not wait for it": {
			stage: three().suspect("c").silent("a", "b", "c").pass(5*time.Second).beat("a").beat("b").
				report("a", "c").report("b", "c").pass(1100 * time.Millisecond),
			want: []string{"OpenIncident c", "CloseGate c"},
		},
		"R4: an opened gate starts the watch afresh": {
			stage: three().lost("c").pass(time.Minute).gate("c", true).state("c", ownership.RegionReturning).
				report("a", "c").report("b", "c").pass(4 * time.Second),
			held: map[string]string{"c": health.ReasonLeaseRunning},
		},
		"R13: beats that arrive are not expired": {
			stage: three().suspect("c").report("a", "c").report("b", "c").pass(time.Minute),
			want:  []string{"OpenIncident c"}, held: map[string]string{"c": health.ReasonBeatsArrive},
		},
		"R13: two regions are too few observers": {
			stage: newStage("a", "b").suspect("b").report("a", "b").silent("b").pass(time.Minute),
			held:  map[string]string{"b": health.ReasonTooFewObservers},
		},
		"R13: a witness observes": {
			stage: newStage("a", "b", "w").region("w", func(r *ownership.RegionRecord) { r.Role = "Witness" }).
				suspect("b").incident("b").report("a", "b").report("w", "b").silent("b").pass(time.Minute),
			want: []string{"CloseGate b"},
		},
		"R13: a silent agent is no observer": {
			stage: five().suspect("d", "e").silent("d", "e").report("a", "e").report("b", "e").report("d", "a").pass(10 * time.Second),
			want:  []string{"OpenIncident e", "CloseGate e"},
			held:  map[string]string{"d": health.ReasonNoMajority},
		},
		"an agent that stopped, with its edge alive, is suspect only": {
			stage: three().silent("c").pass(time.Minute), want: []string{"Suspect c"},
			held: map[string]string{"c": health.ReasonNoMajority},
		},
		"gate closed by a leader that died": {
			stage: three().suspect("c").silent("c").gate("c", false), want: []string{"OpenIncident c", "DeclareLost c"},
		},
		"gate closed, incident there": {
			stage: three().incident("c").suspect("c").silent("c").gate("c", false), want: []string{"DeclareLost c"},
		},
		"R14: the last serving region stays": {
			stage: three().lost("a").lost("b").suspect("c").incident("c").report("w", "c").
				witness("w").witness("v").report("w", "c").report("v", "c").silent("c").pass(time.Minute),
			held: map[string]string{"a": health.ReasonNotAsked, "b": health.ReasonNotAsked, "c": health.ReasonLastServing},
		},
		"R14: a Returning region that is reachable will serve": {
			stage: three().lost("b").gate("a", true).state("a", ownership.RegionReturning).witness("w").witness("v").
				suspect("c").incident("c").report("w", "c").report("v", "c").silent("c").pass(7 * time.Second),
			want: []string{"CloseGate c"},
			held: map[string]string{"a": health.ReasonHoldDown, "b": health.ReasonNotAsked},
		},
		"R14: a Returning region that is not will not": {
			stage: three().lost("b").gate("a", true).state("a", ownership.RegionReturning).witness("w").witness("v").suspect("c").
				incident("c").report("w", "a", "c").report("v", "c").silent("c").pass(7 * time.Second),
			held: map[string]string{"a": health.ReasonNoMajority, "b": health.ReasonNotAsked, "c": health.ReasonLastServing},
		},
		"R14: a drained region does not serve": {
			stage: three().state("a", ownership.RegionDrained).state("b", ownership.RegionDrained).suspect("c").
				incident("c").report("a", "c").report("b", "c").silent("c").pass(time.Minute),
			held: map[string]string{"c": health.ReasonLastServing},
		},
		"a drained region holds a lease": {
			stage: three().state("c", ownership.RegionDrained).incident("c").report("a", "c").report("b", "c").silent("c").pass(time.Minute),
			want:  []string{"CloseGate c"},
		},
		"a drained region is not suspect": {
			stage: three().state("c", ownership.RegionDrained).report("a", "c"), held: map[string]string{"c": health.ReasonNoMajority},
		},
		"a drained region whose gate is closed is lost": {
			stage: three().state("c", ownership.RegionDrained).incident("c").gate("c", false).silent("c"), want: []string{"DeclareLost c"},
		},
		"R14: a loss is under way": {
			stage: five().lost("e").under("e").report("a", "d").report("b", "d").report("c", "d").suspect("d").incident("d").
				silent("d").pass(time.Minute),
			held: map[string]string{"d": health.ReasonOneAtATime, "e": health.ReasonNotAsked},
		},
		"R14: a loss is under way, and a majority agrees on both": {
			stage: five().lost("e").under("e").report("a", "d", "e").report("b", "d", "e").suspect("d").incident("d").
				silent("d").pass(time.Minute),
			want: []string{"CloseGate d"}, held: map[string]string{"e": health.ReasonNotAsked},
		},
		"R14: a planned change is no loss": {
			stage: three().planned("a").report("a", "c").report("b", "c").suspect("c").incident("c").silent("c").pass(time.Minute),
			want:  []string{"CloseGate c"},
		},
		"declared lost by a person, with too few observers": {
			stage: newStage("a", "b").suspect("b").silent("b").declare("b").pass(7 * time.Second), want: []string{"CloseGate b"},
		},
		"declared lost while another loss is under way": {
			stage: three().lost("c").under("c").suspect("b").silent("b").declare("b").pass(7 * time.Second),
			want:  []string{"CloseGate b"}, held: map[string]string{"c": health.ReasonNotAsked},
		},
		"declared lost, and its lease may run": {stage: newStage("a", "b").silent("b").declare("b").pass(5 * time.Second)},
		"declared lost, and beats":             {stage: three().declare("b").pass(time.Minute)},
		"declared lost, and not taken up": {
			stage: newStage("a", "b").suspect("b").silent("b").declare("b").ordered(ownership.OrderRefused).pass(time.Minute),
			held:  map[string]string{"b": health.ReasonTooFewObservers},
		},
		"R14: the last one that serves is not declared lost": {
			stage: three().lost("a").lost("c").suspect("b").silent("b").declare("b").pass(time.Minute),
			held:  map[string]string{"a": health.ReasonNotAsked, "b": health.ReasonLastServing, "c": health.ReasonNotAsked},
		},
		"R14: nor are the last two, one of them by the observers": {
			stage: three().witness("w").declare("a").silent("a", "b").suspect("a", "b").incident("b").report("c", "b").report("w", "b").
				state("c", ownership.RegionDrained).pass(time.Minute),
			want: []string{"CloseGate a"}, held: map[string]string{"b": health.ReasonLastServing},
		},
		"a region that was declared gone does not return": {
			stage: three().lost("c").region("c", func(r *ownership.RegionRecord) { r.Gone = true }).ask("c"),
			held:  map[string]string{"c": health.ReasonGone},
		},
		"R14: two losses need a majority that agrees on both": {
			stage: five().suspect("d", "e").incident("e").silent("d", "e").
				report("a", "d", "e").report("b", "d").report("c", "e").pass(time.Minute),
			want: []string{"CloseGate e", "OpenIncident d"},
			held: map[string]string{"d": health.ReasonOneAtATime},
		},
		"R14: a majority agrees on both": {
			stage: five().suspect("d", "e").incident("d").incident("e").silent("d", "e").
				report("a", "d", "e").report("b", "d", "e").pass(time.Minute),
			want: []string{"CloseGate d", "CloseGate e"},
		},
		"R5: a lost region that does not ask": {
			stage: three().lost("c").pass(time.Second), held: map[string]string{"c": health.ReasonNotAsked},
		},
		"R5: a lost region asks": {stage: three().lost("c").ask("c"), want: []string{"OpenGateReturning c"}},
		"R5: an ask for another generation does not count": {
			stage: three().lost("c").ask("c").gate("c", false), held: map[string]string{"c": health.ReasonNotAsked},
		},
		"R5: an ask of a replaced incarnation does not count": {
			stage: func() *stage {
				s := three().lost("c").ask("c")
				s.c.Agents["c"] = ownership.AgentRecord{Incarnation: "c-2"}
				return s
			}(),
			held: map[string]string{"c": health.ReasonNotAsked},
		},
		"R5: asks while a majority cannot reach it": {
			stage: three().lost("c").ask("c").report("a", "c").report("b", "c"),
			held:  map[string]string{"c": health.ReasonUnreachable},
		},
		"R14: returning, not yet for upAfter": {
			stage: three().gate("c", true).state("c", ownership.RegionReturning).pass(9 * time.Second),
			held:  map[string]string{"c": health.ReasonHoldDown},
		},
		"R14: a flap doubles the hold-down": {
			stage: three().lost("c").region("c", func(r *ownership.RegionRecord) { r.Flaps = 2 }).
				returning().pass(19 * time.Second),
			held: map[string]string{"c": health.ReasonHoldDown},
		},
		"R14: and then it is ready": {
			stage: three().lost("c").region("c", func(r *ownership.RegionRecord) { r.Flaps = 2 }).
				returning().pass(21 * time.Second),
			ready: []string{"c"},
		},
		"R14: not with a complaint": {
			stage: three().lost("c").returning().pass(time.Minute).report("a", "c"),
			held:  map[string]string{"c": health.ReasonNoMajority},
		},
		"returning and lost again": {
			stage: three().lost("c").returning().report("a", "c").report("b", "c").silent("c").pass(time.Minute),
			want:  []string{"CloseGate c"},
		},
		"a new region asks": {stage: three().newcomer("d").ask("d"), want: []string{"OpenGate d"}},
		"a new region beats": {
			stage: three().newcomer("d").gate("d", true).beat("d"), want: []string{"Admit d"},
		},
		"a new region without an agent": {
			stage: three().newcomer("d"), held: map[string]string{"d": health.ReasonNotAsked},
		},
		"an agent without an intent is not let in": {
			stage: func() *stage {
				s := three().newcomer("d").ask("d")
				delete(s.c.RegionIntents, "d")
				return s
			}(),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			want, got := decided{Intents: c.want, Held: c.held, Ready: c.ready}, c.stage.decided()
			slices.Sort(got.Intents)
			slices.Sort(want.Intents)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

// witness adds a region that observes and never serves users.
func (s *stage) witness(name string) *stage {
	s.newcomer(name).gate(name, true).beat(name)
	return s.region(name, func(r *ownership.RegionRecord) { r.State, r.Role = ownership.RegionServing, "Witness" })
}

// newcomer adds a region that the view does not have.
func (s *stage) newcomer(name string) *stage {
	s.c.RegionIntents[name] = ownership.RegionIntent{Name: name, Role: "Active"}
	s.c.Agents[name] = ownership.AgentRecord{Incarnation: name + "-1"}
	return s
}

func (s *stage) beat(name string) *stage {
	s.c.Beats[name] = ownership.Beat{N: 1, Incarnation: s.c.Agents[name].Incarnation}
	s.beating[name] = true
	s.watch.Update(s.now, s.c)
	return s
}

// returning opens the gate of region c, which is lost; it beats from there on.
func (s *stage) returning() *stage {
	s.gate("c", true).state("c", ownership.RegionReturning)
	return s.beat("c")
}

// declare has a person declare the region lost for good, and the order taken up.
func (s *stage) declare(region string) *stage {
	s.c.OrderIntents = map[string]ownership.OrderIntent{"o": {Name: "o", Type: ownership.OrderDeclareLost, Region: region}}
	return s.ordered(ownership.OrderRunning)
}

func (s *stage) ordered(state ownership.OrderState) *stage {
	s.c.Orders = map[string]ownership.OrderRecord{"o": {Name: "o", State: state}}
	return s
}

// under makes the loss of the regions the change under way.
func (s *stage) under(regions ...string) *stage {
	s.c.View.Phase, s.c.View.Change = ownership.PhaseClosing, &ownership.Change{Kind: ownership.ChangeLoss, Regions: regions}
	return s
}

// planned makes the drain of a region the change under way.
func (s *stage) planned(region string) *stage {
	s.c.View.Phase, s.c.View.Change = ownership.PhaseClosing, &ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{region}}
	return s
}

func TestReachable(t *testing.T) {
	cases := map[string]struct {
		stage *stage
		want  []string
	}{
		"all":                          {newStage("c", "a", "b"), []string{"a", "b", "c"}},
		"not who is silent":            {newStage("a", "b", "c").silent("c").pass(4 * time.Second), []string{"a", "b"}},
		"not whose gate is closed":     {newStage("a", "b", "c").gate("c", false), []string{"a", "b"}},
		"whom half of them reaches":    {newStage("a", "b", "c").report("a", "c"), []string{"a", "b"}},
		"whom most of them reach":      {newStage("a", "b", "c", "d").report("a", "d"), []string{"a", "b", "c", "d"}},
		"what a region says of itself": {newStage("a", "b", "c").report("c", "c"), []string{"a", "b", "c"}},
		"alone":                        {newStage("a"), []string{"a"}},
		"whatever its state":           {newStage("a", "b").state("b", ownership.RegionDrained), []string{"a", "b"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, health.Decide(c.stage.now, c.stage.c, c.stage.watch).Reachable); diff != "" {
				t.Errorf("reachable (-want +got):\n%s", diff)
			}
		})
	}
}
