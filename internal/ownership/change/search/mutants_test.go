package search

import (
	"maps"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/ownership"
)

// mutants break one rule each, in the model around the real code. The search must find a state that
// breaks a promise.
func mutants() map[string]*model {
	return map[string]*model{
		"EarlierEpochCounts":       earlierEpochCounts(),
		"OpenWithoutCatchUp":       openWithoutCatchUp(),
		"PreviousIsLastView":       previousIsLastView(),
		"PreemptedNotUndone":       preemptedNotUndone(),
		"DebtsForgotten":           debtsForgotten(),
		"OnlyMovedSlotsClosed":     onlyMovedSlotsClosed(),
		"VectorBeforeWritesEnded":  vectorBeforeWritesEnded(),
		"SampledBeforeGateClosed":  sampledBeforeGateClosed(),
		"AckAfterRestart":          ackAfterRestart(),
		"ClosedGateRemembered":     closedGateRemembered(),
		"EarlierReturnHandedBack":  earlierReturnHandedBack(),
		"GivenUpForwards":          givenUpForwards(),
		"CompleteIgnoresBehind":    completeIgnoresBehind(),
		"CompleteIgnoresLacks":     completeIgnoresLacks(),
		"DeposedLeaderWrites":      deposedLeaderWrites(),
		"ClosingNotClosed":         closingNotClosed(),
		"RoutingOlderThanTheFence": routingOlderThanTheFence(),
	}
}

func TestMutants(t *testing.T) {
	for name, m := range mutants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := m.run()
			switch {
			case res.violation == "":
				t.Errorf("not found: %s", res)
			case !strings.HasPrefix(res.violation, m.promise):
				t.Errorf("found something else than %q: %s", m.promise, res.report())
			default:
				t.Logf("%s\n%s", res, res.report())
			}
		})
	}
}

// broken returns a model with the given bounds and an order abc of preference.
func broken(promise string, b bounds) *model {
	b.lag = 1
	return &model{specs: []spec{specOf("even", "abc")}, promise: promise, bounds: b}
}

// earlierEpochCounts: whatever a region acknowledged counts for the epoch that is Closing.
func earlierEpochCounts() *model {
	m := broken("single owner", bounds{changes: 2, orders: 2, lates: 1})
	m.orders = orders(ownership.OrderDrain, "")[:1]
	m.decidesFrom = func(c *ownership.Configuration) {
		for r, ack := range c.Acks {
			ack.Epoch = c.View.Epoch
			c.Acks = put(c.Acks, r, ack)
		}
	}
	return m
}

func openWithoutCatchUp() *model {
	m := broken("planned", bounds{writes: 1, changes: 1, orders: 1})
	m.orders = orders(ownership.OrderDrain, "")
	m.decidesFrom = func(c *ownership.Configuration) {
		for _, r := range names {
			ack := c.Acks[r]
			if ack.Epoch != c.View.Epoch {
				ack = ownership.Ack{Epoch: c.View.Epoch}
			}
			ack.CaughtUp = true
			c.Acks = put(c.Acks, r, ack)
		}
	}
	return m
}

// previousIsLastView: a change that replaces another is compared with that one, not with what was Open.
func previousIsLastView() *model {
	m := broken("planned", bounds{writes: 1, losses: 2})
	m.commits = func(from ownership.Configuration, x *txn) {
		if from.View.Phase == ownership.PhaseClosing && x.View.Phase == ownership.PhaseClosing {
			x.View.Previous, x.View.Base = from.View.Regions, from.View.Epoch
		}
	}
	return m
}

// preemptedNotUndone: a loss leaves what a planned change had written of services.
func preemptedNotUndone() *model {
	m := broken("", bounds{writes: 1, changes: 1, losses: 1, lates: 1})
	m.begin = with("a", returned)
	m.commits = func(_ ownership.Configuration, x *txn) {
		if x.What == string(ownership.ChangeLoss) {
			x.Services = nil
		}
	}
	return m
}

// debtsForgotten: nobody remembers that c has not applied what b accepted while it owned a's slots.
func debtsForgotten() *model {
	m := broken("complete", bounds{changes: 2, losses: 1, orders: 1})
	m.begin, m.orders, m.data = with("a", returning), orders(ownership.OrderDrain, "")[:1], owes("abc").data
	m.commits = func(_ ownership.Configuration, x *txn) { x.Debts = nil }
	return m
}

func onlyMovedSlotsClosed() *model {
	m := broken("single owner", bounds{changes: 1, respecs: 1})
	m.specs = append(m.specs, specOf("keys", "bca"))
	m.onlyMovedSlots = true
	return m
}

