package change_test

import (
	"fmt"
	"testing"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

const everyone = "every region concerned has acknowledged"

func debt(epoch int64, v ownership.Vector) ownership.Debt {
	return ownership.Debt{Epoch: epoch, Vector: v}
}

// losingC and drainingA are changes under way, at epoch 8.
func losingC() *world   { return newWorld().service("s").loses("c").commit() }
func drainingA() *world { return newWorld().service("s").order(ownership.OrderDrain, "a", "").commit() }
func handingA() *world {
	return newWorld(returning("a")).service("s").service("t").ready("a").order(ownership.OrderHandback, "a", "").commit()
}

func TestOpenALoss(t *testing.T) {
	const limit = 5 * time.Second
	opened := func(w *world, because string, edits ...edit) change.Txn {
		return change.Txn{What: "open Loss", Because: because, View: w.opens(edits...), Acks: []string{"c", "a", "b"}, Gates: []string{"c"}}
	}
	decides(t, map[string]decision{
		"not before everyone has caught up": {losingC().caughtUp("a"), nil},
		"an acknowledgement of another change": {
			losingC().caughtUp("a").ack("b", ownership.Ack{Epoch: 7, CaughtUp: true}).later(limit - 1), nil,
		},
		"everyone has": {losingC().caughtUp("a", "b"), func(w *world) change.Txn { return opened(w, everyone) }},
		"one is silent": {losingC().caughtUp("a").later(limit), func(w *world) change.Txn {
			return opened(w, "regions without an answer: [b], services that have not caught up: []", losing("c", awaits("b")))
		}},
		"one is silent, for another loss too": {
			newWorld(lost("b")).service("s").loses("c").commit().later(limit), func(w *world) change.Txn {
				txn := opened(w, "regions without an answer: [a], services that have not caught up: []", losing("c", awaits("a")))
				txn.Acks = []string{"c", "a"}
				return txn
			},
		},
		"one is silent, and what a drained region had is others' already": {
			newWorld(drained("d"), witness("w")).service("s").loses("c", "d", "w").commit().caughtUp("a").later(limit), func(w *world) change.Txn {
				return opened(w, "regions without an answer: [b], services that have not caught up: []", losing("c", behind("d"), awaits("b")))
			},
		},
		"a new leader measures anew": {
			func() *world {
				w := losingC().caughtUp("a").later(limit)
				w.memory = change.NewMemory()
				return w
			}(), nil,
		},
		"a service is stuck, in time": {losingC().caughtUp("a").ack("b", ownership.Ack{CaughtUp: true, Stuck: []string{"s"}}), nil},
		"a service is stuck": {
			losingC().caughtUp("a").ack("b", ownership.Ack{CaughtUp: true, Stuck: []string{"s", "unknown"}}).later(limit),
			func(w *world) change.Txn {
				txn := opened(w, "regions without an answer: [], services that have not caught up: [s unknown]")
				record := w.conf.Services["s"]
				record.Withheld = map[string]int64{"c": 8}
				txn.Services = []ownership.ServiceRecord{record}
				return txn
			},
		},
		"what the lost one owed it owes still": {
			func() *world {
				w := losingC().caughtUp("a", "b")
				w.conf.Debts = map[string]ownership.Debt{"a": debt(3, ownership.Vector{"a": {"s": 1}}), "c": debt(3, ownership.Vector{"c": {"s": 1}})}
				return w
			}(), func(w *world) change.Txn {
				return opened(w, everyone)
			},
		},
	})
}

// More services are stuck than one transaction withholds: the regions that are stuck wait as a whole.
func TestOpenALossWithManyStuck(t *testing.T) {
	w := newWorld()
	var stuck []string
	for i := range 60 {
		uid := fmt.Sprintf("s%02d", i)
		w.service(uid)
		stuck = append(stuck, uid)
	}
	w.loses("c").commit().caughtUp("a").ack("b", ownership.Ack{CaughtUp: true, Stuck: stuck}).later(5 * time.Second)
	decides(t, map[string]decision{"sixty": {w, func(w *world) change.Txn {
		return change.Txn{
			What: "open Loss", Because: "regions without an answer: [b], services that have not caught up: []",
			View: w.opens(losing("c", awaits("b"))), Acks: []string{"c", "a", "b"}, Gates: []string{"c"},
		}
	}}})
}

func TestOpenAPlannedChange(t *testing.T) {
	const limit = 10 * time.Second
	debts := func(region string, positions int64) map[string]ownership.Debt {
		return map[string]ownership.Debt{region: debt(9, ownership.Vector{region: {"s": positions}})}
	}
	decides(t, map[string]decision{
		"a drain: who loses is not fenced":    {drainingA().caughtUp("b", "c"), nil},
		"a drain: somebody has not caught up": {drainingA().fenced("a").caughtUp("b"), nil},
		"a drain: a fence of another change": {
			drainingA().caughtUp("b", "c").ack("a", ownership.Ack{Epoch: 7, Fenced: true}), nil,
		},
		"a drain": {drainingA().fenced("a").caughtUp("b", "c"), func(w *world) change.Txn {
			return change.Txn{
				What: "open Drain", Because: everyone, View: w.opens(),
				Acks: []string{"a", "b", "c"}, Gates: []string{"a"}, Debts: debts("a", 4),
			}
		}},
		"a drain of a region without data": {
			drainingA().caughtUp("b", "c").ack("a", ownership.Ack{Fenced: true}), func(w *world) change.Txn {
				return change.Txn{What: "open Drain", Because: everyone, View: w.opens(), Acks: []string{"a", "b", "c"}, Gates: []string{"a"}}
			},
		},
		"a debt grows": {
			func() *world {
				w := drainingA().fenced("a").caughtUp("b", "c")
				w.conf.Debts["a"] = debt(2, ownership.Vector{"a": {"s": 9, "t": 1}})
				return w
			}(), func(w *world) change.Txn {
				return change.Txn{
					What: "open Drain", Because: everyone, View: w.opens(), Acks: []string{"a", "b", "c"}, Gates: []string{"a"},
					Debts: map[string]ownership.Debt{"a": debt(9, ownership.Vector{"a": {"s": 9, "t": 1}})},
				}
			},
		},
		"a gate that is closed is a fence, whatever was acknowledged": {
			drainingA().gate("a", false).caughtUp("b", "c"), func(w *world) change.Txn {
				return change.Txn{What: "open Drain", Because: everyone, View: w.opens(), Acks: []string{"a", "b", "c"}, Gates: []string{"a"}}
			},
		},
		"a handback": {handingA().fenced("b", "c").caughtUp("a"), func(w *world) change.Txn {
			return change.Txn{
				What: "open Handback", Because: everyone, View: w.opens(), Acks: []string{"b", "c", "a"}, Gates: []string{"b", "c"},
				Debts: map[string]ownership.Debt{"b": debt(9, ownership.Vector{"b": {"s": 4}}), "c": debt(9, ownership.Vector{"c": {"s": 4}})},
			}
		}},
		"nobody gains, and who loses is not fenced": {newWorld().service("s", of("a")).order(ownership.OrderDrain, "a", "").commit(), nil},
		"nobody gains": {newWorld().service("s", of("a")).order(ownership.OrderDrain, "a", "").commit().fenced("a"), func(w *world) change.Txn {
			return change.Txn{What: "open Drain", Because: everyone, View: w.opens(), Acks: []string{"a"}, Gates: []string{"a"}, Debts: debts("a", 4)}
		}},
		"a suspicion waits": {drainingA().says(health.Suspect, "b").later(limit - 1), nil},
	})
}

func TestGiveUp(t *testing.T) {
	const limit = 10 * time.Second
	why := func(fenced, caughtUp, services string) string {
		return fmt.Sprintf("not done within 10s: regions not fenced: [%s], not caught up: [%s], services not caught up: [%s]", fenced, caughtUp, services)
	}
	decides(t, map[string]decision{
		"a drain fails its order": {drainingA().caughtUp("b").later(limit), func(w *world) change.Txn {
			because := why("a", "c", "")
			return change.Txn{
				What: "give up Drain", Because: because, View: w.back(),
				Orders: []ownership.OrderRecord{w.ended("o", ownership.OrderFailed, because)},
			}
		}},
		"a region is tried again, and one service is stuck: it alone is withheld": {
			newWorld(lost("c", awaits("a", "b"))).service("s").service("t").commit().ack("a", ownership.Ack{Fenced: true, CaughtUp: true}).
				ack("b", ownership.Ack{Fenced: true, CaughtUp: true, Stuck: []string{"s"}}).later(limit),
			func(w *world) change.Txn {
				record := w.conf.Services["s"]
				record.Withheld = map[string]int64{"c": 5}
				return change.Txn{
					What: "open Approve", Because: "regions without an answer: [], services that have not caught up: [s]",
					View: w.opens(), Services: []ownership.ServiceRecord{record}, Acks: []string{"a", "b", "c", "a", "b"}, Gates: []string{"a", "b", "c"},
				}
			},
		},
		"a region is tried again, and others own slots of the service that is stuck": {
			newWorld(lost("c", awaits("b"))).service("s").commit().ack("a", ownership.Ack{Fenced: true, CaughtUp: true}).
				ack("b", ownership.Ack{Fenced: true, CaughtUp: true, Stuck: []string{"s"}}).later(limit),
			func(w *world) change.Txn {
				return change.Txn{What: "give up Approve", Because: why("", "", "s"), View: w.back()}
			},
		},
		"a region that is back ships what it had, and a service is stuck": {
			newWorld(drained("c", unshipped)).service("s").commit().ack("a", ownership.Ack{CaughtUp: true}).fenced("c").
				ack("b", ownership.Ack{CaughtUp: true, Stuck: []string{"s"}}).later(limit),
			func(w *world) change.Txn {
				return change.Txn{What: "give up Approve", Because: why("", "", "s"), View: w.back()}
			},
		},
		"a region is tried again, and silent again": {
			newWorld(lost("c", awaits("b"))).service("s").commit().caughtUp("a").later(limit), func(w *world) change.Txn {
				return change.Txn{What: "give up Approve", Because: why("a b", "b", ""), View: w.back()}
			},
		},
		"the order was withdrawn": {
			func() *world {
				w := drainingA().later(limit)
				w.conf.Orders, w.conf.OrderIntents = nil, nil
				return w
			}(), func(w *world) change.Txn {
				return change.Txn{What: "give up Drain", Because: why("a", "b c", ""), View: w.back()}
			},
		},
		"a service is stuck": {
			drainingA().fenced("a").caughtUp("b").ack("c", ownership.Ack{CaughtUp: true, Stuck: []string{"s"}}).later(limit),
			func(w *world) change.Txn {
				because := why("", "", "s")
				return change.Txn{
					What: "give up Drain", Because: because, View: w.back(),
					Orders: []ownership.OrderRecord{w.ended("o", ownership.OrderFailed, because)},
				}
			},
		},
		"a handback puts the records back, and its order goes on": {handingA().fenced("b", "c").later(limit), func(w *world) change.Txn {
			return change.Txn{
				What: "give up Handback", Because: why("", "a", ""), View: w.back(),
				Services: []ownership.ServiceRecord{w.restored("s"), w.restored("t")},
			}
		}},
	})
}
