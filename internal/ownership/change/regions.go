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
				rec.State, rec.ReturnedEpoch = ownership.RegionReturning, d.c.View.Epoch+1
			}
		}
		regions[i.Region] = rec
		why = append(why, i.Region+": "+i.Message)
	}
	return Txn{What: "marks", Because: strings.Join(why, "; "), View: d.open(regions)}, true
}

// returns lets one lost region in again: its gate opens, and it owns nothing (R5).
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

func (d *decider) returning(rec ownership.RegionRecord) ownership.RegionRecord {
	rec.State, rec.ReturnedEpoch, rec.Since = ownership.RegionReturning, d.c.View.Epoch+1, d.At.UTC()
	return rec
}

// edgeless empties a region that nobody can reach and whose agent beats on (R13). It has returned, in
// effect, and takes its slots back once it has been reachable for its hold-down.
func (d *decider) edgeless() (Txn, bool) {
	for _, name := range d.Health.Edgeless {
		rec := d.c.View.Regions[name]
		if rec.State != ownership.RegionServing || !d.othersServe(name) || !d.Memory.mayTry(d.Now, "edgeless "+name) {
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

// debts takes off what every other region has applied.
func (d *decider) debts() (Txn, bool) {
	t := Txn{What: "debts", Because: "every region has applied them", View: d.open(d.c.View.Regions), Debts: map[string]ownership.Debt{}}
	for origin, debt := range d.c.Debts {
		if d.settled(origin, debt) {
			t.Debts[origin] = ownership.Debt{}
		}
	}
	return t, len(t.Debts) > 0
}

func (d *decider) settled(origin string, debt ownership.Debt) bool {
	for name, rec := range d.c.View.Regions {
		if name != origin && rec.Role == health.RoleActive && !rec.Gone && d.c.Acks[name].Applied[origin] < debt.Epoch {
			return false
		}
	}
	return true
}

// handbacks gives services back that go back by themselves (R12). While no region serves, those that have
// returned are all there is: they take what they have caught up with, at once (R14).
func (d *decider) handbacks() (Txn, bool) {
	to, which := d.Health.Ready, func(r ownership.ServiceRecord) bool { return r.Handback == ownership.HandbackAutomatic }
	if !d.othersServe("") {
		to, which = d.Health.Reachable, func(ownership.ServiceRecord) bool { return true }
	}
	for _, region := range to {
		if d.c.View.Regions[region].State != ownership.RegionReturning {
			continue
		}
		if t, ok := d.handback(region, "", which); ok {
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
	change := ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{region}, Order: order}
	var services []ownership.ServiceRecord
	for _, record := range d.away(region) {
		if which(record) && !d.lags(region, record.UID) && len(services) < maxBatch {
			services = append(services, d.changed(record, func(s *ownership.ServiceState) { set(&s.HandedBack, region, rec.ReturnedEpoch) }))
			change.Services = append(change.Services, record.UID)
		}
	}
	if len(services) == 0 || !d.Memory.mayTry(d.Now, fmt.Sprintf("handback %s %v", region, change.Services)) {
		return Txn{}, false
	}
	return d.changing(fmt.Sprintf("%s takes %d services back", region, len(services)), change, next(d.c.View.Regions), services), true
}

// away returns the services that name a Returning region and are not handed back to it, by UID. A witness
// owns nothing that could be.
func (d *decider) away(region string) []ownership.ServiceRecord {
	rec := d.c.View.Regions[region]
	if rec.Role != health.RoleActive {
		return nil
	}
	var out []ownership.ServiceRecord
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		record := d.c.Services[uid]
		named := len(record.Regions) == 0 || slices.Contains(record.Regions, region)
		if named && !record.Deleted && !slices.Contains(record.Excluded, region) && record.HandedBack[region] != rec.ReturnedEpoch {
			out = append(out, record)
		}
	}
	return out
}

// lags reports whether a region says that it is far behind the others for a service.
func (d *decider) lags(region, uid string) bool {
	lagging := d.c.Evidence[region].Lagging
	return slices.Contains(lagging, uid) || slices.Contains(lagging, ownership.LaggingAll)
}

// unsettled says why no planned change may begin now, "" when one may.
func (d *decider) unsettled() string {
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		holds := rec.State == ownership.RegionServing || rec.State == ownership.RegionReturning
		switch {
		case rec.Suspect:
			return "region " + name + " is suspected to be unreachable"
		case holds && gateClosed(d.c, name):
			return "region " + name + " is being lost"
		}
	}
	return ""
}

// serve lets a Returning region serve that has everything back.
func (d *decider) serve() (Txn, bool) {
	for _, name := range d.Health.Ready {
		if len(d.away(name)) > 0 {
			continue
		}
		regions := next(d.c.View.Regions)
		rec := regions[name]
		rec.State, rec.Since, rec.Incident, rec.Awaits = ownership.RegionServing, d.At.UTC(), "", nil
		if !d.overtaken(name) {
			rec.Unshipped, rec.Behind = false, nil
		}
		regions[name] = rec
		return d.changing(name+": reachable for longer than its hold-down, and every service is back",
			ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{name}}, regions, nil), true
	}
	return Txn{}, false
}

// shipped takes the mark off a region that serves though it was marked: it served again when no other
// region did, or while another was lost that had taken over from it.
func (d *decider) shipped() (Txn, bool) {
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		if rec.State != ownership.RegionServing || !rec.Unshipped || d.overtaken(name) || d.unsettled() != "" ||
			!d.Memory.mayTry(d.Now, "shipped "+name) {
			continue
		}
		regions := next(d.c.View.Regions)
		rec.Unshipped, rec.Behind, rec.Awaits = false, nil, nil
		regions[name] = rec
		return d.changing(name+": what it had is there again",
			ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{name}}, regions, nil), true
	}
	return Txn{}, false
}

// overtaken reports whether a region that is Unshipped was lost after the given one, while that did not
// serve. As long as that one is marked too, it can be told that the other has not owned its slots as
// complete owner (ownership.Owner).
func (d *decider) overtaken(region string) bool {
	lost := d.c.View.Regions[region].LostEpoch
	for name, rec := range d.c.View.Regions {
		if name != region && rec.Unshipped && rec.LostEpoch > lost && slices.Contains(rec.Behind, region) {
			return true
		}
	}
	return false
}
