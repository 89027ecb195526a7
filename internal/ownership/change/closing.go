package change

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// limit is how long a change may stay Closing.
func (d *decider) limit(kind ownership.ChangeKind) time.Duration {
	if kind.Planned() {
		return d.Timings.PlannedLimit
	}
	return d.Timings.LossLimit
}

// closing goes on with the change under way: opens it, gives it up, or waits.
func (d *decider) closing() (Txn, bool) {
	m := movesOf(d.c, d.c.View.Previous, d.c.View.Regions, nil)
	unfenced := slices.DeleteFunc(m.losers(), func(r string) bool { return fenced(d.c, r) })
	silent, stuck := d.behind(m.gainers())
	change := d.c.View.Change
	late := d.Now-d.Memory.closing >= d.limit(change.Kind)
	switch {
	case len(unfenced) == 0 && len(silent) == 0 && len(stuck) == 0:
		return d.opened(m, nil, nil), true
	case !late:
		return Txn{}, false
	case change.Kind.Planned():
		return d.giveUp(unfenced, silent, stuck), true
	case len(unfenced) > 0:
		return Txn{}, false // it acknowledges, or is lost itself
	case len(stuck) > maxBatch:
		return d.opened(m, append(silent, d.stuckRegions(m.gainers())...), nil), true
	default:
		return d.opened(m, silent, stuck), true
	}
}

// behind returns the regions that have not said that they have caught up, and the services for which
// some region has not.
func (d *decider) behind(gainers []string) (silent, stuck []string) {
	for _, r := range gainers {
		ack := d.c.Acks[r]
		if ack.Epoch != d.c.View.Epoch || !ack.CaughtUp {
			silent = append(silent, r)
			continue
		}
		stuck = append(stuck, ack.Stuck...)
	}
	slices.Sort(stuck)
	return silent, slices.Compact(stuck)
}

func (d *decider) stuckRegions(gainers []string) []string {
	var out []string
	for _, r := range gainers {
		if ack := d.c.Acks[r]; ack.Epoch == d.c.View.Epoch && len(ack.Stuck) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// opened puts the change in force. Slots that a silent region would gain, and those of services that are
// stuck, belong to nobody for now (R10).
func (d *decider) opened(m moves, silent, stuck []string) Txn {
	regions := next(d.c.View.Regions)
	lost := d.c.View.Change.Regions
	for _, name := range lost {
		if rec := regions[name]; d.c.View.Change.Kind == ownership.ChangeLoss {
			rec.Awaits = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(rec.Awaits), silent...))))
			regions[name] = rec
		}
	}
	services := d.parted(regions, silent, stuck)
	t := Txn{
		What: "open " + string(d.c.View.Change.Kind), Because: "every region concerned has acknowledged",
		View: d.open(regions), Acks: append(m.losers(), m.gainers()...), Gates: m.losers(), Debts: d.owed(m),
	}
	if len(silent)+len(stuck) > 0 {
		t.Because = fmt.Sprintf("regions without an answer: %v, services that have not caught up: %v", silent, stuck)
	}
	for _, uid := range stuck {
		if record, ok := d.c.Services[uid]; ok {
			record.Withheld = withheld(record.Withheld, lost, regions)
			t.Services = append(t.Services, record)
		}
	}
	t.Services = append(t.Services, services...)
	return t
}

// parted takes back that regions serve which joined in this change and have not caught up with all of it:
// they may come before the lost region in a slot's order, so that what is withheld of that does not keep
// the slot from them. They are handed the services for which they have, as many as fit.
func (d *decider) parted(regions map[string]ownership.RegionRecord, silent, stuck []string) []ownership.ServiceRecord {
	changed := map[string]ownership.ServiceRecord{}
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		was, behind := d.c.View.Previous[name], d.c.Acks[name].Stuck
		joined := was.State == ownership.RegionReturning && regions[name].State == ownership.RegionServing
		if !joined || !slices.Contains(silent, name) && len(behind) == 0 || d.c.View.Change.Kind.Planned() {
			continue
		}
		regions[name] = was
		for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
			record, known := changed[uid]
			if !known {
				record = d.c.Services[uid]
			}
			if !slices.Contains(silent, name) && !record.Deleted && !slices.Contains(stuck, uid) && (known || len(changed)+len(stuck) < maxBatch) {
				record.HandedBack = maps.Clone(record.HandedBack)
				set(&record.HandedBack, name, was.ReturnedEpoch)
				changed[uid] = record
			}
		}
	}
	out := make([]ownership.ServiceRecord, 0, len(changed))
	for _, uid := range slices.Sorted(maps.Keys(changed)) {
		out = append(out, changed[uid])
	}
	return out
}

func withheld(old map[string]int64, lost []string, regions map[string]ownership.RegionRecord) map[string]int64 {
	out := map[string]int64{}
	for name, epoch := range old {
		out[name] = epoch
	}
	for _, name := range lost {
		out[name] = regions[name].LostEpoch
	}
	return out
}

// owed returns what changes of the debts: what the losers had is owed from now on (R10). What a lost
// region had is not known; what it owed before it still does.
func (d *decider) owed(m moves) map[string]ownership.Debt {
	debts := map[string]ownership.Debt{}
	for _, loser := range m.losers() {
		if ack := d.c.Acks[loser]; acknowledged(d.c, loser) && !gateClosed(d.c, loser) && len(ack.Vector) > 0 {
			debts[loser] = ownership.Debt{Epoch: d.c.View.Epoch + 1, Vector: d.c.Debts[loser].Vector.Join(ack.Vector)}
		}
	}
	return debts
}

// giveUp puts the state before a planned change in force again: nobody owns what that would have moved
// but who owned it before.
func (d *decider) giveUp(unfenced, silent, stuck []string) Txn {
	change := d.c.View.Change
	why := fmt.Sprintf("not done within %s: regions not fenced: %v, not caught up: %v, services not caught up: %v",
		d.limit(change.Kind), unfenced, silent, stuck)
	t := Txn{What: "give up " + string(change.Kind), Because: why, View: d.open(d.c.View.Previous), Services: d.putBack()}
	if change.Order != "" && change.Kind != ownership.ChangeHandback {
		t.Orders = d.ended(change.Order, ownership.OrderFailed, why)
	}
	return t
}
