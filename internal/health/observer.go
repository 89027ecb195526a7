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
	downAfter time.Duration
	targets   map[string]*target
}

type target struct {
	failures, answers int
	failingSince      time.Duration
	last              time.Duration
	failing           bool
	unreachable       bool
}

// NewObserver returns an Observer that calls a region unreachable when all probes failed for
// downAfter.
func NewObserver(downAfter time.Duration) *Observer {
	return &Observer{downAfter: downAfter, targets: map[string]*target{}}
}

// Record notes the result of one probe of the region that ended at now.
func (o *Observer) Record(now time.Duration, region string, answered bool) {
	t := o.targets[region]
	if t == nil {
		t = &target{}
		o.targets[region] = t
	}
	// An agent that slept through the time between two failures has not seen it fail for long.
	if t.failures > 0 && now-t.last > maxGapOfDownAfter*o.downAfter {
		t.failures = 0
	}
	t.last = now
	if answered {
		t.failures = 0
		t.answers++
		if t.answers >= answersToRecover || !t.unreachable {
			t.failing, t.unreachable = false, false
		}
		return
	}
	t.answers = 0
	t.failures++
	if t.failures == 1 {
		t.failingSince = now
	}
	t.failing = t.failing || t.failures >= failuresToFail
	if t.failures >= failuresToFail && now-t.failingSince >= o.downAfter {
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
