package pace_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/pace"
)

const (
	first = 10 * time.Second
	most  = 30 * time.Second
	no    = metav1.ConditionFalse
)

// says is a status with Ready, and more.
func says(ready metav1.ConditionStatus, reason, message string, more ...metav1.Condition) pace.Told {
	return pace.Told{Generation: 1, Conditions: append([]metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message},
	}, more...)}
}

// TestProgressIsToldNowAndThen: how far a service is is told at first and then now and then; what a person waits for, or
// has to mend, at once.
func TestProgressIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	written := says(no, v1alpha1.ReasonProgressing, "being written")
	acting := says(no, v1alpha1.ReasonProgressing, "waiting for the member")
	ready := says(metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "everything is as declared")
	broken := says(no, v1alpha1.ReasonProgressing, "waiting for the member",
		metav1.Condition{Type: v1alpha1.ConditionWorkloadsAvailable, Status: no, Reason: v1alpha1.ReasonImagePull})
	changed := says(no, v1alpha1.ReasonProgressing, "being written")
	changed.Generation = 2
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		before, after pace.Told
		later         time.Duration
		want          time.Duration
	}{
		"goes on":              {written, acting, time.Second, first - time.Second},
		"goes on, after long":  {written, acting, first, 0},
		"is Ready":             {written, ready, time.Second, 0},
		"something is wrong":   {written, broken, time.Second, 0},
		"is declared anew":     {written, changed, time.Second, 0},
		"is not Ready anymore": {ready, written, time.Second, 0},
	} {
		p := pace.Progress{First: first, Most: most}
		if wait := p.Hold("user", start, pace.Told{}, written); wait != 0 {
			t.Errorf("%s: the first waits %v", name, wait)
		}
		if got := p.Hold("user", start.Add(c.later), c.before, c.after); got != c.want {
			t.Errorf("%s: it waits %v, want %v", name, got, c.want)
		}
	}
	fresh := pace.Progress{First: first, Most: most} // of a manager that has just started
	if wait := fresh.Hold("user", start, written, acting); wait != 0 {
		t.Errorf("nothing was told, and it waits %v", wait)
	}
}

// TestProgressIsToldLessAndLess: the longer something takes the less often it is told, and each time anew after something
// else was.
func TestProgressIsToldLessAndLess(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := pace.Progress{First: first, Most: most}
	goesOn := says(no, v1alpha1.ReasonProgressing, "being written")
	for _, want := range []time.Duration{first, 2 * first, most, most} {
		if wait := p.Hold("user", now, goesOn, goesOn); wait != 0 {
			t.Fatalf("it waits %v more", wait)
		}
		if got := p.Hold("user", now, goesOn, goesOn); got != want {
			t.Errorf("the next waits %v, want %v", got, want)
		}
		now = now.Add(want)
	}
	p.Hold("user", now, goesOn, says(metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, ""))
	for _, of := range []func(){func() {}, func() { p.Forget("user") }} {
		of()
		if wait := p.Hold("user", now, goesOn, goesOn); wait != 0 {
			t.Errorf("what is not known to have been told waits %v", wait)
		}
		if got := p.Hold("user", now, goesOn, goesOn); got != first {
			t.Errorf("the next waits %v, want %v", got, first)
		}
	}
}

// TestProgressTakesTurns: the more objects are on their way the less often each is told.
func TestProgressTakesTurns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := pace.Progress{First: first, Most: most, Each: time.Second}
	goesOn := says(no, v1alpha1.ReasonProgressing, "being written")
	const others = 99
	for i := range others {
		if wait := p.Hold(fmt.Sprint(i), now, pace.Told{}, goesOn); wait != 0 {
			t.Fatalf("the first of object %d waits %v", i, wait)
		}
	}
	p.Hold("user", now, pace.Told{}, goesOn)
	if got := p.Hold("user", now, goesOn, goesOn); got != others*time.Second {
		t.Errorf("the next waits %v, want a second for each of the others", got)
	}
	for i := range others {
		p.Forget(fmt.Sprint(i))
	}
	now = now.Add(others * time.Second)
	p.Hold("user", now, goesOn, goesOn)
	if got := p.Hold("user", now, goesOn, goesOn); got != most {
		t.Errorf("alone again the next waits %v, want %v", got, most)
	}
}
