package change_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// world is what one leader decides from. It begins with the regions a, b and c, at epoch 7.
type world struct {
	conf   ownership.Configuration
	health health.Decision
	memory *change.Memory
	now    time.Duration
	// silent is for how long something has spoken against regions.
	silent map[string]time.Duration
}

var wall = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// edit changes regions' records; alter changes one.
type (
	edit  func(map[string]ownership.RegionRecord)
	alter func(*ownership.RegionRecord)
)

func newWorld(edits ...edit) *world {
	w := &world{now: time.Hour, memory: change.NewMemory(), conf: ownership.Configuration{
		View:     ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
		Services: map[string]ownership.ServiceRecord{}, Gates: map[string]ownership.Gate{}, Acks: map[string]ownership.Ack{},
		Debts: map[string]ownership.Debt{}, Orders: map[string]ownership.OrderRecord{}, Evidence: map[string]ownership.Evidence{},
		RegionIntents: map[string]ownership.RegionIntent{}, OrderIntents: map[string]ownership.OrderIntent{},
		ServiceIntents: map[string]ownership.ServiceIntent{},
	}}
	for _, name := range []string{"a", "b", "c"} {
		w.conf.View.Regions[name] = ownership.RegionRecord{State: ownership.RegionServing, Role: health.RoleActive}
	}
	for _, e := range edits {
		e(w.conf.View.Regions)
	}
	for name, rec := range w.conf.View.Regions {
		w.conf.RegionIntents[name] = ownership.RegionIntent{Name: name, Role: rec.Role}
		w.conf.Gates[name] = ownership.Gate{Generation: 1, Open: rec.State != ownership.RegionLost}
		if rec.State != ownership.RegionLost {
			w.health.Reachable = append(w.health.Reachable, name)
		}
	}
	slices.Sort(w.health.Reachable)
	return w
}

func set(name string, state ownership.RegionState, alters ...alter) edit {
	return func(regions map[string]ownership.RegionRecord) {
		rec := regions[name]
		rec.State = state
		if rec.Role == "" {
			rec.Role = health.RoleActive
		}
		for _, a := range alters {
			a(&rec)
		}
		regions[name] = rec
	}
}

func without(name string) edit {
	return func(regions map[string]ownership.RegionRecord) { delete(regions, name) }
}

func serving(name string, alters ...alter) edit { return set(name, ownership.RegionServing, alters...) }
func drained(name string, alters ...alter) edit { return set(name, ownership.RegionDrained, alters...) }
func witness(name string, alters ...alter) edit {
	return serving(name, append(alters, func(r *ownership.RegionRecord) { r.Role = "Witness" })...)
}

// lost is a region that was lost with epoch 5 while it served.
func lost(name string, alters ...alter) edit {
	return set(name, ownership.RegionLost, append([]alter{unshipped, func(r *ownership.RegionRecord) { r.LostEpoch = 5 }}, alters...)...)
}

// returning is a lost region that returned with epoch 6.
func returning(name string, alters ...alter) edit {
	return lost(name, append([]alter{func(r *ownership.RegionRecord) {
		r.State, r.ReturnedEpoch = ownership.RegionReturning, 6
	}}, alters...)...)
}

// losing is what a region becomes that served until it was lost with epoch 8.
func losing(name string, alters ...alter) edit {
	return set(name, ownership.RegionLost, append([]alter{unshipped, since, func(r *ownership.RegionRecord) {
		r.LostEpoch, r.LostAt, r.Flaps, r.Incident = 8, &wall, 1, name+"-7"
	}}, alters...)...)
}

func unshipped(r *ownership.RegionRecord) { r.Unshipped = true }
func shipped(r *ownership.RegionRecord)   { r.Unshipped, r.Behind = false, nil }
func suspect(r *ownership.RegionRecord)   { r.Suspect = true }
func since(r *ownership.RegionRecord)     { r.Since = wall }
func gone(r *ownership.RegionRecord)      { r.Gone, r.Unshipped, r.Behind = true, false, nil }

func behind(names ...string) alter { return func(r *ownership.RegionRecord) { r.Behind = names } }
func awaits(names ...string) alter { return func(r *ownership.RegionRecord) { r.Awaits = names } }
func lacks(names ...string) alter  { return func(r *ownership.RegionRecord) { r.Lacks = names } }
func returned(epoch int64) alter {
	return func(r *ownership.RegionRecord) { r.ReturnedEpoch = epoch }
}

