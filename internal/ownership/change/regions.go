package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// marks notes what changes no owner: suspicion, and regions that come for the first time. Those serve at
// once only if no service is there that they would take slots from.
func (d *decider) marks() (Txn, bool) {
	intents := d.regionsWith(health.Suspect, health.ClearSuspect, health.Admit)
	if len(intents) == 0 {
		return Txn{}, false
	}
	regions := next(d.c.View.Regions)
	var why []string
	for _, i := range intents {
		rec := regions[i.Region]
		rec.Since = d.At.UTC()
		switch i.Kind { //nolint:exhaustive // the others were left out
		case health.Suspect:
			rec.Suspect = true
		case health.ClearSuspect:
			rec.Suspect = false
		case health.Admit:
			rec.State, rec.Role = ownership.RegionServing, d.c.RegionIntents[i.Region].Role
			if len(d.c.Services) > 0 && rec.Role == health.RoleActive {
				rec.State, rec.ReturnedEpoch = ownership.RegionReturning, d.c.NextEpoch()
			}
		}
		regions[i.Region] = rec
		why = append(why, i.Region+": "+i.Message)
	}
	return Txn{What: "marks", Because: strings.Join(why, "; "), View: d.open(regions)}, true
}

// returns lets one lost region in again: its gate opens, and it owns nothing (R5). Whoever did not own its
// slots yet does not by that.
func (d *decider) returns() (Txn, bool) {
	for _, i := range d.regionsWith(health.OpenGateReturning) {
		rec := d.c.View.Regions[i.Region]
		if rec.Gone {
			continue
		}
		regions := next(d.c.View.Regions)
		regions[i.Region] = d.returning(rec)
		if rec.Drained {
			rec.State, rec.Since = ownership.RegionDrained, d.At.UTC()
			regions[i.Region] = rec
		}
		return Txn{
			What: "return", Because: i.Region + ": " + i.Message, View: d.open(regions),
			OpenGate: i.Region, Gates: []string{i.Region},
		}, true
	}
	return Txn{}, false
}

// returning returns the record of a region that owns nothing yet. Who had to wait before it owned slots of
// this region waits on: that the region is back says nothing of what others have applied.
func (d *decider) returning(rec ownership.RegionRecord) ownership.RegionRecord {
	rec.State, rec.ReturnedEpoch, rec.Since = ownership.RegionReturning, d.c.NextEpoch(), d.At.UTC()
	return rec
}

// edgeless empties a region that nobody can reach and whose agent beats on (R13). It has returned, in
// effect, and takes its slots back once it has been reachable for its hold-down.
func (d *decider) edgeless() (Txn, bool) {
	for _, name := range d.Health.Edgeless {
		rec := d.c.View.Regions[name]
		if rec.State != ownership.RegionServing || !d.othersServe(name) || !d.Memory.mayTry(d.Now, fmt.Sprintf("edgeless %s %d", name, rec.ReturnedEpoch)) {
			continue
		}
		regions := next(d.c.View.Regions)
		rec = d.returning(rec)
		rec.Suspect = false
		regions[name] = rec
		change := ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{name}}
		return d.changing(name+": its edge cannot be reached, and its agent beats", change, regions, nil), true
	}
	return Txn{}, false
}

// gone reports whether a person declared a region lost for good: what others received of it before need
// not reach everybody.
func (d *decider) gone(region string) bool { return d.c.View.Regions[region].Gone }

// debts takes off what every other region has applied or nobody waits for, and the marks of those that
// have applied it.
func (d *decider) debts() (Txn, bool) {
	t := Txn{What: "debts", Because: "they are applied", View: d.open(next(d.c.View.Regions)), Debts: map[string]ownership.Debt{}}
	for origin, debt := range d.c.Debts {
		rest := debt.Vector.Without(d.gone)
		switch {
		case len(rest) == 0 || len(d.lacking(origin)) == 0:
			t.Debts[origin] = ownership.Debt{}
		case len(rest) < len(debt.Vector):
			t.Debts[origin] = ownership.Debt{Epoch: debt.Epoch, Vector: rest}
		}
	}
	fewer := false
	for name, rec := range t.View.Regions {
		if applied := minus(rec.Lacks, d.lacking(name)); len(applied) > 0 {
			rec.Lacks, fewer = minus(rec.Lacks, applied), true
			if !rec.Unshipped {
				rec.Behind = both(rec.Behind, rec.Lacks)
			}
			t.View.Regions[name] = rec
		}
	}
	return t, fewer || len(t.Debts) > 0
}

// handbacks gives services back that go back by themselves (R12): all of them to a region that was out for a
// drill, which nobody is to be called for.
func (d *decider) handbacks() (Txn, bool) {
	for _, region := range d.Health.Ready {
		drilled := d.c.View.Regions[region].Drill != ""
		automatic := func(r ownership.ServiceRecord) bool { return drilled || r.Handback == ownership.HandbackAutomatic }
		if t, ok := d.handback(region, "", automatic); ok {
			return t, true
		}
	}
	return Txn{}, false
}