func vectorBeforeWritesEnded() *model {
	m := broken("planned", bounds{writes: 1, changes: 1, orders: 1})
	m.orders = orders(ownership.OrderDrain, "")
	m.vectorEarly = true
	return m
}

func sampledBeforeGateClosed() *model {
	m := broken("planned", bounds{writes: 1, losses: 1})
	m.sampleEarly = true
	return m
}

func ackAfterRestart() *model {
	m := broken("single owner", bounds{changes: 1, orders: 1, crashes: 1})
	m.orders = orders(ownership.OrderDrain, "")
	m.ackAfterRestart = true
	return m
}

// closedGateRemembered: a gate that was once closed is taken for closed, by the leader and by those who
// wait for the region's data.
func closedGateRemembered() *model {
	m := broken("single owner", bounds{changes: 2, losses: 1, returns: 1, orders: 1})
	m.orders = orders(ownership.OrderDrain, "")[:1]
	once := func(c *ownership.Configuration, r string) bool {
		return c.Gates[r].Generation > 1 && c.View.Regions[r].State == ownership.RegionDrained
	}
	m.decidesFrom = func(c *ownership.Configuration) {
		for _, r := range names {
			if once(c, r) {
				c.Gates = put(c.Gates, r, ownership.Gate{Generation: c.Gates[r].Generation})
			}
		}
	}
	m.catchesUpWith = func(c *ownership.Configuration) {
		for _, r := range names {
			if rec := c.View.Regions[r]; once(c, r) {
				rec.State = ownership.RegionLost
				c.View.Regions = put(c.View.Regions, r, rec)
			}
		}
	}
	return m
}

// earlierReturnHandedBack: what was handed back to a region counts for every later return.
func earlierReturnHandedBack() *model {
	m := broken("", bounds{writes: 1, losses: 1, returns: 1})
	m.begin = func(c *ownership.Configuration) {
		with("a", func(rec *ownership.RegionRecord) { rec.LostEpoch, rec.ReturnedEpoch = 1, 1 })(c)
		record := c.Services[uid]
		record.HandedBack = map[string]int64{"a": 1}
		c.Services[uid] = record
	}
	counts := func(c *ownership.Configuration) {
		record := c.Services[uid]
		record.HandedBack = maps.Clone(record.HandedBack)
		for r := range record.HandedBack {
			record.HandedBack[r] = c.View.Regions[r].ReturnedEpoch
		}
		c.Services = put(c.Services, uid, record)
	}
	m.sees, m.decidesFrom = counts, counts
	return m
}

func givenUpForwards() *model {
	m := broken("", bounds{writes: 1, changes: 1, orders: 1, lates: 1})
	m.orders = orders(ownership.OrderDrain, "")
	m.commits = func(from ownership.Configuration, x *txn) {
		if strings.HasPrefix(x.What, "give up") {
			x.View.Regions, x.Services = from.View.Regions, nil
		}
	}
	return m
}

func completeIgnoresBehind() *model {
	m := broken("complete", bounds{writes: 1, losses: 1})
	m.begin = with("a", drained)
	m.sees = ignores(func(rec *ownership.RegionRecord) { rec.Behind = nil })
	return m
}

func completeIgnoresLacks() *model {
	m := owes("acb")
	m.promise = "complete"
	m.sees = ignores(func(rec *ownership.RegionRecord) { rec.Lacks = nil })
	return m
}

func ignores(what func(*ownership.RegionRecord)) func(c *ownership.Configuration) {
	return func(c *ownership.Configuration) {
		c.View.Regions = maps.Clone(c.View.Regions)
		for name, rec := range c.View.Regions {
			what(&rec)
			c.View.Regions[name] = rec
		}
	}
}

// deposedLeaderWrites: the store takes a transaction that was decided from an older configuration.
func deposedLeaderWrites() *model {
	m := broken("", bounds{changes: 2, orders: 2, lates: 1})
	m.orders = orders(ownership.OrderDrain, "")[:2]
	m.unguarded = true
	return m
}

// closingNotClosed: owners are found from what is to come alone.
func closingNotClosed() *model {
	m := broken("single owner", bounds{changes: 1, orders: 1})
	m.orders = orders(ownership.OrderDrain, "")
	m.sees = func(c *ownership.Configuration) { c.View.Phase = ownership.PhaseOpen }
	return m
}

// routingOlderThanTheFence: an agent acknowledges, and a gateway whose lease had run out is then given a
// new one with routing from before.
func routingOlderThanTheFence() *model {
	m := broken("single owner", bounds{changes: 1, orders: 1})
	m.orders = orders(ownership.OrderDrain, "")
	m.routingLags = true
	return m
}