// service adds a service of a, b and c.
func (w *world) service(uid string, alters ...func(*ownership.ServiceRecord)) *world {
	record := ownership.ServiceRecord{UID: uid, Namespace: "accounts", Name: uid, ServiceState: ownership.ServiceState{
		SpecHash: "h", Regions: []string{"a", "b", "c"},
	}}
	for _, a := range alters {
		a(&record)
	}
	w.conf.Services[uid] = record
	w.conf.ServiceIntents[uid] = ownership.ServiceIntent{
		UID: uid, Namespace: record.Namespace, Name: record.Name, SpecHash: record.SpecHash, Regions: record.Regions,
		Manual: record.Manual, Handback: record.Handback,
	}
	return w
}

func automatic(r *ownership.ServiceRecord) { r.Handback = ownership.HandbackAutomatic }
func manual(r *ownership.ServiceRecord)    { r.Manual = true }
func deleted(r *ownership.ServiceRecord)   { r.Deleted = true }

func of(names ...string) func(*ownership.ServiceRecord) {
	return func(r *ownership.ServiceRecord) { r.Regions = names }
}

func excluding(names ...string) func(*ownership.ServiceRecord) {
	return func(r *ownership.ServiceRecord) { r.Excluded = names }
}

func handedBack(region string, epoch int64) func(*ownership.ServiceRecord) {
	return func(r *ownership.ServiceRecord) { r.HandedBack = map[string]int64{region: epoch} }
}

// withheld and approved are about the loss of c.
func withheld(epoch int64) func(*ownership.ServiceRecord) {
	return func(r *ownership.ServiceRecord) { r.Withheld = map[string]int64{"c": epoch} }
}

func approved(epoch int64) func(*ownership.ServiceRecord) {
	return func(r *ownership.ServiceRecord) { r.Approved = map[string]int64{"c": epoch} }
}

// proposed changes what the hub proposes for a service.
func (w *world) proposed(uid string, alters ...func(*ownership.ServiceIntent)) *world {
	intent := w.conf.ServiceIntents[uid]
	for _, a := range alters {
		a(&intent)
	}
	w.conf.ServiceIntents[uid] = intent
	return w
}

// says adds what is decided about a region's health.
func (w *world) says(kind health.Kind, regions ...string) *world {
	for _, r := range regions {
		w.health.Intents = append(w.health.Intents, health.Intent{Kind: kind, Region: r, Message: "because"})
	}
	return w
}

// loses closes the regions' gates, so that they are to be declared lost.
func (w *world) loses(regions ...string) *world {
	for _, r := range regions {
		w.gate(r, false)
		w.health.Reachable = slices.DeleteFunc(w.health.Reachable, func(n string) bool { return n == r })
	}
	return w.says(health.DeclareLost, regions...)
}

func (w *world) gate(region string, open bool) *world {
	w.conf.Gates[region] = ownership.Gate{Generation: w.conf.Gates[region].Generation + 1, Open: open}
	return w
}

func (w *world) ready(regions ...string) *world {
	w.health.Ready = append(w.health.Ready, regions...)
	return w
}

// beats has the leader see the region's agent beat.
func (w *world) beats(region string) *world {
	w.health.Beating = append(w.health.Beating, region)
	return w
}

func (w *world) lags(region string, services ...string) *world {
	w.conf.Evidence[region] = ownership.Evidence{Lagging: services}
	return w
}

func (w *world) ack(region string, ack ownership.Ack) *world {
	if ack.Epoch == 0 {
		ack.Epoch = w.conf.View.Epoch
	}
	w.conf.Acks[region] = ack
	return w
}

func (w *world) fenced(regions ...string) *world {
	for _, r := range regions {
		w.ack(r, ownership.Ack{Fenced: true, Vector: ownership.Vector{r: {"s": 4}}, CaughtUp: w.conf.Acks[r].CaughtUp})
	}
	return w
}

func (w *world) caughtUp(regions ...string) *world {
	for _, r := range regions {
		ack := w.conf.Acks[r]
		ack.Epoch, ack.CaughtUp = w.conf.View.Epoch, true
		w.conf.Acks[r] = ack
	}
	return w
}

// intends has a hub propose a region that the view does not have.
func (w *world) intends(region, role string) *world {
	w.conf.RegionIntents[region] = ownership.RegionIntent{Name: region, Role: role}
	return w
}

