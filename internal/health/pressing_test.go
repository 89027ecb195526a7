package health_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// quiet gives the stage's leader the memory that it has in production, and has it watch for a while.
func quiet(names ...string) *stage {
	s := newStage(names...)
	s.watch = health.NewQuietWatch(ownership.DefaultTimings())
	s.watch.Update(s.now, s.c)
	return s.pass(5 * time.Second)
}

// unwritten takes c's incident away: nobody has written it.
func (s *stage) unwritten() *stage {
	delete(s.c.Incidents, "c-7")
	return s
}

func (s *stage) told(held map[string]string) *stage {
	s.c.Held = held
	return s
}

func (s *stage) beats(name string) *stage {
	s.beating[name] = true
	return s
}

// A region that dies is lost without a word: the incident is opened, and its steps are written, when that is
// done. One that goes on beating, or whose loss does not come, is told of at once.
func TestQuietDecisions(t *testing.T) {
	const expiry = 6*time.Second + 60*time.Millisecond + time.Nanosecond
	both := func(s *stage) *stage { return s.report("a", "c").report("b", "c") }
	for name, c := range map[string]struct {
		stage *stage
		want  []string
	}{
		"suspect at first evidence":       {quiet("a", "b", "c").report("a", "c"), []string{"Suspect c"}},
		"confirmed while it beats":        {both(quiet("a", "b", "c").suspect("c")), []string{"OpenIncident c"}},
		"confirmed, its beat stands":      {both(quiet("a", "b", "c").suspect("c").silent("c").pass(4 * time.Second)), nil},
		"not marked as suspect any more":  {both(quiet("a", "b", "c").silent("c").pass(4 * time.Second)), nil},
		"its lease has run out":           {both(quiet("a", "b", "c").suspect("c").silent("c")).pass(expiry), []string{"CloseGate c"}},
		"its gate is closed":              {both(quiet("a", "b", "c").suspect("c").silent("c")).gate("c", false), []string{"DeclareLost c"}},
		"lost, and nothing is written":    {both(quiet("a", "b", "c")).lost("c").unwritten().pass(2900 * time.Millisecond), nil},
		"a moment later":                  {both(quiet("a", "b", "c")).lost("c").unwritten().pass(3 * time.Second), []string{"OpenIncident c"}},
		"written":                         {both(quiet("a", "b", "c")).lost("c").pass(time.Second), nil},
		"it returns before that":          {both(quiet("a", "b", "c")).lost("c").unwritten().gate("c", true).state("c", ownership.RegionReturning), []string{"OpenIncident c"}},
		"a new leader finds it unwritten": {both(quiet("a", "b", "c")).lost("c").unwritten().forget().pass(4 * time.Second), []string{"OpenIncident c"}},
		"the loss does not come: the others are drained": {
			both(quiet("a", "b", "c").state("a", ownership.RegionDrained).state("b", ownership.RegionDrained).suspect("c").silent("c")).
				pass(16 * time.Second), []string{"OpenIncident c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, i := range health.Decide(c.stage.now, c.stage.c, c.stage.watch).Intents {
				got = append(got, fmt.Sprintf("%s %s", i.Kind, i.Region))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("intents (-want +got):\n%s", diff)
			}
		})
	}
}

// What is written late has the times at which it was seen, under the name that the region was lost with.
func TestQuietIncident(t *testing.T) {
	s := quiet("a", "b", "c").silent("c").report("a", "c").pass(2*time.Second).report("b", "c").pass(5*time.Second).gate("c", false)
	s.pass(time.Second).region("c", func(r *ownership.RegionRecord) { r.State, r.Incident = ownership.RegionLost, "c-7" })
	s.c.View.Epoch = 8
	s.watch.Routed(8)
	if early := health.Incidents(s.now, wall, s.c, s.watch, health.Decide(s.now, s.c, s.watch).Intents); len(early) > 0 {
		t.Errorf("during the loss there is written %+v", early)
	}
	s.pass(3 * time.Second)
	got := health.Incidents(s.now, wall, s.c, s.watch, health.Decide(s.now, s.c, s.watch).Intents)
	step := func(name string, second int) ownership.IncidentStep {
		return ownership.IncidentStep{Step: name, At: wall.Add(time.Duration(second-11) * time.Second), SinceSuspected: time.Duration(second) * time.Second}
	}
	want := []ownership.Incident{{Name: "c-7", Region: "c", Epoch: 7, Timeline: []ownership.IncidentStep{
		step(ownership.StepSuspected, 0), step(ownership.StepConfirmed, 2), step(ownership.StepGateClose, 7),
		step(ownership.StepCommitted, 8), step(ownership.StepRouted, 8),
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
}

// What passes by itself while a region is being lost is not told: the reasons stay as they were told before.
func TestQuietReasons(t *testing.T) {
	losing := func() *stage { return quiet("a", "b", "c").suspect("c").silent("c").report("a", "c").report("b", "c") }
	before := map[string]string{"b": health.ReasonHoldDown, "c": health.ReasonNoMajority}
	for name, c := range map[string]struct {
		stage *stage
		want  map[string]string
	}{
		"at first evidence":             {losing(), map[string]string{}},
		"while the lease runs":          {losing().pass(5 * time.Second), map[string]string{}},
		"what was told before stays":    {losing().told(before), map[string]string{"c": health.ReasonNoMajority}},
		"when it does not come to pass": {losing().beats("c").pass(15 * time.Second), map[string]string{"c": health.ReasonBeatsArrive}},
		"just after the loss":           {losing().lost("c").pass(2900 * time.Millisecond), map[string]string{}},
		"a moment later":                {losing().lost("c").pass(3 * time.Second), map[string]string{"c": health.ReasonNotAsked}},
		"nothing speaks against it":     {quiet("a", "b", "c").told(before), map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, health.Decide(c.stage.now, c.stage.c, c.stage.watch).Held); diff != "" {
				t.Errorf("held (-want +got):\n%s", diff)
			}
		})
	}
}
