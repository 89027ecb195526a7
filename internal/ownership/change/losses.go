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
		regions[i.Region] = d.lost(i.Region, regions)
		change.Regions = append(change.Regions, i.Region)
		why = append(why, i.Region+": "+i.Message)
	}
	slices.Sort(change.Regions)
	d.join(regions)
	t := d.changing(strings.Join(why, "; "), change, regions, services)
	t.Gates = change.Regions
	return t
}

// lost returns the record of a region that is lost with the next epoch.
func (d *decider) lost(name string, regions map[string]ownership.RegionRecord) ownership.RegionRecord {
	rec, at := regions[name], d.At.UTC()
	if d.owned(name, rec) {
		rec.Behind = append(slices.Clone(rec.Behind), minus(replaced(regions, name), rec.Behind)...)
		rec.Unshipped = true
	}
	rec.Lacks = d.lacking(name)
	rec.Drained = rec.State == ownership.RegionDrained
	rec.Flaps = health.FlapsAt(d.Timings, rec, at)
	rec.LostAt, rec.LostEpoch, rec.Since = &at, d.c.View.Epoch+1, at
	rec.State, rec.Suspect = ownership.RegionLost, false
	rec.Incident = health.IncidentName(d.c, name)
	return rec
}

// lacking returns the regions that have not said that they have applied what the region gave away.
func (d *decider) lacking(name string) []string {
	var out []string
	debt, owes := d.c.Debts[name]
	if d.c.View.Regions[name].Gone {
		return nil // given up
	}
	for other, rec := range d.c.View.Regions {
		if owes && other != name && rec.Role == health.RoleActive && !rec.Gone && d.c.Acks[other].Applied[name] < debt.Epoch {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	return out
}

// owned reports whether a region may have owned slots in the last Open configuration.
func (d *decider) owned(name string, rec ownership.RegionRecord) bool {
	if rec.Role != health.RoleActive || rec.State != ownership.RegionReturning {
		return rec.Role == health.RoleActive && rec.State == ownership.RegionServing
	}
	for uid := range d.c.Services {
		if stateBefore(d.c, d.c.Services[uid]).HandedBack[name] == rec.ReturnedEpoch {
			return true
		}
	}
	return false
}

// replaced returns the regions, other than the one that is lost, whose slots others own with everything
// in them: those that do not serve, and took nothing along when they stopped. They may have been
// drained, on their way back from that or lost meanwhile, have come for the first time, or be given up.
func replaced(regions map[string]ownership.RegionRecord, lost string) []string {
	var out []string
	for name, rec := range regions {
		if name != lost && rec.State != ownership.RegionServing && !rec.Unshipped && rec.Role == health.RoleActive {
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
