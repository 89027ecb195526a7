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
	case change.Kind.Planned() && len(unfenced)+len(silent) == 0 && d.mayWithhold(stuck):
		return d.opened(m, nil, stuck), true // the others are not held up (R10)
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

// mayWithhold reports whether the change under way lets regions own what they could not when another was
// lost, and the services that are stuck may be kept from them alone: nobody owns the slots yet.
func (d *decider) mayWithhold(stuck []string) bool {
	change := d.c.View.Change
	if change.Kind != ownership.ChangeApprove || change.Order != "" || len(change.Services) > 0 || len(stuck) > maxBatch {
		return false
	}
	for _, uid := range stuck {
		for _, region := range change.Regions {
			awaited, rec := d.c.View.Previous[region].Awaits, d.c.View.Regions[region]
			if !rec.Unshipped && !rec.Gone || len(minus(d.c.Services[uid].MayOwn(d.c.View.Previous), awaited)) > 0 {
				return false
			}
		}
	}
	return true
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
	lost := d.tookOver()
	d.leaveOut(regions, silent)
	for _, name := range lost {
		if rec := regions[name]; d.c.View.Change.Kind == ownership.ChangeLoss {
			rec.Awaits = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(rec.Awaits), silent...))))
			regions[name] = rec
		}
	}
	t := Txn{
		What: "open " + string(d.c.View.Change.Kind), Because: "every region concerned has acknowledged",
		View: d.open(regions), Acks: append(m.losers(), m.gainers()...), Gates: m.losers(), Debts: d.owed(m),
	}
	if len(silent)+len(stuck) > 0 {
		t.Because = fmt.Sprintf("regions without an answer: %v, services that have not caught up: %v", silent, stuck)
	}
	for _, uid := range stuck {
		record, ok := d.c.Services[uid]
		// Others own the slots of a region that was lost on its way back, but for what it had back and what
		// was kept from them.
		was := stateBefore(d.c, record)
		kept := append(was.MayOwn(d.c.View.Previous), was.Withholding(d.c.View.Previous)...)
		had := slices.ContainsFunc(lost, func(r string) bool { return slices.Contains(kept, r) })
		if ok && (had || d.c.View.Change.Kind.Planned()) {
			record.Withheld = withheld(record.Withheld, lost, regions)
			t.Services = append(t.Services, record)
		}
	}
	return t
}

// tookOver returns the regions whose slots the change under way gives to others: not those that were lost
// with it and owned none, whose slots others own already.
func (d *decider) tookOver() []string {
	change := d.c.View.Change
	return slices.DeleteFunc(slices.Clone(change.Regions), func(r string) bool {
		rec := d.c.View.Regions[r]
		return change.Kind == ownership.ChangeLoss && (!rec.Unshipped || rec.LostEpoch <= d.c.View.Base)
	})
}

// leaveOut has the regions that were to serve because no other does (R14), and have not caught up, stay
// Returning: they would own slots of their own as well, which Awaits and Withheld do not keep from them.
// What is ready is handed back to them service by service. Those that have something back already are
// awaited like others.
func (d *decider) leaveOut(regions map[string]ownership.RegionRecord, silent []string) {
	stuck := d.stuckRegions(slices.Sorted(maps.Keys(regions)))
	for name, before := range d.c.View.Previous {
		joined := before.State == ownership.RegionReturning && regions[name].State == ownership.RegionServing
		if joined && (slices.Contains(silent, name) || slices.Contains(stuck, name)) {
			regions[name] = before
		}
	}
}

func withheld(old map[string]int64, lost []string, regions map[string]ownership.RegionRecord) map[string]int64 {
	out := map[string]int64{}
	maps.Copy(out, old)
	for _, name := range lost {
		out[name] = regions[name].LostEpoch
	}
	return out
}

// owed returns what changes of the debts: what the losers had is owed from now on (R10), but for what came
// from a region that is gone for good. What a lost region owed it owes still, if it returns.
func (d *decider) owed(m moves) map[string]ownership.Debt {
	debts := map[string]ownership.Debt{}
	for _, loser := range m.losers() {
		had := d.c.Acks[loser].Vector.Without(d.gone)
		if !gateClosed(d.c, loser) && len(had) > 0 {
			debts[loser] = ownership.Debt{Epoch: d.c.NextEpoch(), Vector: d.c.Debts[loser].Vector.Join(had)}
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