// owes has a region owe something that no other has applied.
func (w *world) owes(region string) *world {
	w.conf.Debts[region] = debt(5, ownership.Vector{region: {"s": 4}})
	return w
}

// order adds an order named o that is taken up.
func (w *world) order(kind, region, service string) *world {
	w.conf.OrderIntents["o"] = ownership.OrderIntent{Name: "o", Type: kind, Region: region, Service: service}
	w.conf.Orders["o"] = ownership.OrderRecord{Name: "o", State: ownership.OrderRunning, StartedAt: wall.Add(-time.Minute)}
	return w
}

func (w *world) input() change.Input {
	return change.Input{
		Now: w.now, At: wall, Conf: w.conf, Timings: ownership.DefaultTimings(), Health: w.health, Silent: w.silent, Memory: w.memory,
	}
}

// later lets time go by under the leader's eyes.
func (w *world) later(d time.Duration) *world {
	change.Orders(w.input())
	w.now += d
	return w
}

// commit carries out what is decided; what was said of regions' health is done with it.
func (w *world) commit() *world {
	txn, ok := change.Decide(w.input())
	if !ok {
		panic("nothing is decided")
	}
	w.apply(txn)
	w.health.Intents = nil
	return w
}

func (w *world) apply(txn change.Txn) {
	w.conf.View = txn.View
	if txn.OpenGate != "" {
		w.gate(txn.OpenGate, true)
		w.health.Reachable = slices.Sorted(slices.Values(append(w.health.Reachable, txn.OpenGate)))
	}
	for _, s := range txn.Services {
		w.conf.Services[s.UID] = s
	}
	for origin, debt := range txn.Debts {
		w.conf.Debts[origin] = debt
		if len(debt.Vector) == 0 {
			delete(w.conf.Debts, origin)
		}
	}
	for _, o := range txn.Orders {
		w.conf.Orders[o.Name] = o
	}
}

// opens is the next view, in force, with changes of the regions.
func (w *world) opens(edits ...edit) ownership.View {
	v := ownership.View{Epoch: w.conf.View.Epoch + 1, Phase: ownership.PhaseOpen, Regions: maps.Clone(w.conf.View.Regions)}
	for _, e := range edits {
		e(v.Regions)
	}
	return v
}

// closes is the next view, with a change under way from the view that was in force last.
func (w *world) closes(c ownership.Change, edits ...edit) ownership.View {
	v := w.opens(edits...)
	v.Phase, v.Change, v.Previous, v.Base = ownership.PhaseClosing, &c, w.conf.View.Regions, w.conf.View.Epoch
	if w.conf.View.Phase == ownership.PhaseClosing {
		v.Previous, v.Base = w.conf.View.Previous, w.conf.View.Base
	}
	return v
}

// back is the next view with the regions as they were before the change under way.
func (w *world) back() ownership.View {
	return ownership.View{Epoch: w.conf.View.Epoch + 1, Phase: ownership.PhaseOpen, Regions: w.conf.View.Previous}
}

// changed is a service's record as a change makes it.
func (w *world) changed(uid string, alter func(*ownership.ServiceState)) ownership.ServiceRecord {
	record := w.conf.Services[uid]
	previous := record.ServiceState
	record.Previous, record.Base = &previous, w.conf.View.Epoch
	record.HandedBack, record.Withheld = maps.Clone(record.HandedBack), maps.Clone(record.Withheld)
	alter(&record.ServiceState)
	return record
}

// restored is a service's record as it was before the change under way.
func (w *world) restored(uid string) ownership.ServiceRecord {
	record := w.conf.Services[uid]
	record.ServiceState, record.Previous, record.Base = *record.Previous, nil, 0
	return record
}

func (w *world) ended(name string, state ownership.OrderState, message string) ownership.OrderRecord {
	record := w.conf.Orders[name]
	record.State, record.Message, record.EndedAt, record.Epoch = state, message, &wall, w.conf.View.Epoch
	return record
}

func decideAt(w *world) (change.Txn, bool) { return change.Decide(w.input()) }

// decision is a case of a table: what is decided in a world, nil for nothing.
type decision struct {
	w    *world
	want func(*world) change.Txn
}

func decides(t *testing.T, cases map[string]decision) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var want change.Txn
			if c.want != nil {
				want = c.want(c.w)
			}
			got, ok := change.Decide(c.w.input())
			if ok != (c.want != nil) {
				t.Errorf("decided is %t, want %t", ok, c.want != nil)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}
