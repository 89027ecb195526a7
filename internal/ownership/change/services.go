package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// retries tries again what could not catch up: a survivor that was silent, and services that were
// withheld, once nobody says that it lags.
func (d *decider) retries() (Txn, bool) {
	if d.unsettled() != "" {
		return Txn{}, false
	}
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		present := slices.DeleteFunc(slices.Clone(rec.Awaits), func(r string) bool {
			return !slices.Contains(d.Health.Reachable, r) || slices.Contains(d.c.Evidence[r].Lagging, ownership.LaggingAll)
		})
		if len(present) > 0 && d.Memory.mayTry(d.Now, fmt.Sprintf("await %s %d %d %v", name, rec.LostEpoch, rec.ReturnedEpoch, present)) {
			regions := next(d.c.View.Regions)
			rec.Awaits = minus(rec.Awaits, present)
			regions[name] = rec
			return d.changing(fmt.Sprintf("%v may have applied what they received of %s", present, name),
				ownership.Change{Kind: ownership.ChangeApprove, Regions: []string{name}}, regions, nil), true
		}
	}
	return d.withheldAgain()
}

func (d *decider) withheldAgain() (Txn, bool) {
	var some []string // to sort all of thousands with every configuration would be much of a pass
	for uid := range d.c.Services {
		if len(d.c.Services[uid].Withheld) > 0 {
			some = append(some, uid)
		}
	}
	slices.Sort(some)
	for _, uid := range some {
		record := d.c.Services[uid]
		withholding := record.Withholding(d.c.View.Regions)
		due := slices.DeleteFunc(withholding, func(r string) bool { return record.Withheld[r] != d.c.View.Regions[r].LostEpoch })
		lagging := slices.ContainsFunc(record.MayOwn(d.c.View.Regions), func(r string) bool { return d.lags(r, uid) })
		if record.Deleted || len(due) == 0 || lagging || !d.Memory.mayTry(d.Now, fmt.Sprintf("withheld %s %v", uid, due)) {
			continue
		}
		changed := d.changed(record, func(s *ownership.ServiceState) {
			for _, r := range due {
				delete(s.Withheld, r)
			}
		})
		change := ownership.Change{Kind: ownership.ChangeApprove, Regions: due, Services: []string{uid}}
		return d.changing("service "+record.Namespace+"/"+record.Name+" may have caught up", change,
			next(d.c.View.Regions), []ownership.ServiceRecord{changed}), true
	}
	return Txn{}, false
}

// proposals gives services the ownership specs that the hub proposes, a batch at a time, while no region
// that they name, before or after, is away, and says at any time whether they go back by themselves.
func (d *decider) proposals() (Txn, bool) {
	if d.unsettled() != "" {
		return Txn{}, false
	}
	const prefix = "respec "
	var due []string
	for uid := range d.c.ServiceIntents {
		intent, record := d.c.ServiceIntents[uid], d.c.Services[uid]
		same := !differs(intent, record)
		if record.UID == "" || record.Deleted || intent.Deleted || same && len(d.Memory.tried) == 0 {
			continue // as nearly all are, nearly always
		}
		what := fmt.Sprintf("%s%s %s %v %t %s", prefix, uid, intent.SpecHash, intent.Regions, intent.Manual, intent.Handback)
		switch {
		case same:
			d.Memory.forget(what)
		case d.settledFor(intent, record):
			due = append(due, what)
		case intent.Handback != record.Handback:
			due = append(due, prefix+uid+" handback "+intent.Handback)
		}
	}
	slices.Sort(due) // by UID, which comes first
	change := ownership.Change{Kind: ownership.ChangeRespec}
	var services []ownership.ServiceRecord
	for _, what := range d.Memory.batch(d.Now, due) {
		uid, _, _ := strings.Cut(strings.TrimPrefix(what, prefix), " ")
		services = append(services, d.proposed(uid))
		change.Services = append(change.Services, uid)
	}
	if len(services) == 0 {
		return Txn{}, false
	}
	return d.changing(fmt.Sprintf("declared anew: %d services", len(services)), change, next(d.c.View.Regions), services), true
}

// proposed returns a service's record as the hub proposes it. Whether it goes back by itself may be
// changed at any time, most of all while a region is away.
func (d *decider) proposed(uid string) ownership.ServiceRecord {
	intent, record := d.c.ServiceIntents[uid], d.c.Services[uid]
	if d.settledFor(intent, record) {
		record = d.changed(record, func(s *ownership.ServiceState) {
			s.SpecHash, s.Regions, s.Manual = intent.SpecHash, intent.Regions, intent.Manual
		})
	}
	record.Handback = intent.Handback
	return record
}

func differs(i ownership.ServiceIntent, r ownership.ServiceRecord) bool {
	return i.SpecHash != r.SpecHash || !slices.Equal(i.Regions, r.Regions) || i.Manual != r.Manual || i.Handback != r.Handback
}

// settledFor reports whether every region of the service serves or was emptied on purpose: what a lost
// one had cannot be told once the order of regions is another.
func (d *decider) settledFor(i ownership.ServiceIntent, r ownership.ServiceRecord) bool {
	for name, rec := range d.c.View.Regions {
		named := len(i.Regions) == 0 || len(r.Regions) == 0 || slices.Contains(i.Regions, name) || slices.Contains(r.Regions, name)
		if named && (rec.Unshipped || rec.State == ownership.RegionReturning && rec.Role == health.RoleActive) {
			return false
		}
	}
	return true
}
