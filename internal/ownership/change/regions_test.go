package change_test

import (
	"fmt"
	"testing"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

func TestMarks(t *testing.T) {
	marks := func(because string, view ownership.View) change.Txn {
		return change.Txn{What: "marks", Because: because, View: view}
	}
	newcomer := func(role string) *world {
		w := newWorld()
		w.conf.RegionIntents["d"] = ownership.RegionIntent{Name: "d", Role: role}
		return w.says(health.Admit, "d")
	}
	asWitness := func(r *ownership.RegionRecord) { r.Role = "Witness" }
	decides(t, map[string]decision{
		"nothing": {newWorld().service("s"), nil},
		"a suspicion": {newWorld().service("s").says(health.Suspect, "a"), func(w *world) change.Txn {
			return marks("a: because", w.opens(serving("a", suspect, since)))
		}},
		"several at once": {newWorld(serving("b", suspect)).says(health.Suspect, "a").says(health.ClearSuspect, "b"), func(w *world) change.Txn {
			return marks("a: because; b: because", w.opens(serving("a", suspect, since), serving("b", since, func(r *ownership.RegionRecord) { r.Suspect = false })))
		}},
		"the first region": {newcomer(health.RoleActive), func(w *world) change.Txn {
			return marks("d: because", w.opens(serving("d", since)))
		}},
		"a region that services are to move to": {newcomer(health.RoleActive).service("s"), func(w *world) change.Txn {
			return marks("d: because", w.opens(set("d", ownership.RegionReturning, since, returned(8))))
		}},
		"a witness": {newcomer("Witness").service("s"), func(w *world) change.Txn {
			return marks("d: because", w.opens(serving("d", since, asWitness)))
		}},
		"writes of their own are no marks": {newWorld().says(health.OpenIncident, "a").says(health.CloseGate, "a").says(health.OpenGate, "d"), nil},
	})
}

func TestReturns(t *testing.T) {
	returns := func(region string, view ownership.View) change.Txn {
		return change.Txn{What: "return", Because: region + ": because", View: view, OpenGate: region, Gates: []string{region}}
	}
	decides(t, map[string]decision{
		"a lost region": {newWorld(lost("c")).service("s").says(health.OpenGateReturning, "c"), func(w *world) change.Txn {
			return returns("c", w.opens(set("c", ownership.RegionReturning, since, returned(8))))
		}},
		"who did not own its slots does not by that": {newWorld(lost("c", awaits("b"))).service("s").says(health.OpenGateReturning, "c"), func(w *world) change.Txn {
			return returns("c", w.opens(set("c", ownership.RegionReturning, since, returned(8))))
		}},
		"nor when it was drained": {
			newWorld(lost("c", awaits("b"), func(r *ownership.RegionRecord) { r.Drained = true })).says(health.OpenGateReturning, "c"),
			func(w *world) change.Txn { return returns("c", w.opens(drained("c", since))) },
		},
		"one at a time": {newWorld(lost("b"), lost("c")).says(health.OpenGateReturning, "b", "c"), func(w *world) change.Txn {
			return returns("b", w.opens(set("b", ownership.RegionReturning, since, returned(8))))
		}},
		"one that was drained": {
			newWorld(lost("c", shipped, func(r *ownership.RegionRecord) { r.Drained = true })).says(health.OpenGateReturning, "c"),
			func(w *world) change.Txn { return returns("c", w.opens(drained("c", since))) },
		},
		"one that is gone": {newWorld(lost("c", gone)).says(health.OpenGateReturning, "c"), nil},
		"not while owners change": {
			newWorld(lost("b")).service("s").loses("c").commit().says(health.OpenGateReturning, "b"), nil,
		},
	})
}

func TestDebts(t *testing.T) {
	owing := func(edits ...edit) *world { return newWorld(edits...).owes("a") }
	applied := func(epoch int64) ownership.Ack { return ownership.Ack{Epoch: 1, Applied: map[string]int64{"a": epoch}} }
	settled := func(w *world) change.Txn {
		return change.Txn{What: "debts", Because: "they are applied", View: w.opens(), Debts: map[string]ownership.Debt{"a": {}}}
	}
	decides(t, map[string]decision{
		"not applied":                  {owing().ack("b", applied(5)), nil},
		"applied up to an earlier one": {owing().ack("b", applied(5)).ack("c", applied(4)), nil},
		"applied":                      {owing().ack("b", applied(5)).ack("c", applied(6)), settled},
		"a lost region still owes":     {owing(lost("c")).ack("b", applied(5)), nil},
		"one that is gone does not":    {owing(lost("c", gone)).ack("b", applied(5)), settled},
		"a witness does not":           {owing(witness("c")).ack("b", applied(5)), settled},
		"nobody else is there":         {owing(without("b"), without("c")), settled},
		"who has applied it lacks nothing any more, and has what went past it": {
			owing(serving("a", lacks("b", "c"), behind("b", "c"))).ack("b", applied(5)), func(w *world) change.Txn {
				return change.Txn{
					What: "debts", Because: "they are applied", View: w.opens(serving("a", lacks("c"), behind("c"))), Debts: map[string]ownership.Debt{},
				}
			},
		},
		"but for what is unshipped": {
			owing(returning("a", lacks("b", "c"), behind("b", "c"))).ack("b", applied(5)), func(w *world) change.Txn {
				return change.Txn{
					What: "debts", Because: "they are applied", View: w.opens(returning("a", lacks("c"), behind("b", "c"))), Debts: map[string]ownership.Debt{},
				}
			},
		},
	})
}

// handback is the change that gives services back to a region, at epoch 6.
func handback(w *world, region, order string, uids ...string) change.Txn {
	txn := change.Txn{
		What: "Handback", Because: fmt.Sprintf("%s takes %d services back", region, len(uids)),
		View: w.closes(ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{region}, Services: uids, Order: order}),
	}
	for _, uid := range uids {
		txn.Services = append(txn.Services, w.changed(uid, func(s *ownership.ServiceState) {
			if s.HandedBack == nil {
				s.HandedBack = map[string]int64{}
			}
			s.HandedBack[region] = 6
		}))
	}
	return txn
}

