package change

import (
	"slices"
	"strings"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// losses returns the regions whose gates are closed and that are not lost yet.
func (d *decider) losses() []health.Intent { return d.regionsWith(health.DeclareLost) }

// lose takes regions out. It comes before anything planned: what that had begun is undone, and what a
// loss under way had begun goes on with it, from the same state before (R6).
func (d *decider) lose(losses []health.Intent) Txn {
	before := d.c.View.Regions
	var services []ownership.ServiceRecord
	change := ownership.Change{Kind: ownership.ChangeLoss}
	if under := d.c.View.Change; d.c.View.Phase == ownership.PhaseClosing {
		if under.Kind == ownership.ChangeLoss {
			change.Regions = slices.Clone(under.Regions)
		} else {
			before, services = d.c.View.Previous, d.putBack()
		}
	}
	regions := next(before)
	var why []string
	for _, i := range losses {
		regions[i.Region] = d.lost(i.Region, before)
		change.Regions = append(change.Regions, i.Region)
		why = append(why, i.Region+": "+i.Message)
	}
	slices.Sort(change.Regions)
	d.join(regions)
	t := d.changing(strings.Join(why, "; "), change, regions, services)
	t.Gates = change.Regions
	return t
}

// lost returns the record of a region that is lost with the next epoch. It may have owned the slots of all
// that did not serve: drained ones, those that have just returned, others that are lost.
func (d *decider) lost(name string, regions map[string]ownership.RegionRecord) ownership.RegionRecord {
	rec, at := regions[name], d.At.UTC()
	owned := rec.State == ownership.RegionServing || rec.State == ownership.RegionReturning
	if owned && rec.Role == health.RoleActive {
		rec.Behind = append(slices.Clone(rec.Behind), minus(notServing(regions, name), rec.Behind)...)
		rec.Unshipped = true
	}
	rec.Drained = rec.State == ownership.RegionDrained
	rec.Flaps = health.FlapsAt(d.Timings, rec, at)
	rec.LostAt, rec.LostEpoch, rec.Since = &at, d.c.View.Epoch+1, at
	rec.State, rec.Suspect = ownership.RegionLost, false
	rec.Incident = health.IncidentName(d.c, name)
	return rec
}

func notServing(regions map[string]ownership.RegionRecord, except string) []string {
	var out []string
	for name, rec := range regions {
		if name != except && rec.Role == health.RoleActive && rec.State != ownership.RegionServing {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// join has every Returning region that can be reached serve when no other would (R14).
func (d *decider) join(regions map[string]ownership.RegionRecord) {
	for _, rec := range regions {
		if rec.State == ownership.RegionServing && rec.Role == health.RoleActive {
			return
		}
	}
	for name, rec := range regions {
		if rec.State == ownership.RegionReturning && rec.Role == health.RoleActive && slices.Contains(d.Health.Reachable, name) {
			rec.State, rec.Since, rec.Incident = ownership.RegionServing, d.At.UTC(), ""
			regions[name] = rec
		}
	}
}
