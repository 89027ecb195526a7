package change

import (
	"fmt"
	"maps"
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

// lost returns the record of a region that is lost with the next epoch. What it has not shipped, and
// what was decided about that, stays as it was if it owned nothing since.
func (d *decider) lost(name string, regions map[string]ownership.RegionRecord) ownership.RegionRecord {
	rec, at := regions[name], d.At.UTC()
	owned := d.owned(name, regions)
	if owned || !rec.Unshipped {
		rec.LostEpoch = d.c.NextEpoch()
	}
	rec.Lacks = d.lacking(name)
	var behind []string
	if owned || len(rec.Lacks) > 0 {
		behind = d.idle(regions, name)
	}
	if owned {
		behind = append(behind, d.overtaken(regions, name)...)
		rec.Unshipped = true
	}
	rec.Behind = slices.Sorted(slices.Values(append(slices.Clone(rec.Behind), minus(behind, rec.Behind)...)))
	rec.Drained = rec.State == ownership.RegionDrained
	if owned { // what it accepted since it came back from a drill may be missed: that is a person's to settle
		rec.Drill, rec.Rehearsal = "", false
	}
	rec.Flaps = health.FlapsAt(d.Timings, rec, at)
	rec.LostAt, rec.SilentAt, rec.Since = &at, nil, at
	if silent, known := d.Silent[name]; known {
		since := at.Add(-silent)
		rec.SilentAt = &since
	}
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

// owned reports whether a region may have owned slots until now.
func (d *decider) owned(name string, regions map[string]ownership.RegionRecord) bool {
	rec := regions[name]
	if rec.Role != health.RoleActive || rec.State == ownership.RegionServing {
		return rec.Role == health.RoleActive
	}
	for _, record := range d.c.Services {
		state := stateBefore(d.c, record)
		if rec.State == ownership.RegionReturning && slices.Contains(state.MayOwn(regions), name) {
			return true
		}
	}
	return false
}

// idle returns the other regions whose slots somebody owns with everything in them: they do not serve,
// and have nothing that others lack, or have not joined yet. One that a change under way has serve, for want
// of others, does not yet, and catches up with nothing of a region that is lost before that is Open.
func (d *decider) idle(regions map[string]ownership.RegionRecord, except string) []string {
	out := d.awaited(regions)
	for name, rec := range regions {
		serves := rec.State == ownership.RegionServing && d.lastOpen()[name].State == ownership.RegionServing
		if name != except && rec.Role == health.RoleActive && !serves && !rec.Unshipped {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// awaited returns the regions that are to own slots, by what hubs propose or a service's record says, and that the
// view does not have.
func (d *decider) awaited(regions map[string]ownership.RegionRecord) []string {
	names := map[string]bool{}
	for name, intent := range d.c.RegionIntents {
		names[name] = intent.Role == health.RoleActive
	}
	for _, record := range d.c.Services {
		for _, name := range record.Regions {
			names[name] = true
		}
	}
	var out []string
	for name, active := range names {
		if _, known := regions[name]; active && !known {
			out = append(out, name)
		}
	}
	return out
}

// overtaken returns the other Unshipped regions since whose loss somebody was drained, or declared gone:
// that region's slots went past them, with everything in them. For other slots this is too careful.
func (d *decider) overtaken(regions map[string]ownership.RegionRecord, except string) []string {
	var out []string
	for name, rec := range regions {
		if name != except && rec.Unshipped && rec.State != ownership.RegionServing && len(minus(d.idle(regions, name), rec.Behind)) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// join has every Returning region that can be reached serve when no other would (R14), and returns which.
func (d *decider) join(regions map[string]ownership.RegionRecord) []string {
	for _, rec := range regions {
		if rec.State == ownership.RegionServing && rec.Role == health.RoleActive {
			return nil
		}
	}
	var joined []string
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		rec := regions[name]
		if rec.State == ownership.RegionReturning && rec.Role == health.RoleActive && slices.Contains(d.Health.Reachable, name) {
			rec.State, rec.Since, rec.Incident, rec.Drill, rec.Rehearsal = ownership.RegionServing, d.At.UTC(), "", "", false
			regions[name] = rec
			joined = append(joined, name)
		}
	}
	return joined
}

// revive has Returning regions serve when none does: those that could not be reached, or did not catch
// up, when the last one was lost. It is tried for as long as it takes, since there is nothing to disturb.
func (d *decider) revive() (Txn, bool) {
	regions := next(d.c.View.Regions)
	joined := d.join(regions)
	if len(joined) == 0 {
		return Txn{}, false
	}
	return d.changing(fmt.Sprintf("no region serves; %v can be reached", joined), ownership.Change{Kind: ownership.ChangeLoss}, regions, nil), true
}
