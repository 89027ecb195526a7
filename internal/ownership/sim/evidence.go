package sim

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// probe repeats Agent.probe: every other region once per interval, none again before it has answered.
func (a *agent) probe() {
	a.p.After(a.s.timings.ProbeInterval, a.probe)
	var names []string
	for _, other := range a.s.regions {
		if _, wanted := a.conf.RegionIntents[other.name]; other != a.r && wanted {
			names = append(names, other.name)
		}
	}
	a.observer.Retain(names)
	for _, other := range a.s.regions {
		if slices.Contains(names, other.name) && !a.asking[other.name] {
			a.asking[other.name] = true
			a.ask(other)
		}
	}
}

// ask repeats Agent.ask. What happens to question and answer is settled when the question is put.
func (a *agent) ask(other *region) {
	there, ok := a.s.net.Delay(a.r.agentNode, other.edgeNode)
	back, heard := a.s.net.Delay(other.edgeNode, a.r.agentNode)
	answered := other.answers()
	took := a.s.timings.ProbeTimeout
	if d := there + back; ok && heard && d < took && answered != silent {
		took = d
	} else {
		answered = silent
	}
	began := a.p.Clock.Now()
	a.p.After(took, func() {
		a.asking[other.name] = false
		a.heard(began, other.name, answered == well)
	})
}

// heard is the end of Agent.ask.
func (a *agent) heard(began time.Duration, name string, answered bool) {
	before := a.observer.Evidence()
	a.observer.Record(began, a.p.Clock.Now(), name, answered)
	if after := a.observer.Evidence(); !sameEvidence(before, after) {
		a.s.Tracef("%s sees %v unreachable, %v failing", a.p.Name, after.Unreachable, after.Failing)
		a.report()
	}
}

// report repeats Agent.report and putEvidence: it writes what the store does not show yet, one write
// at a time (R13).
func (a *agent) report() {
	evidence := a.observer.Evidence()
	evidence.Lagging = a.lagging()
	if a.reporting || a.registration == nil || a.refused || !a.conf.Gates[a.r.name].Open ||
		sameEvidence(a.conf.Evidence[a.r.name], evidence) {
		return
	}
	a.reporting = true
	a.write(a.registration.PutEvidence(a.conf, evidence), requestTimeout, func(_ int64, err error) {
		a.reporting = false
		a.afterWrite(err)
	})
}

func sameEvidence(a, b ownership.Evidence) bool {
	return slices.Equal(a.Unreachable, b.Unreachable) && slices.Equal(a.Failing, b.Failing) && slices.Equal(a.Lagging, b.Lagging)
}
