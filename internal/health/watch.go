package health

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// Watch is what one agent has itself seen, as a follower and as the leader (R4). What another agent
// saw counts for nothing. It is not safe for concurrent use.
type Watch struct {
	timings   ownership.Timings
	quiet     bool
	beats     map[string]watchedBeat
	clean     map[string]time.Duration
	suspected map[string]suspicion
	// clear has the regions that the agent has seen beat with nothing against them.
	clear  map[string]bool
	own    map[string]Failing
	routed int64
	// gone is what was seen of the loss of the regions that are Lost.
	gone map[string]goneRegion
	// standing is what was confirmed without a gap of downAfter; last is when the latest news came.
	standing map[string]standing
	last     time.Duration
}

// Routed notes that a gateway of this leader's region acts on a configuration of the epoch.
func (w *Watch) Routed(epoch int64) {
	w.routed = max(w.routed, epoch)
	for name, g := range w.gone {
		if g.routed == 0 && w.routed >= g.epoch {
			g.routed = w.last
			w.gone[name] = g
		}
	}
}

// goneRegion is a loss as this agent has seen it.
type goneRegion struct {
	// since is when the region was first seen Lost, in a view of that epoch.
	since time.Duration
	epoch int64
	// routed is when a gateway was first seen to act on it, 0 before; closed is when its gate was first seen closed.
	routed, closed time.Duration
}

// Probed notes which regions the agent's own probes do not reach now, before Update. Incidents are
// measured from it; decisions rest on what the store has of it.
func (w *Watch) Probed(own map[string]Failing) { w.own = own }

// watchedBeat is a beat, under the gate that admitted it, and when the leader first saw the two.
type watchedBeat struct {
	beat  ownership.Beat
	gate  ownership.Gate
	since time.Duration
	// moved: the agent has itself seen it follow another beat.
	moved bool
}

// NewWatch returns an empty memory.
func NewWatch(timings ownership.Timings) *Watch {
	return &Watch{
		timings: timings, beats: map[string]watchedBeat{}, clean: map[string]time.Duration{},
		suspected: map[string]suspicion{}, clear: map[string]bool{}, standing: map[string]standing{},
		gone: map[string]goneRegion{},
	}
}

// Anew returns the memory of an agent that has had no news for so long that it has not watched (R4).
// All that is left is since when the regions with an open incident are suspected.
func (w *Watch) Anew() *Watch {
	anew := NewWatch(w.timings)
	anew.quiet = w.quiet
	for name, s := range w.suspected {
		if s.incident != "" {
			anew.suspected[name] = s
		}
	}
	return anew
}

// Update notes what the configuration shows at now. Call it with every configuration before
// Decide, in order of revision.
func (w *Watch) Update(now time.Duration, c ownership.Configuration) {
	if now-w.last > w.timings.DownAfter {
		clear(w.standing)
	}
	w.last = now
	names := regionsOf(c)
	for name := range names {
		seen, known := w.beats[name]
		beat, gate := c.Beats[name], c.Gates[name]
		if !known || seen.beat != beat || seen.gate != gate {
			w.beats[name] = watchedBeat{beat: beat, gate: gate, since: now, moved: known && seen.beat != beat}
		}
		if c.View.Regions[name].State != ownership.RegionLost {
			delete(w.gone, name)
		} else if _, known := w.gone[name]; !known {
			w.gone[name] = goneRegion{since: now, epoch: c.View.Epoch}
		}
		if seen.gate != gate {
			delete(w.clean, name) // what was seen under another gate counts for nothing
		}
	}
	beating := w.observers(now, c)
	for name := range names {
		v := w.assessBy(now, c, name, beating)
		w.suspect(now, c, name, v)
		w.confirm(now, name, v)
		if !v.reachable {
			delete(w.clean, name)
		} else if _, known := w.clean[name]; !known {
			w.clean[name] = now
		}
	}
}

// Still returns for how long the region's beat has not changed under the agent's eyes.
func (w *Watch) Still(now time.Duration, region string) time.Duration {
	seen, known := w.beats[region]
	if !known {
		return 0
	}
	return now - seen.since
}

// Expiry is how long a beat must have stood still before the gate may be closed (R4).
func (w *Watch) Expiry() time.Duration { return Expiry(w.timings) }

// Expiry returns regionLease x (1+maxDrift), rounded up to a nanosecond.
func Expiry(t ownership.Timings) time.Duration {
	return t.RegionLease + time.Duration(float64(t.RegionLease)*ownership.MaxDrift) + 1
}

// moves reports whether the region's agent beats: its gate is open and its beat is young.
func (w *Watch) moves(now time.Duration, c ownership.Configuration, region string) bool {
	if !c.Gates[region].Open || c.Beats[region].N == 0 {
		return false
	}
	return w.Still(now, region) <= w.timings.DownAfter
}

// regionsOf returns every region that the configuration says anything of.
func regionsOf(c ownership.Configuration) map[string]struct{} {
	all := map[string]struct{}{}
	for name := range c.View.Regions {
		all[name] = struct{}{}
	}
	for name := range c.RegionIntents {
		all[name] = struct{}{}
	}
	for name := range c.Gates {
		all[name] = struct{}{}
	}
	return all
}
