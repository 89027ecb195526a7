package health

import (
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// roleActive is the role of regions that serve users; a Witness only votes and observes.
const roleActive = "Active"

// brake returns which of the confirmed regions may be lost now and gives a reason for the others
// (R14).
func (d *decider) brake(confirmed []string) []string {
	if len(confirmed) > 1 && !d.w.agreeOnAll(d.now, d.c, confirmed) {
		first := confirmed[0]
		for _, name := range confirmed {
			if _, open := IncidentOf(d.c, name); open {
				first = name
				break
			}
		}
		for _, name := range confirmed {
			if name != first {
				d.out.Held[name] = ReasonOneAtATime
			}
		}
		confirmed = []string{first}
	}
	var allowed []string
	for _, name := range confirmed {
		if d.c.View.Regions[name].Role != roleActive || d.othersServe(confirmed) {
			allowed = append(allowed, name)
			continue
		}
		d.out.Held[name] = ReasonLastServing
		d.join(confirmed)
	}
	return allowed
}

// othersServe reports whether an active region outside the given ones serves.
func (d *decider) othersServe(losing []string) bool {
	for name, rec := range d.c.View.Regions {
		if rec.State == ownership.RegionServing && rec.Role == roleActive && d.c.Gates[name].Open &&
			!slices.Contains(losing, name) {
			return true
		}
	}
	return false
}

// join makes a ready Returning region serve before the last serving one is lost. The loss itself
// waits for the configuration in which it does.
func (d *decider) join(losing []string) {
	if d.joining != "" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		if rec.State == ownership.RegionReturning && rec.Role == roleActive &&
			d.verdicts[name].reachable && !slices.Contains(losing, name) {
			d.joining = name
			d.intend(Serve, name, "the last serving region is being lost")
			return
		}
	}
}

// Hold-down: how long a region must be reachable before it serves again.
const (
	// maxHoldDown bounds the hold-down, and is the time after which one flap is forgotten, both in
	// multiples of upAfter: 10 s to 10 min by default.
	maxHoldDown = 60
)

// HoldDown returns how long a Returning region must be reachable before it serves: upAfter,
// doubled with each flap after the first, 60 x upAfter at most.
func HoldDown(t ownership.Timings, flaps int) time.Duration {
	hold := t.UpAfter
	for i := 1; i < flaps && hold < maxHoldDown*t.UpAfter; i++ {
		hold *= 2
	}
	return min(hold, maxHoldDown*t.UpAfter)
}

// flapsAt returns the flaps of a region that is lost at the leader's wall clock at: one more, less
// one for each 60 x upAfter since the last loss. A wrong clock costs comfort, not safety.
func flapsAt(t ownership.Timings, rec ownership.RegionRecord, at time.Time) int {
	flaps := rec.Flaps
	if rec.LostAt != nil {
		if since := at.Sub(*rec.LostAt); since > 0 {
			flaps -= int(min(since/(maxHoldDown*t.UpAfter), time.Duration(flaps)))
		}
	}
	return flaps + 1
}

func (w *Watch) cleanFor(now time.Duration, region string) time.Duration {
	since, clean := w.clean[region]
	if !clean {
		return -1
	}
	return now - since
}

func sortedNames(set map[string]struct{}) []string { return slices.Sorted(maps.Keys(set)) }
