package health

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// Results in a row after which a target's standing changes: a single lost packet is no evidence,
// and a single answer amid failures is no recovery.
const (
	failuresToFail    = 2
	answersToRecover  = 2
	maxGapOfDownAfter = 2
)

// Observer is one agent's memory of its probes. It is not safe for concurrent use.
type Observer struct {
	timings ownership.Timings
	targets map[string]*target
}

type target struct {
	failures, answers int
	// first is when the first of the failures in a row was sent, failed for how long the agent has
	// watched them, last when the latest result came.
	first, failed, last time.Duration
	failing             bool
	unreachable         bool
	// since is when the first failure of this standing was sent.
	since time.Duration
	// reached: the agent has had an answer before, and has not slept since.
	reached bool
}

// NewObserver returns an Observer that calls a region unreachable when all probes failed for
// downAfter.
func NewObserver(t ownership.Timings) *Observer {
	return &Observer{timings: t, targets: map[string]*target{}}
}

// Record notes the result of one probe of the region that was sent at began and ended at ended.
func (o *Observer) Record(began, ended time.Duration, region string, answered bool) {
	t, known := o.targets[region]
	if !known {
		t = &target{}
		o.targets[region] = t
	}
	if !answered && o.stalled(began, ended) {
		return
	}
	// An agent that slept through the time between two results has not seen what was in between.
	if known && ended-t.last > maxGapOfDownAfter*o.timings.DownAfter {
		*t = target{failing: t.failing, unreachable: t.unreachable, since: began}
	}
	if answered {
		t.answer()
	} else {
		o.fail(t, began, ended)
	}
	t.last = ended
}

// stalled reports whether the agent did not run when the probe's time was up: then it may not have
// run when the answer came either, and the failure is its own.
func (o *Observer) stalled(began, ended time.Duration) bool {
	return ended-began > o.timings.ProbeTimeout*3/2
}

func (t *target) answer() {
	t.failures = 0
	t.answers++
	if t.answers >= answersToRecover || !t.unreachable {
		t.failing, t.unreachable, t.reached = false, false, true
	}
}

func (o *Observer) fail(t *target, began, ended time.Duration) {
	t.answers = 0
	if t.failures++; t.failures == 1 {
		t.first, t.failed = began, 0
	} else {
		// A longer time was not watched: nothing was asked in the rest of it.
		t.failed += min(ended-t.last, o.timings.ProbeInterval+o.timings.ProbeTimeout)
	}
	if t.failures >= failuresToFail && !t.failing {
		t.failing, t.since = true, t.first
	}
	if t.failures >= failuresToFail && t.failed >= o.timings.DownAfter {
		t.unreachable = true
	}
}

// Retain forgets every region that is not named, so that a region which is probed no more leaves
// no evidence.
func (o *Observer) Retain(regions []string) {
	for name := range o.targets {
		if !slices.Contains(regions, name) {
			delete(o.targets, name)
		}
	}
}

// Evidence returns what the results so far say, with names sorted.
func (o *Observer) Evidence() ownership.Evidence {
	var e ownership.Evidence
	for name, t := range o.targets {
		switch {
		case t.unreachable:
			e.Unreachable = append(e.Unreachable, name)
		case t.failing:
			e.Failing = append(e.Failing, name)
		}
	}
	slices.Sort(e.Unreachable)
	slices.Sort(e.Failing)
	return e
}

// Failing is since when the agent's own probes of a region fail.
type Failing struct {
	// Since is when the first of them was sent, on the agent's clock.
	Since time.Duration
	// Seen: probes were answered before, so the agent has seen the beginning.
	Seen bool
}

// Failing returns the regions that the agent's own probes do not reach: what the agent knows also
// while the store takes no evidence.
func (o *Observer) Failing() map[string]Failing {
	out := map[string]Failing{}
	for name, t := range o.targets {
		if t.failing {
			out[name] = Failing{Since: t.since, Seen: t.reached}
		}
	}
	return out
}
