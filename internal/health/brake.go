package health

import (
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// RoleActive is the role of regions that serve users; a Witness only votes and observes.
const RoleActive = "Active"

// brake returns which of the confirmed regions may be lost now and gives a reason for the others
// (R14).
func (d *decider) brake(confirmed []string) []string {
	if all := d.withThoseUnderWay(confirmed); len(confirmed) > 0 && len(all) > 1 && !d.w.agreeOnAll(d.now, d.c, all) {
		if len(all) > len(confirmed) {
			for _, name := range confirmed {
				d.out.Reasons[name] = ReasonOneAtATime
			}
			return nil
		}
		first := confirmed[0]
		for _, name := range confirmed {
			if _, open := IncidentOf(d.c, name); open {
				first = name
				break
			}
		}
		for _, name := range confirmed {
			if name != first {
				d.out.Reasons[name] = ReasonOneAtATime
			}
		}
		confirmed = []string{first}
	}
	var allowed []string
	for _, name := range confirmed {
		if d.c.View.Regions[name].Role != RoleActive || d.othersServe(slices.Concat(confirmed, d.declared)) {
			allowed = append(allowed, name)
			continue
		}
		d.out.Reasons[name] = ReasonLastServing
	}
	return allowed
}

// withThoseUnderWay adds the regions whose loss is not in force yet.
func (d *decider) withThoseUnderWay(confirmed []string) []string {
	if change := d.c.View.Change; change != nil && change.Kind == ownership.ChangeLoss {
		return append(slices.Clone(confirmed), change.Regions...)
	}
	return confirmed
}

// othersServe reports whether an active region outside the given ones serves, or will in the same change
// because it has returned and can be reached.
func (d *decider) othersServe(losing []string) bool {
	for name, rec := range d.c.View.Regions {
		serves := rec.State == ownership.RegionServing || rec.State == ownership.RegionReturning && d.verdicts[name].reachable
		if serves && rec.Role == RoleActive && d.c.Gates[name].Open && !slices.Contains(losing, name) {
			return true
		}
	}
	return false
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

// FlapsAt returns the flaps of a region that is lost at the leader's wall clock at: one more, less
// one for each 60 x upAfter since the last loss. A wrong clock costs comfort, not safety.
func FlapsAt(t ownership.Timings, rec ownership.RegionRecord, at time.Time) int {
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
