package change

import (
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// maxBatch bounds the service records that one change writes: one transaction has them all, and etcd
// takes 128 comparisons of one. A record costs two, a region's acknowledgement, gate and debt one each:
// with 40 records 15 regions fit.
const maxBatch = 40

// Input is all that a decision depends on.
type Input struct {
	// Now is the leader's monotonic clock, At its wall clock, for people.
	Now  time.Duration
	At   time.Time
	Conf ownership.Configuration
	// Timings of the protocol.
	Timings ownership.Timings
	// Health is what is decided about regions.
	Health health.Decision
	// Silent is for how long something has spoken against regions, by name: those that the leader has seen.
	Silent map[string]time.Duration
	// Memory is this leader's own.
	Memory *Memory
}

// Txn is one transaction of the leader. It is refused unless it still leads, the view is the one that
// was decided from, and nothing that it depends on was written since.
type Txn struct {
	// What and Because are for logs.
	What, Because string
	View          ownership.View
	// OpenGate names the region whose gate is opened with it (R5), if any.
	OpenGate string
	Services []ownership.ServiceRecord
	// Debts to write; one without a vector is removed.
	Debts  map[string]ownership.Debt
	Orders []ownership.OrderRecord
	// Acks and Gates name the regions whose acknowledgement or gate the decision depends on.
	Acks, Gates []string
}

// Decide returns the next change of the view, if there is one to make.
func Decide(in Input) (Txn, bool) {
	in.Memory.see(in.Now, in.Conf)
	d := decider{Input: in, c: in.Conf}
	if t, ok := d.raise(); ok {
		return t, true
	}
	if losses := d.losses(); len(losses) > 0 {
		return d.lose(losses), true
	}
	if d.c.View.Phase == ownership.PhaseClosing {
		return d.closing()
	}
	for _, next := range []func() (Txn, bool){
		d.marks, d.returns, d.debts, d.edgeless, d.ordered, d.drillsOver, d.handbacks, d.serve, d.shipped, d.revive, d.retries, d.proposals,
	} {
		if t, ok := next(); ok {
			return t, true
		}
	}
	return Txn{}, false
}

type decider struct {
	Input
	c ownership.Configuration
}

// regionsWith returns the regions that the intents of the kind are about.
func (d *decider) regionsWith(kinds ...health.Kind) []health.Intent {
	var out []health.Intent
	for _, i := range d.Health.Intents {
		if slices.Contains(kinds, i.Kind) {
			out = append(out, i)
		}
	}
	return out
}

// raise repeats the view with an epoch above all that regions have seen, before anything else is decided in
// a store that was adopted: its epochs have gone back, and are fencing tokens. A change under way is
// acknowledged anew.
func (d *decider) raise() (Txn, bool) {
	view := d.c.View
	if view.Epoch == 0 || view.Epoch > d.c.EpochFloor() {
		return Txn{}, false
	}
	view.Epoch = d.c.NextEpoch()
	return Txn{What: "raise epoch", Because: "regions have seen higher ones in the store before this one", View: view}, true
}

// open returns a view that is in force with the next epoch.
func (d *decider) open(regions map[string]ownership.RegionRecord) ownership.View {
	return ownership.View{Epoch: d.c.NextEpoch(), Phase: ownership.PhaseOpen, Regions: regions}
}

// lastOpen returns the regions' records of the last Open configuration (R6).
func (d *decider) lastOpen() map[string]ownership.RegionRecord {
	if d.c.View.Phase == ownership.PhaseClosing {
		return d.c.View.Previous
	}
	return d.c.View.Regions
}

// next returns a copy of the regions' records to change.
func next(regions map[string]ownership.RegionRecord) map[string]ownership.RegionRecord {
	if regions == nil {
		return map[string]ownership.RegionRecord{}
	}
	return maps.Clone(regions)
}

// changing returns the transaction that begins a change: in force at once if nobody gains slots and
// everybody who loses some is fenced already, and Closing otherwise. Who loses slots to nobody must be
// fenced all the same: the next change may give them to somebody, and asks only those who have them. The
// state before is that of the last Open configuration, whatever was under way since (R6).
func (d *decider) changing(why string, change ownership.Change, regions map[string]ownership.RegionRecord, services []ownership.ServiceRecord) Txn {
	before, base := d.lastOpen(), d.c.View.Epoch
	if d.c.View.Phase == ownership.PhaseClosing {
		base = d.c.View.Base
	}
	changed := map[string]ownership.ServiceRecord{}
	for i := range services {
		changed[services[i].UID] = services[i]
	}
	t := Txn{What: string(change.Kind), Because: why, View: d.open(regions), Services: services}
	m := movesOf(d.c, before, regions, changed)
	unfenced := func(r string) bool { return !gateClosed(d.c, r) }
	if len(m.gain) > 0 || slices.ContainsFunc(m.losers(), unfenced) {
		t.View.Phase, t.View.Previous, t.View.Base, t.View.Change = ownership.PhaseClosing, before, base, &change
	}
	return t
}

// changed returns the record with another state, and what was Open last beside it (R6). It is for
// records that a change under way has not touched: one that has is put back first.
func (d *decider) changed(record ownership.ServiceRecord, alter func(*ownership.ServiceState)) ownership.ServiceRecord {
	previous := record.ServiceState
	record.Previous, record.Base = &previous, d.c.View.Epoch
	record.HandedBack = maps.Clone(record.HandedBack)
	record.Approved = maps.Clone(record.Approved)
	record.Withheld = maps.Clone(record.Withheld)
	record.Excluded = slices.Clone(record.Excluded)
	alter(&record.ServiceState)
	return record
}

// with returns a copy of a map, which may be nil, with one entry changed.
func with(m map[string]int64, key string, epoch int64) map[string]int64 {
	out := map[string]int64{}
	maps.Copy(out, m)
	out[key] = epoch
	return out
}

// putBack returns the records that the change under way has touched as they were before it.
func (d *decider) putBack() []ownership.ServiceRecord {
	var out []ownership.ServiceRecord
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		record := d.c.Services[uid]
		if d.c.View.Phase == ownership.PhaseClosing && record.Base == d.c.View.Base && record.Previous != nil {
			record.ServiceState, record.Previous, record.Base = *record.Previous, nil, 0
			out = append(out, record)
		}
	}
	return out
}