func TestHandbacks(t *testing.T) {
	back := func(uids ...string) func(*world) change.Txn {
		return func(w *world) change.Txn { return handback(w, "a", "", uids...) }
	}
	base := func() *world { return newWorld(returning("a")).ready("a") }
	decides(t, map[string]decision{
		"all that go back by themselves": {base().service("s", automatic).service("t", automatic), back("s", "t")},
		"not those that a person orders": {base().service("s", automatic).service("t"), back("s")},
		"not before the hold-down":       {newWorld(returning("a")).service("s", automatic), nil},
		"those that lag wait":            {base().service("s", automatic).service("t", automatic).lags("a", "s"), back("t")},
		"all lag":                        {base().service("s", automatic).lags("a", ownership.LaggingAll), nil},
		"another's lag does not matter":  {base().service("s", automatic).lags("b", "s"), back("s")},
		"a service that is elsewhere":    {base().service("s", automatic, of("b", "c")).service("t", automatic), back("t")},
		"one that names no regions":      {base().service("s", automatic, of()), back("s")},
		"one that excludes it":           {base().service("s", automatic, excluding("a")).service("t", automatic), back("t")},
		"a deleted one":                  {base().service("s", automatic, deleted).service("t", automatic), back("t")},
		"one of an earlier return":       {base().service("s", automatic, handedBack("a", 4)).service("t", automatic, handedBack("a", 6)), back("s")},
		"one that was given back to another region": {
			base().service("s", automatic, handedBack("b", 4)), back("s"),
		},
		"a witness is being lost": {newWorld(returning("a"), witness("b")).ready("a").gate("b", false).service("s", automatic), back("s")},
		"not while somebody is suspected": {
			newWorld(returning("a"), serving("b", suspect)).ready("a").service("s", automatic), nil,
		},
		"not while somebody is being lost":   {base().service("s", automatic).gate("b", false), nil},
		"a drained region is not being lost": {newWorld(returning("a"), drained("b")).ready("a").gate("b", false).service("s", automatic), back("s")},
		"the first that is ready":            {newWorld(returning("a"), returning("b")).ready("a", "b").service("s", automatic), back("s")},
		"the next, when the first lags": {
			newWorld(returning("a"), returning("b")).ready("a", "b").service("s", automatic).lags("a", "s"),
			func(w *world) change.Txn { return handback(w, "b", "", "s") },
		},
	})
}