// handback begins to give a batch of services back to a Returning region.
func (d *decider) handback(region, order string, which func(ownership.ServiceRecord) bool) (Txn, bool) {
	if d.unsettled() != "" {
		return Txn{}, false
	}
	rec := d.c.View.Regions[region]
	var due []string
	prefix := fmt.Sprintf("handback %s %d %s ", region, rec.ReturnedEpoch, order)
	for _, record := range d.away(region) {
		if which(record) && !d.lags(region, record.UID) {
			due = append(due, prefix+record.UID)
		}
	}
	change := ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{region}, Order: order}
	var services []ownership.ServiceRecord
	for _, what := range d.Memory.batch(d.Now, due) {
		uid := strings.TrimPrefix(what, prefix)
		services = append(services, d.changed(d.c.Services[uid], func(s *ownership.ServiceState) { s.HandedBack = with(s.HandedBack, region, rec.ReturnedEpoch) }))
		change.Services = append(change.Services, uid)
	}
	if len(services) == 0 {
		return Txn{}, false
	}
	return d.changing(fmt.Sprintf("%s takes %d services back", region, len(services)), change, next(d.c.View.Regions), services), true
}

// away returns the services that name a Returning region and are not handed back to it, by UID.
func (d *decider) away(region string) []ownership.ServiceRecord {
	rec := d.c.View.Regions[region]
	var out []ownership.ServiceRecord
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		record := d.c.Services[uid]
		if d.named(record, region) && !record.Deleted && !slices.Contains(record.Excluded, region) && record.HandedBack[region] != rec.ReturnedEpoch {
			out = append(out, record)
		}
	}
	return out
}

// named reports whether a region may ever own slots of a service: no witness does.
func (d *decider) named(record ownership.ServiceRecord, region string) bool {
	return d.c.View.Regions[region].Role == health.RoleActive && (len(record.Regions) == 0 || slices.Contains(record.Regions, region))
}

// unsettled says why no planned change may begin now, "" when one may. A witness has nothing to be
// changed, and what is to be drained may be suspected: that is often why (R13).
func (d *decider) unsettled(draining ...string) string {
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		holds := rec.State == ownership.RegionServing || rec.State == ownership.RegionReturning
		switch {
		case rec.Role != health.RoleActive || slices.Contains(draining, name):
		case rec.Suspect:
			return "region " + name + " is suspected to be unreachable"
		case holds && gateClosed(d.c, name):
			return "region " + name + " is being lost"
		}
	}
	return ""
}

// unsettledFor is unsettled for an order.
func (d *decider) unsettledFor(o ownership.OrderIntent) string {
	if o.Type == ownership.OrderDrain {
		return d.unsettled(o.Region)
	}
	return d.unsettled() // of a drill its own region too
}

// serve lets a Returning region serve that has everything back.
func (d *decider) serve() (Txn, bool) {
	for _, name := range d.Health.Ready {
		if len(d.away(name)) > 0 {
			continue
		}
		if t, ok := d.serveAgain(name); ok {
			return t, true
		}
	}
	return Txn{}, false
}

// serveAgain makes a Returning region serve that has everything back, once the others have what it had.
func (d *decider) serveAgain(name string) (Txn, bool) {
	regions := next(d.c.View.Regions)
	rec := regions[name]
	if !d.Memory.mayTry(d.Now, fmt.Sprintf("serve %s %d", name, rec.ReturnedEpoch)) {
		return Txn{}, false
	}
	rec.State, rec.Since, rec.Incident, rec.Drill, rec.Rehearsal = ownership.RegionServing, d.At.UTC(), "", "", false
	regions[name] = shipped(rec)
	return d.changing(name+": reachable for longer than its hold-down, and every service is back",
		ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{name}}, regions, nil), true
}

// shipped returns the record of a region of which the others have all that it accepted before it was lost. Those
// that lack what it had given away before may lack it of their own slots too, if those went past them.
func shipped(rec ownership.RegionRecord) ownership.RegionRecord {
	rec.Unshipped, rec.Awaits = false, nil
	rec.Behind = both(rec.Behind, rec.Lacks)
	return rec
}

// shipped has the others catch up with a region that was lost and did not come back by being handed its
// slots: it serves because no other did, or was drained first. Until they have, nobody else is complete
// for its slots.
func (d *decider) shipped() (Txn, bool) {
	if d.unsettled() != "" {
		return Txn{}, false
	}
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		back := rec.State == ownership.RegionServing || rec.State == ownership.RegionDrained
		if !rec.Unshipped || !back || !slices.Contains(d.Health.Reachable, name) || !d.Memory.mayTry(d.Now, "shipped "+name) {
			continue
		}
		regions := next(d.c.View.Regions)
		regions[name] = shipped(rec)
		return d.changing(name+": what it accepted before it was lost may have reached the others",
			ownership.Change{Kind: ownership.ChangeApprove, Regions: []string{name}}, regions, nil), true
	}
	return Txn{}, false
}
