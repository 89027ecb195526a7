package world_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership/sim/world"
)

func never() bool { return false }

func TestEventsHappenInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world.New(1, false)
		delays := rapid.SliceOf(rapid.IntRange(-2, 9)).Draw(t, "delays")
		var got []int
		for i, d := range delays {
			w.After(time.Duration(d)*time.Second, func() {
				if w.Now() != max(time.Duration(d)*time.Second, 0) {
					t.Errorf("event %d happens at %s, planned for %d s", i, w.Now(), d)
				}
				got = append(got, i)
			})
		}
		w.Run(time.Minute, never)
		want := make([]int, len(delays))
		for i := range want {
			want[i] = i
		}
		slices.SortStableFunc(want, func(a, b int) int { return max(delays[a], 0) - max(delays[b], 0) })
		if diff := cmp.Diff(want, got); diff != "" && len(delays) > 0 {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if w.Now() != time.Minute {
			t.Errorf("the time is %s after all", w.Now())
		}
	})
}

// The assumption of the protocol: no two clocks' rates differ by more than maxDrift.
func TestClocksStayWithinTheDrift(t *testing.T) {
	const maxDrift, span = 0.01, time.Hour
	rapid.Check(t, func(t *rapid.T) {
		w := world.New(rapid.Uint64().Draw(t, "seed"), false)
		w.Extreme = rapid.Bool().Draw(t, "extreme")
		a, b := w.NewClock(maxDrift), w.NewClock(maxDrift)
		a0, b0 := a.Now(), b.Now()
		w.Run(span, never)
		passedA, passedB := float64(a.Now()-a0), float64(b.Now()-b0)
		if ratio := passedA / passedB; ratio > 1+maxDrift || ratio < 1/(1+maxDrift) {
			t.Errorf("one clock counts %.0f, the other %.0f: ratio %f", passedA, passedB, ratio)
		}
		if off := a.TrueTime(a.Now()) - w.Now(); off > time.Microsecond || off < -time.Microsecond {
			t.Errorf("true time off by %s", off)
		}
	})
}

func TestProcess(t *testing.T) {
	w := world.New(3, false)
	p := w.Start("p", 0, w.NewClock(0.01))
	var got []string
	note := func(what string) func() { return func() { got = append(got, what) } }

	p.After(time.Second, note("timer 1"))
	p.Receive(note("message 1"))
	p.Pause()
	p.Pause()
	p.Receive(note("message 2"))
	p.Receive(note("message 3"))
	w.Run(2*time.Second, never)
	if diff := cmp.Diff([]string{"message 1"}, got); diff != "" {
		t.Errorf("paused (-want +got):\n%s", diff)
	}
	if p.Resume(); p.Running() || len(got) != 1 {
		t.Errorf("after one of two resumes: running %v, %q", p.Running(), got)
	}
	p.Resume()
	if len(got) != 4 || !slices.Contains(got, "timer 1") || slices.Index(got, "message 2") > slices.Index(got, "message 3") {
		t.Errorf("after the pause: %q", got)
	}
	p.After(time.Second, note("never"))
	p.Kill()
	p.Receive(note("never"))
	w.Run(time.Minute, never)
	if slices.Contains(got, "never") || p.Alive() {
		t.Errorf("after its end: %q", got)
	}
}

func TestNetwork(t *testing.T) {
	w := world.New(5, false)
	n := w.NewNetwork([]int{0, 0, 1}, 10*time.Millisecond)
	there := []world.Link{{From: 0, To: 2}}
	n.Cut(there)
	n.Cut(there)
	if n.Up(0, 2) || !n.Up(2, 0) || n.Both(0, 2) {
		t.Error("a cut in one direction is not one in one direction")
	}
	n.Mend(there)
	if _, ok := n.Delay(0, 2); ok {
		t.Error("a link that was cut twice is whole after one mending")
	}
	n.Mend(there)
	n.Slow(there, time.Second)
	if d, ok := n.Delay(0, 2); !ok || d < time.Second {
		t.Errorf("a slow link takes %s, arrives %v", d, ok)
	}
	if d, ok := n.Delay(0, 1); !ok || d > time.Millisecond {
		t.Errorf("within a zone it takes %s, arrives %v", d, ok)
	}
	n.Loss = 1
	if _, ok := n.Delay(2, 0); ok {
		t.Error("a message arrives where all are lost")
	}
	if _, ok := n.Delay(1, 0); !ok {
		t.Error("a message is lost within a zone")
	}
}

func TestTraceKeepsTheEnd(t *testing.T) {
	w := world.New(1, true)
	for i := range 1000 {
		w.Tracef("event %d", i)
	}
	trace := w.Trace()
	if len(trace) != 100 || trace[0] != "    0.0000s  event 900" || trace[99] != "    0.0000s  event 999" {
		t.Errorf("%d lines, %q to %q", len(trace), trace[0], trace[len(trace)-1])
	}
	quiet := world.New(1, false)
	quiet.Tracef("event")
	if len(quiet.Trace()) != 0 {
		t.Errorf("a world that is not traced keeps %q", quiet.Trace())
	}
}
