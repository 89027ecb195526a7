package search

import (
	"flag"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

type txn = change.Txn

var limit = flag.Int("states", 0, "give a search up after so many states")

func orders(kind string, service string) []ownership.OrderIntent {
	var out []ownership.OrderIntent
	for _, r := range names {
		out = append(out, ownership.OrderIntent{Type: kind, Region: r, Service: service})
	}
	return out
}

func join(lists ...[]ownership.OrderIntent) []ownership.OrderIntent {
	var out []ownership.OrderIntent
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func with(region string, alter func(*ownership.RegionRecord)) func(*ownership.Configuration) {
	return func(c *ownership.Configuration) {
		rec := c.View.Regions[region]
		alter(&rec)
		c.View.Regions[region] = rec
	}
}

func drained(rec *ownership.RegionRecord) { rec.State = ownership.RegionDrained }

// returning is a region that was drained before.
func returning(rec *ownership.RegionRecord) {
	rec.State, rec.ReturnedEpoch = ownership.RegionReturning, 1
}

// returned is one that was lost before.
func returned(rec *ownership.RegionRecord) {
	rec.State, rec.ReturnedEpoch, rec.LostEpoch, rec.Unshipped = ownership.RegionReturning, 1, 1, true
}

func scenarios() []*model {
	abc := specOf("even", "abc")
	cap := *limit
	drain, undrain := orders(change.OrderDrain, ""), orders(change.OrderUndrain, "")
	return []*model{
		{
			name: "loss", specs: []spec{abc},
			bounds: bounds{writes: 2, losses: 1, returns: 1, changes: 1, lates: 1, lag: 1, states: cap},
		},
		{
			name: "loss/stuck", specs: []spec{abc},
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 2, lates: 1, lag: 1, stuck: 1, states: cap},
		},
		{
			name: "returning", specs: []spec{abc}, begin: with("a", returning), orders: drain,
			bounds: bounds{writes: 1, losses: 1, changes: 2, orders: 1, lag: 1, states: cap},
		},
		{
			name: "drained", specs: []spec{abc}, begin: with("a", drained), orders: undrain,
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 2, orders: 1, lag: 1, states: cap},
		},
		{
			name: "returned", specs: []spec{abc}, begin: with("a", returned), orders: join(drain, orders(change.OrderDrain, uid)),
			bounds: bounds{writes: 1, losses: 1, changes: 2, orders: 1, lates: 1, lag: 1, states: cap},
		},
		{
			name: "twice", specs: []spec{abc},
			bounds: bounds{writes: 1, losses: 2, returns: 1, changes: 1, lates: 1, lag: 1, states: cap},
		},
		{
			name: "exclude", specs: []spec{abc}, orders: join(orders(change.OrderDrain, uid), orders(change.OrderUndrain, uid)),
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 2, orders: 2, lag: 1, states: cap},
		},
		{
			name: "manual", specs: []spec{abc}, manual: true, orders: join(orders(change.OrderApproveFailover, uid), orders(change.OrderDeclareLost, "")),
			bounds: bounds{writes: 2, losses: 1, returns: 1, changes: 1, lates: 1, orders: 1, lag: 1, states: cap},
		},
		{
			name: "respec", specs: []spec{abc, specOf("keys", "bca"), abc.reweighted("weights", "bac"), abc.reweighted("fewer", "bc")},
			bounds: bounds{writes: 2, losses: 0, returns: 0, changes: 2, lates: 1, respecs: 2, lag: 1, states: cap},
		},
		{
			name: "few", specs: []spec{specOf("two", "ab"), specOf("other", "ba")}, begin: with("a", returning),
			orders: join(orders(change.OrderDrain, uid), drain, orders(change.OrderUndrain, uid)),
			bounds: bounds{writes: 1, changes: 2, orders: 2, respecs: 1, lag: 1, states: cap},
		},
		owes("abc"), owes("acb"),
		{
			name: "alone", specs: []spec{specOf("two", "ab")}, begin: func(c *ownership.Configuration) {
				with("a", returned)(c)
				with("c", drained)(c)
			},
			bounds: bounds{writes: 2, losses: 1, changes: 1, lates: 1, stuck: 1, lag: 1, states: cap},
		},
		{
			name: "orders", specs: []spec{abc}, orders: join(drain, undrain),
			bounds: bounds{writes: 1, changes: 2, orders: 2, lates: 1, lag: 1, states: cap},
		},
	}
}

// owes is a model in which b owned a's slots for a while, and c has not applied yet what it accepted then.
func owes(order string) *model {
	return &model{
		name: "owes/" + order, specs: []spec{specOf("even", order)}, orders: orders(change.OrderDrain, "")[:1],
		begin: func(c *ownership.Configuration) {
			c.Debts = map[string]ownership.Debt{"b": {Epoch: 1, Vector: vectorOf([3]uint8{0, 1, 0})}}
		},
		data: func(s *state) {
			s.log[1] = 1 | 1<<logComplete
			s.setPair(0, 1, pair{received: 1, applied: 1})
		},
		bounds: bounds{losses: 1, changes: 1, orders: 1, lag: 1},
	}
}
