package health

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// NewQuietWatch returns a Watch for a leader that, while a region is being lost, writes what moves its users and
// nothing else: what is only told, such as incidents and reasons, comes a moment later, with the times at which
// it was seen.
func NewQuietWatch(timings ownership.Timings) *Watch {
	w := NewWatch(timings)
	w.quiet = true
	return w
}

// patience is how long after the first evidence a loss may still be one that goes on: an election, the
// region's lease, and the reports of the others.
func (w *Watch) patience() time.Duration {
	return w.timings.LeaderSession + w.Expiry() + w.timings.DownAfter
}

// young reports whether something speaks against the region, and did not long ago.
func (w *Watch) young(now time.Duration, region string) bool {
	s, suspected := w.suspected[region]
	return suspected && now-s.since < w.patience()
}

// dies reports whether to be quiet about a region because it is on the way to be lost, as far as can be seen: its
// beat stands still, or its gate is closed.
func (w *Watch) dies(now time.Duration, c ownership.Configuration, region string) bool {
	return w.quiet && w.young(now, region) && !w.moves(now, c, region)
}

// gathered reports whether the region has been Lost for long enough to tell of it: owners are in force by then,
// unless data has to be waited for, and the gateways of a thousand services act on them.
func (w *Watch) gathered(now time.Duration, region string) bool {
	g, lost := w.gone[region]
	return lost && now-g.since >= w.timings.DownAfter
}

// unrecorded reports whether a region was lost with an incident that nobody has written yet, and it is time.
func (w *Watch) unrecorded(now time.Duration, c ownership.Configuration, region string) bool {
	rec := c.View.Regions[region]
	if !w.quiet || rec.Incident == "" || rec.State != ownership.RegionLost && rec.State != ownership.RegionReturning {
		return false
	}
	if _, written := c.Incidents[rec.Incident]; written {
		return false
	}
	return rec.State == ownership.RegionReturning || w.gathered(now, region)
}

// told returns what is to be told of the reasons: of a region that is being lost, what was told before.
func (w *Watch) told(now time.Duration, c ownership.Configuration, reasons map[string]string) map[string]string {
	if !w.quiet {
		return reasons
	}
	out := map[string]string{}
	for region := range regionsOf(c) {
		from := reasons
		if w.young(now, region) && !w.gathered(now, region) {
			from = c.Held
		}
		if reason, is := from[region]; is {
			out[region] = reason
		}
	}
	return out
}
