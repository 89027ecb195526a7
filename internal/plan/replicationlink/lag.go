package replicationlink

import "time"

// StepUnknown is the step of a lag that is not known. It is never taken for a small one.
const StepUnknown = "unknown"

// lagSteps are the coarse steps that a status knows, so that it is not written every second.
var lagSteps = []struct {
	below time.Duration
	name  string
}{
	{2 * time.Second, "<2s"},
	{10 * time.Second, "<10s"},
	{time.Minute, "<1m"},
	{5 * time.Minute, "<5m"},
	{time.Hour, "<1h"},
}

const stepBeyond = ">=1h"

// Step names the coarse step of a lag.
func Step(known bool, age time.Duration) string {
	if !known {
		return StepUnknown
	}
	for _, s := range lagSteps {
		if age < s.below {
			return s.name
		}
	}
	return stepBeyond
}

// dampAfter is how many looks in a row must show a smaller step before it is believed.
const dampAfter = 5

// Damper keeps a lag near the border of two steps from changing a status with every look: a larger
// step counts at once, a smaller one when it has lasted. Its zero value is ready.
type Damper struct {
	step  string
	worst string
	looks int
}

// Look takes a lag in and returns the damped step.
func (d *Damper) Look(known bool, age time.Duration) string {
	now := Step(known, age)
	switch {
	case d.step == "" || d.step == StepUnknown || rank(now) >= rank(d.step):
		d.step, d.looks, d.worst = now, 0, ""
	default:
		if d.looks == 0 || rank(now) > rank(d.worst) {
			d.worst = now
		}
		if d.looks++; d.looks >= dampAfter {
			d.step, d.looks, d.worst = d.worst, 0, ""
		}
	}
	return d.step
}

func rank(step string) int {
	for i, s := range lagSteps {
		if s.name == step {
			return i
		}
	}
	if step == stepBeyond {
		return len(lagSteps)
	}
	return len(lagSteps) + 1
}

// Step returns the damped step of the last look, "" before the first.
func (d *Damper) Step() string { return d.step }
