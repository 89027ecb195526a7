package search

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

type txn = change.Txn

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

// scenarios are searched by default. Each begins somewhere else and bounds something else, so that each is
// small; together they have every kind of change, interrupted by every kind of fault.
func scenarios() []*model {
	abc := specOf("even", "abc")
	drain, undrain := orders(ownership.OrderDrain, ""), orders(ownership.OrderUndrain, "")
	exclude, include := orders(ownership.OrderDrain, uid), orders(ownership.OrderUndrain, uid)
	return []*model{
		{
			name: "loss", specs: []spec{abc},
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 1, lates: 1}, deeper: bounds{writes: 1, changes: 1, crashes: 1},
		},
		{
			name: "stuck", specs: []spec{abc},
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 1, lates: 1, stuck: 1}, deeper: bounds{writes: 1, changes: 1},
		},
		{
			name: "twice", specs: []spec{abc},
			bounds: bounds{writes: 1, losses: 2, lates: 1}, quick: true, deeper: bounds{writes: 1, returns: 2, changes: 1},
		},
		{
			name: "returning", specs: []spec{abc}, begin: with("a", returning),
			bounds: bounds{writes: 1, losses: 1, changes: 1}, deeper: bounds{returns: 1, changes: 2, lates: 1},
		},
		{
			name: "drained", specs: []spec{abc}, begin: with("a", drained), orders: undrain[:1],
			bounds: bounds{writes: 1, losses: 1, orders: 1}, deeper: bounds{returns: 1, changes: 2},
		},
		{
			name: "returned", specs: []spec{abc}, begin: with("a", returned), orders: join(drain[:1], exclude[:1]),
			bounds: bounds{writes: 1, changes: 2, orders: 1, lates: 1}, deeper: bounds{losses: 1},
		},
		{
			name: "excluded", specs: []spec{abc}, orders: join(exclude, include),
			bounds: bounds{writes: 1, changes: 2, orders: 2}, deeper: bounds{writes: 1, losses: 1, lates: 1},
		},
		{
			name: "excluded/lost", specs: []spec{abc}, orders: exclude[:1],
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 1, orders: 1}, deeper: bounds{orders: 1, changes: 1, writes: 1},
		},
		{
			name: "manual", specs: []spec{abc}, manual: true,
			orders: join(orders(ownership.OrderApproveFailover, uid)[:1], orders(ownership.OrderDeclareLost, "")[:1]),
			bounds: bounds{writes: 1, losses: 1, returns: 1, changes: 1, orders: 1}, deeper: bounds{orders: 1, writes: 1, lates: 1},
		},
		{
			name: "respec", specs: []spec{abc, specOf("keys", "bca"), abc.reweighted("weights", "bac"), abc.reweighted("fewer", "bc")},
			bounds: bounds{writes: 1, changes: 1, respecs: 1, lates: 1}, deeper: bounds{writes: 1, changes: 1, respecs: 1},
		},
		{
			name: "respec/lost", specs: []spec{abc, specOf("keys", "bca")},
			bounds: bounds{losses: 1, changes: 1, respecs: 1}, deeper: bounds{writes: 1, returns: 1, lates: 1},
		},
		{
			name: "few", specs: []spec{specOf("two", "ab"), specOf("other", "ba")}, begin: with("a", returning),
			orders: join(exclude[1:2], drain[1:2]),
			bounds: bounds{writes: 1, changes: 2, orders: 1}, quick: true, deeper: bounds{writes: 1, changes: 1, orders: 1, respecs: 1},
		},
		{
			name: "alone", specs: []spec{specOf("two", "ab")}, begin: func(c *ownership.Configuration) {
				with("a", returned)(c)
				with("c", drained)(c)
			},
			bounds: bounds{writes: 1, losses: 1, changes: 1, lates: 1}, quick: true, deeper: bounds{writes: 1, returns: 1, stuck: 1},
		},
		{
			name: "drain", specs: []spec{abc}, orders: join(drain, undrain),
			bounds: bounds{writes: 2, changes: 1, orders: 1, lates: 1, crashes: 1}, quick: true, deeper: bounds{writes: 1, changes: 2, orders: 1},
		},
		{
			name: "drain/undrain", specs: []spec{abc}, orders: join(drain[:1], undrain[:1]),
			bounds: bounds{writes: 1, changes: 3, orders: 2, lates: 1}, deeper: bounds{writes: 1},
		},
		{
			name: "drain/lost", specs: []spec{abc}, orders: drain[:1],
			bounds: bounds{writes: 1, losses: 1, changes: 1, orders: 1, lates: 1}, quick: true, deeper: bounds{writes: 1, changes: 1, returns: 1},
		},
		{
			name: "drill", specs: []spec{abc}, orders: drills()[:1],
			bounds: bounds{writes: 1, changes: 3, orders: 1, lates: 1}, quick: true, deeper: bounds{writes: 1, orders: 1, crashes: 1},
		},
		{
			name: "drill/lost", specs: []spec{abc}, orders: drills()[:1],
			bounds: bounds{writes: 1, losses: 1, changes: 1, orders: 1}, deeper: bounds{returns: 1, changes: 2, lates: 1},
		},
		owes("abc"), owes("acb"), owedByLost(),
	}
}

// drills are orders of drills in which users meet what a loss brings.
func drills() []ownership.OrderIntent {
	out := orders(ownership.OrderDrill, "")
	for i := range out {
		out[i].Duration, out[i].Mode = time.Hour, ownership.DrillFailover
	}
	return out
}

// owes is a model in which b owned a's slots for a while, and c has not applied yet what it accepted then.
func owes(order string) *model {
	return &model{
		name: "owes/" + order, specs: []spec{specOf("even", order)}, orders: orders(ownership.OrderDrain, "")[:1],
		begin: func(c *ownership.Configuration) {
			c.Debts = map[string]ownership.Debt{"b": {Epoch: 1, Vector: vectorOf([3]uint8{0, 1, 0})}}
		},
		data: func(s *state) {
			s.log[1] = 1 | 1<<logComplete
			s.setPair(0, 1, pair{received: 1, applied: 1})
		},
		bounds: bounds{losses: 1, changes: 1, orders: 1}, deeper: bounds{returns: 1, changes: 1},
	}
}

// owedByLost is the same after b was lost, and a person may declare it lost for good.
func owedByLost() *model {
	m := owes("acb")
	m.name, m.bounds = "owes/lost", bounds{changes: 2, orders: 2, lates: 1}
	m.orders = append(m.orders, orders(ownership.OrderDeclareLost, "")[1])
	owe, have := m.begin, m.data
	m.begin = func(c *ownership.Configuration) {
		owe(c)
		with("b", func(rec *ownership.RegionRecord) {
			rec.State, rec.LostEpoch, rec.Unshipped, rec.Lacks = ownership.RegionLost, 1, true, []string{"c"}
		})(c)
		c.Gates["b"] = ownership.Gate{Generation: 2}
	}
	m.data = func(s *state) {
		have(s)
		s.log[1] |= 1 << logLost
	}
	return m
}
