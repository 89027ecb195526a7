package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// IncidentOf returns the region's incident that is not closed yet.
func IncidentOf(c ownership.Configuration, region string) (ownership.Incident, bool) {
	var first ownership.Incident
	found := false
	for name, i := range c.Incidents {
		if i.Region == region && !i.Closed && (!found || name < first.Name) {
			first, found = i, true
		}
	}
	return first, found
}

// IncidentName returns the name of the region's open incident, or that of the one to open.
func IncidentName(c ownership.Configuration, region string) string {
	if i, open := IncidentOf(c, region); open {
		return i.Name
	}
	rec := c.View.Regions[region]
	if _, written := c.Incidents[rec.Incident]; rec.Incident != "" && !written && rec.State != ownership.RegionServing {
		return rec.Incident // it was lost with it, and the incident is still to be opened
	}
	return fmt.Sprintf("%s-%d", region, c.View.Epoch)
}

// Incidents returns the incidents to write: those that the intents open, and those of the
// configuration that have reached another step. at is the leader's wall clock, now its monotonic
// clock.
func Incidents(now time.Duration, at time.Time, c ownership.Configuration, w *Watch, intents []Intent) []ownership.Incident {
	var out []ownership.Incident
	for _, i := range intents {
		if i.Kind == OpenIncident {
			fresh := ownership.Incident{Name: IncidentName(c, i.Region), Region: i.Region}
			fresh.Timeline = w.opening(now, at, c, i.Region)
			if next, moved := w.advance(now, at, c, fresh); moved && w.quiet {
				fresh = next
			}
			out = append(out, fresh)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Incidents)) {
		if i := c.Incidents[name]; !i.Closed {
			if next, moved := w.advance(now, at, c, i); moved {
				out = append(out, next)
			}
		}
	}
	return out
}

// opening returns the first two steps. The first lies back by what this agent has measured since it saw
// the first evidence, as a follower or as the leader; so does the second when the region is lost already.
func (w *Watch) opening(now time.Duration, at time.Time, c ownership.Configuration, region string) []ownership.IncidentStep {
	s, timed := w.suspected[region]
	if !timed {
		s.since = now
	}
	confirmed := now
	if v := w.standing[region]; w.quiet && v.confirmed && !c.Gates[region].Open {
		confirmed = max(v.since, s.since)
	}
	return []ownership.IncidentStep{
		{Step: ownership.StepSuspected, At: at.Add(s.since - now).UTC(), Approximate: !s.seen},
		{Step: ownership.StepConfirmed, At: at.Add(confirmed - now).UTC(), SinceSuspected: confirmed - s.since, Approximate: !s.seen},
	}
}

// reachedStep is a step that the configuration may show, and when it was first seen to.
type reachedStep struct {
	step string
	now  bool
	seen time.Duration
}

// advance appends the steps that the configuration shows and the incident lacks.
func (w *Watch) advance(now time.Duration, at time.Time, c ownership.Configuration, i ownership.Incident) (ownership.Incident, bool) {
	if w.dies(now, c, i.Region) && !c.Gates[i.Region].Open && !w.gathered(now, i.Region) {
		return i, false
	}
	gone := w.goneOf(now, c, i.Region)
	moved := false
	i.Timeline = slices.Clone(i.Timeline)
	for _, s := range w.shown(now, c, i, gone) {
		if !s.now || reached(i, s.step) {
			continue
		}
		moved = true
		i.Timeline = append(i.Timeline, w.step(s.seen, at.Add(s.seen-now), i, s.step))
		if s.step == ownership.StepCommitted {
			i.Epoch = gone.epoch
		}
		i.Closed = s.step == ownership.StepServing || s.step == ownership.StepFalseAlarm
	}
	return i, moved
}

// goneOf returns what was seen of the region's loss: now, for a leader that writes every step as it comes.
func (w *Watch) goneOf(now time.Duration, c ownership.Configuration, region string) goneRegion {
	g, known := w.gone[region]
	if !w.quiet || !known {
		return goneRegion{since: now, epoch: c.View.Epoch, routed: now, closed: now}
	}
	g.routed, g.closed = cmp.Or(g.routed, now), w.beats[region].since
	return g
}

// shown returns the steps of an incident in their order.
func (w *Watch) shown(now time.Duration, c ownership.Configuration, i ownership.Incident, gone goneRegion) []reachedStep {
	rec := c.View.Regions[i.Region]
	declared := rec.Incident == i.Name && rec.State != ownership.RegionServing
	serves := w.serves(now, c, i.Region)
	lost := i.Epoch > 0 || reached(i, ownership.StepGateClose)
	routed := (i.Epoch > 0 || w.quiet) && w.routed >= cmp.Or(i.Epoch, gone.epoch)
	return []reachedStep{
		{ownership.StepGateClose, !c.Gates[i.Region].Open, gone.closed},
		{ownership.StepCommitted, declared, gone.since},
		{ownership.StepRouted, declared && routed, gone.routed},
		{ownership.StepReturned, declared && rec.State == ownership.RegionReturning, now},
		{ownership.StepServing, serves && lost, now},
		{ownership.StepFalseAlarm, serves && !lost, now},
	}
}

// serves reports whether a region serves, is heard of, and has nothing against it.
func (w *Watch) serves(now time.Duration, c ownership.Configuration, region string) bool {
	rec, v := c.View.Regions[region], w.assess(now, c, region)
	return rec.State == ownership.RegionServing && !rec.Suspect && c.Gates[region].Open && v.reachable && !v.suspect
}

func reached(i ownership.Incident, step string) bool {
	return slices.ContainsFunc(i.Timeline, func(s ownership.IncidentStep) bool { return s.Step == step })
}

func (w *Watch) step(now time.Duration, at time.Time, i ownership.Incident, name string) ownership.IncidentStep {
	step := ownership.IncidentStep{Step: name, At: at.UTC(), Approximate: true}
	if s, timed := w.suspected[i.Region]; timed {
		step.SinceSuspected, step.Approximate = now-s.since, !s.seen
	}
	return step
}