func TestServe(t *testing.T) {
	served := func(what string, view ownership.View) change.Txn {
		return change.Txn{What: "Handback", Because: what + ": reachable for longer than its hold-down, and every service is back", View: view}
	}
	base := func(alters ...alter) *world { return newWorld(returning("a", alters...)).ready("a") }
	clean := func(r *ownership.RegionRecord) { r.Incident = "" }
	incident := func(r *ownership.RegionRecord) { r.Incident = "a-4" }
	decides(t, map[string]decision{
		"everything is back": {base(incident).service("s", handedBack("a", 6)), func(w *world) change.Txn {
			return served("a", w.opens(serving("a", shipped, since, clean)))
		}},
		"no services":              {base(), func(w *world) change.Txn { return served("a", w.opens(serving("a", shipped, since))) }},
		"not before the hold-down": {newWorld(returning("a")), nil},
		"a witness, to which nothing goes back": {
			newWorld(witness("a", func(r *ownership.RegionRecord) { r.State = ownership.RegionReturning })).ready("a").service("s", of(), automatic),
			func(w *world) change.Txn { return served("a", w.opens(witness("a", since))) },
		},
		"something is away": {base().service("s"), nil},
		"something else is not": {base().service("s", of("b", "c")).service("t", deleted).service("u", excluding("a")), func(w *world) change.Txn {
			return served("a", w.opens(serving("a", shipped, since)))
		}},
		"nobody is kept from its slots any more": {base(awaits("b")).service("s", handedBack("a", 6)), func(w *world) change.Txn {
			return served("a", w.opens(serving("a", shipped, since, awaits())))
		}},
		"it serves since the last other region was lost": {newWorld(serving("a", unshipped), lost("b"), lost("c")).service("s"), func(w *world) change.Txn {
			return change.Txn{What: "Approve", Because: "a: what it accepted before it was lost may have reached the others", View: w.opens(serving("a", shipped))}
		}},
		"it does, and cannot be reached": {
			func() *world {
				w := newWorld(serving("a", unshipped)).service("s")
				w.health.Reachable = []string{"b", "c"}
				return w
			}(), nil,
		},
		"whose slots it had owns none": {newWorld(returning("a", behind("b", "c")), drained("b"), lost("c")).ready("a").service("s", handedBack("a", 6)), func(w *world) change.Txn {
			return served("a", w.opens(serving("a", shipped, since)))
		}},
		"who lacks what it gave away before may lack it of slots that went past them": {
			newWorld(returning("a", behind("b", "c"), lacks("c"))).ready("a").owes("a").service("s", handedBack("a", 6)), func(w *world) change.Txn {
				v := w.closes(ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{"a"}}, serving("a", shipped, since, behind("c")))
				return served("a", v)
			},
		},
		"a drained region that owned slots of it catches up": {
			newWorld(returning("a", behind("b")), returning("b", shipped)).ready("a").service("s", func(r *ownership.ServiceRecord) {
				r.HandedBack = map[string]int64{"a": 6, "b": 6}
			}), func(w *world) change.Txn {
				return served("a", w.closes(ownership.Change{Kind: ownership.ChangeHandback, Regions: []string{"a"}}, serving("a", shipped, since)))
			},
		},
	})
}

func TestRevive(t *testing.T) {
	unreachable := func(w *world) *world {
		w.health.Reachable = nil
		return w
	}
	decides(t, map[string]decision{
		"no region serves": {newWorld(returning("a"), returning("b"), lost("c")).service("s"), func(w *world) change.Txn {
			return change.Txn{What: "Loss", Because: "no region serves; [a b] can be reached", View: w.closes(
				ownership.Change{Kind: ownership.ChangeLoss}, serving("a", since), serving("b", since))}
		}},
		"one that cannot be reached": {unreachable(newWorld(returning("a"), lost("b"), lost("c")).service("s")), nil},
		"one does":                   {newWorld(returning("a"), returning("b")).service("s"), nil},
		"drained ones stay so":       {newWorld(drained("a"), drained("b"), drained("c")).service("s"), nil},
	})
}

func TestEdgeless(t *testing.T) {
	edgeless := func(edits ...edit) *world {
		w := newWorld(append([]edit{serving("a", suspect)}, edits...)...).service("s")
		w.health.Edgeless = []string{"a"}
		return w
	}
	decides(t, map[string]decision{
		"it is emptied": {edgeless(), func(w *world) change.Txn {
			return change.Txn{What: "Drain", Because: "a: its edge cannot be reached, and its agent beats", View: w.closes(
				ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{"a"}},
				set("a", ownership.RegionReturning, since, returned(8), func(r *ownership.RegionRecord) { r.Suspect = false }))}
		}},
		"not the last one":      {edgeless(lost("b"), drained("c")), nil},
		"one that has returned": {edgeless(returning("a", func(r *ownership.RegionRecord) { r.Suspect = false })), nil},
	})
}
