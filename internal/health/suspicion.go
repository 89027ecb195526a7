package health

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// suspicion is since when something speaks against a region, from which its outage is measured.
type suspicion struct {
	since time.Duration
	// seen: the agent has seen it begin. Otherwise it was there when the agent began to watch.
	seen bool
	// incident is the open incident that it became.
	incident string
}

// suspect notes since when something speaks against the region. An outage is measured from its first
// evidence to its end, by an agent that saw both, as a follower too.
func (w *Watch) suspect(now time.Duration, c ownership.Configuration, name string, v verdict) {
	incident, open := IncidentOf(c, name)
	s, timed := w.suspected[name]
	if s.incident != incident.Name && s.incident != "" {
		delete(w.suspected, name) // that outage is over
		s, timed = suspicion{}, false
	}
	first, found := w.evidence(now, name, v)
	switch {
	case open && timed:
		s.incident = incident.Name
		w.suspected[name] = s
	case open: // what is found now is not the beginning
	case found && (!timed || first.since < s.since):
		first.seen = first.seen || s.seen
		w.suspected[name] = first
	case !found && v.reachable && w.beats[name].moved:
		delete(w.suspected, name)
		w.clear[name] = true
	}
}

// Silent returns for how long something has spoken against regions, by name. Of a region that this agent has never
// seen well it says nothing: that began earlier than can be known.
func (w *Watch) Silent(now time.Duration) map[string]time.Duration {
	out := map[string]time.Duration{}
	for name, s := range w.suspected {
		if s.seen {
			out[name] = now - s.since
		}
	}
	return out
}

// evidence returns what speaks against the region now, and whether anything does. A report of another
// agent counts from when this one sees it, a beat from when it had stood still for a lease, and the
// agent's own probes from when the first that failed was sent: they need no store, which may have no
// leader while it loses a region.
func (w *Watch) evidence(now time.Duration, name string, v verdict) (suspicion, bool) {
	first := suspicion{since: now, seen: w.clear[name]}
	if v.beatStopped {
		first.since = w.beats[name].since + w.timings.RegionLease
	}
	own, failing := w.own[name]
	if failing {
		first.since, first.seen = min(first.since, own.Since), first.seen || own.Seen
	}
	return first, v.suspect || failing
}
