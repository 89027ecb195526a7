package change_test

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

func loss(regions ...string) ownership.Change {
	return ownership.Change{Kind: ownership.ChangeLoss, Regions: regions}
}

// loses is the transaction that begins a loss.
func loses(view ownership.View, because string, gates ...string) change.Txn {
	return change.Txn{What: "Loss", Because: because, View: view, Gates: gates}
}

func TestLosses(t *testing.T) {
	hourAgo := wall.Add(-time.Hour)
	decides(t, map[string]decision{
		"one that serves": {newWorld().service("s").loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), losing("c")), "c: because", "c")
		}},
		"two at once": {newWorld().service("s").loses("b", "c"), func(w *world) change.Txn {
			return loses(w.closes(loss("b", "c"), losing("b"), losing("c")), "b: because; c: because", "b", "c")
		}},
		"with no service nobody gains": {newWorld().loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c")), "c: because", "c")
		}},
		"others catch up with what a person must approve": {newWorld().service("s", manual).loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), losing("c")), "c: because", "c")
		}},
		"nobody gains from a service that is elsewhere": {newWorld().service("s", of("a", "b")).loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c")), "c: because", "c")
		}},
		"nobody gains from a deleted service": {newWorld().service("s", deleted).loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c")), "c: because", "c")
		}},
		"a witness has nothing": {newWorld(witness("c")).service("s", of("a", "b")).loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c", shipped)), "c: because", "c")
		}},
		"a drained one returns as such": {newWorld(drained("c")).service("s").loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c", shipped, func(r *ownership.RegionRecord) { r.Drained = true })), "c: because", "c")
		}},
		"a suspicion is over": {newWorld(serving("c", suspect)).loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c", func(r *ownership.RegionRecord) { r.Suspect = false })), "c: because", "c")
		}},
		"it comes before everything else": {
			newWorld().loses("c").says(health.Suspect, "a").order(ownership.OrderDrain, "a", ""), func(w *world) change.Txn {
				return loses(w.opens(losing("c")), "c: because", "c")
			},
		},
		"when it fell silent is remembered": {
			func() *world {
				w := newWorld(serving("c", func(r *ownership.RegionRecord) { r.SilentAt = &hourAgo })).loses("c")
				w.silent = map[string]time.Duration{"b": time.Second, "c": time.Hour}
				return w
			}(), func(w *world) change.Txn {
				return loses(w.opens(losing("c", func(r *ownership.RegionRecord) { r.SilentAt = &hourAgo })), "c: because", "c")
			},
		},
		"when an earlier leader saw it fall silent before is forgotten": {
			newWorld(serving("c", func(r *ownership.RegionRecord) { r.SilentAt = &hourAgo })).loses("c"),
			func(w *world) change.Txn {
				return loses(w.opens(losing("c", func(r *ownership.RegionRecord) { r.SilentAt = nil })), "c: because", "c")
			},
		},
		"another flap": {
			newWorld(serving("c", func(r *ownership.RegionRecord) { r.Flaps, r.LostAt = 1, &wall })).loses("c"),
			func(w *world) change.Txn {
				return loses(w.opens(losing("c", func(r *ownership.RegionRecord) { r.Flaps = 2 })), "c: because", "c")
			},
		},
		"flaps are forgotten": {
			newWorld(serving("c", func(r *ownership.RegionRecord) { r.Flaps, r.LostAt = 3, &hourAgo })).loses("c"),
			func(w *world) change.Txn { return loses(w.opens(losing("c")), "c: because", "c") },
		},
		"the name of an open incident": {
			func() *world {
				w := newWorld().loses("c")
				w.conf.Incidents = map[string]ownership.Incident{"c-3": {Name: "c-3", Region: "c"}}
				return w
			}(), func(w *world) change.Txn {
				return loses(w.opens(losing("c", func(r *ownership.RegionRecord) { r.Incident = "c-3" })), "c: because", "c")
			},
		},
		"who was drained is remembered": {newWorld(drained("a")).service("s").loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), losing("c", behind("a"))), "c: because", "c")
		}},
	})
}

// again is a region that was lost with epoch 5, and once more with epoch 8.
func again(name string, alters ...alter) edit {
	return losing(name, append([]alter{func(r *ownership.RegionRecord) { r.LostEpoch, r.ReturnedEpoch = 5, 6 }}, alters...)...)
}

func TestLossesOfWhoOwnedNothing(t *testing.T) {
	newcomer := func() *world { return newWorld(set("c", ownership.RegionReturning, returned(6))) }
	decides(t, map[string]decision{
		"lost on its way back": {newWorld(returning("c")).service("s", manual, approved(5)).loses("c"), func(w *world) change.Txn {
			return loses(w.opens(again("c")), "c: because", "c")
		}},
		"lost with something handed back": {newWorld(returning("c")).service("s", handedBack("c", 6)).loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), again("c", func(r *ownership.RegionRecord) { r.LostEpoch = 8 })), "c: because", "c")
		}},
		"what was handed back is excluded again": {
			newWorld(returning("c")).service("s", handedBack("c", 6), excluding("c")).loses("c"), func(w *world) change.Txn {
				return loses(w.opens(again("c")), "c: because", "c")
			},
		},
		"a newcomer": {newcomer().service("s").loses("c"), func(w *world) change.Txn {
			return loses(w.opens(losing("c", shipped, returned(6))), "c: because", "c")
		}},
		"a newcomer with something handed over": {newcomer().service("s", handedBack("c", 6)).loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), losing("c", returned(6))), "c: because", "c")
		}},
		"drained on its way back": {
			newWorld(returning("c", func(r *ownership.RegionRecord) { r.State = ownership.RegionDrained })).service("s").loses("c"),
			func(w *world) change.Txn {
				return loses(w.opens(again("c", func(r *ownership.RegionRecord) { r.Drained = true })), "c: because", "c")
			},
		},
		"what a handback under way was to give it": {
			handingA().loses("a"), func(w *world) change.Txn {
				txn := loses(w.opens(again("a", func(r *ownership.RegionRecord) { r.Incident = "a-8" })), "a: because", "a")
				txn.Services = []ownership.ServiceRecord{w.restored("s"), w.restored("t")}
				return txn
			},
		},
	})
}

// Whoever owned other regions' slots with everything in them is remembered until it serves again.
func TestLossesRememberWhoseSlotsTheyHad(t *testing.T) {
	remembers := func(w *world, names ...string) decision {
		serving("e")(w.conf.View.Regions)
		return decision{w.service("s", of()).loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), losing("c", behind(names...))), "c: because", "c")
		}}
	}
	decides(t, map[string]decision{
		"drained":                                 remembers(newWorld(drained("a")), "a"),
		"drained, then lost":                      remembers(newWorld(lost("a", shipped)), "a"),
		"undrained, not back yet":                 remembers(newWorld(set("a", ownership.RegionReturning, returned(6))), "a"),
		"gone":                                    remembers(newWorld(lost("a", gone)), "a"),
		"proposed, and not there yet":             remembers(newWorld(without("a")).intends("a", health.RoleActive), "a"),
		"not a witness that is not there":         remembers(newWorld(without("a")).intends("a", "Witness")),
		"not who was lost before":                 remembers(newWorld(lost("a"))),
		"not who returns from that":               remembers(newWorld(returning("a"))),
		"not a witness":                           remembers(newWorld(witness("a", func(r *ownership.RegionRecord) { r.State = ownership.RegionLost }))),
		"who was lost before another was drained": remembers(newWorld(drained("a"), lost("b")), "a", "b"),
		"who was lost after that":                 remembers(newWorld(drained("a"), lost("b", behind("a"))), "a"),
		"all of them, in order": remembers(newWorld(set("z", ownership.RegionReturning, returned(6)), drained("a"),
			serving("c", behind("z"))), "a", "z"),
	})
}

// epochNine is what a region becomes that is lost with epoch 9, which is one change later.
func epochNine(r *ownership.RegionRecord) {
	r.LostEpoch, r.Incident = 9, r.Incident[:len(r.Incident)-1]+"8"
}

// A service's record may name a region that no hub proposes any more.
func TestLossRemembersWhoIsNamed(t *testing.T) {
	decides(t, map[string]decision{"named, and not there": {newWorld(without("a")).service("s", of("a", "b", "c")).loses("c"), func(w *world) change.Txn {
		return loses(w.closes(loss("c"), losing("c", behind("a"))), "c: because", "c")
	}}})
}

func TestLossesDuringAChange(t *testing.T) {
	draining := func() *world { return newWorld().service("s").order(ownership.OrderDrain, "a", "").commit() }
	handing := func() *world {
		return newWorld(returning("a")).service("s").service("t").ready("a").order(ownership.OrderHandback, "a", "").commit()
	}
	decides(t, map[string]decision{
		"a drain is undone": {draining().loses("c"), func(w *world) change.Txn {
			v := w.closes(loss("c"), serving("a", func(r *ownership.RegionRecord) { r.Since = time.Time{} }), losing("c", epochNine))
			return loses(v, "c: because", "c")
		}},
		"a handback is undone, with the services' records": {handing().loses("c"), func(w *world) change.Txn {
			txn := loses(w.closes(loss("c"), losing("c", epochNine)), "c: because", "c")
			txn.Services = []ownership.ServiceRecord{w.restored("s"), w.restored("t")}
			return txn
		}},
		"the drained one itself": {draining().loses("a"), func(w *world) change.Txn {
			return loses(w.closes(loss("a"), losing("a", epochNine)), "a: because", "a")
		}},
		"a second loss joins the first": {newWorld().service("s").loses("c").commit().loses("b"), func(w *world) change.Txn {
			return loses(w.closes(loss("b", "c"), losing("b", epochNine)), "b: because", "b", "c")
		}},
		"who was to serve for want of others has not served yet": {
			newWorld(drained("a"), set("b", ownership.RegionReturning, returned(6))).service("s").owes("a").loses("c").commit().loses("a"),
			func(w *world) change.Txn {
				return loses(w.closes(loss("a", "c"), losing("a", epochNine, behind("b"), func(r *ownership.RegionRecord) {
					r.Unshipped, r.Drained, r.Lacks = false, true, []string{"b", "c"}
				})), "a: because", "a", "c")
			},
		},
		"nothing is left to gain": {draining().service("s", deleted).loses("c"), func(w *world) change.Txn {
			return loses(w.opens(serving("a", func(r *ownership.RegionRecord) { r.Since = time.Time{} }), losing("c", epochNine)), "c: because", "c")
		}},
	})
}

func TestLastServingRegionIsLost(t *testing.T) {
	decides(t, map[string]decision{
		"who has returned and can be reached joins": {
			newWorld(returning("a"), lost("b")).service("s").loses("c"), func(w *world) change.Txn {
				return loses(w.closes(loss("c"), serving("a", since), losing("c")), "c: because", "c")
			},
		},
		"all of them do": {newWorld(returning("a"), returning("b")).service("s").loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), serving("a", since), serving("b", since), losing("c")), "c: because", "c")
		}},
		"not who cannot be reached": {
			func() *world {
				w := newWorld(returning("a"), returning("b")).service("s").loses("c")
				w.health.Reachable = []string{"b"}
				return w
			}(), func(w *world) change.Txn {
				return loses(w.closes(loss("c"), serving("b", since), losing("c")), "c: because", "c")
			},
		},
		"nobody joins while another serves": {newWorld(returning("a")).service("s").loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), losing("c")), "c: because", "c")
		}},
		"a witness is nobody": {newWorld(returning("a"), witness("b")).service("s", of("a", "c")).loses("c"), func(w *world) change.Txn {
			return loses(w.closes(loss("c"), serving("a", since), losing("c")), "c: because", "c")
		}},
	})
}

// Who was to serve for want of others, and does not say that it has caught up, owns nothing yet.
func TestSilentRegionDoesNotJoin(t *testing.T) {
	joining := func() *world {
		return newWorld(returning("a"), returning("b")).service("s").loses("c").commit()
	}
	opened := func(w *world, because string, edits ...edit) change.Txn {
		return change.Txn{What: "open Loss", Because: because, View: w.opens(edits...), Acks: []string{"c", "a", "b"}, Gates: []string{"c"}}
	}
	still := func(r *ownership.RegionRecord) { r.Since = time.Time{} }
	decides(t, map[string]decision{
		"both have caught up": {joining().caughtUp("a", "b"), func(w *world) change.Txn { return opened(w, everyone) }},
		"one is silent": {joining().caughtUp("a").later(5 * time.Second), func(w *world) change.Txn {
			return opened(w, "regions without an answer: [b], services that have not caught up: []", losing("c", awaits("b")), returning("b", still))
		}},
		"both are, and are tried again": {joining().later(5 * time.Second).commit(), func(w *world) change.Txn {
			return change.Txn{What: "Loss", Because: "no region serves; [a b] can be reached", View: w.closes(
				ownership.Change{Kind: ownership.ChangeLoss}, serving("a", since), serving("b", since))}
		}},
	})
}

// Of a region that is lost on its way back others own what it did not have back, unless it was withheld.
func TestStuckWithTheSecondLoss(t *testing.T) {
	w := newWorld(returning("c")).service("s", handedBack("c", 6)).service("t", withheld(5)).service("u").loses("c").commit().
		ack("a", ownership.Ack{Fenced: true, CaughtUp: true}).
		ack("b", ownership.Ack{Fenced: true, CaughtUp: true, Stuck: []string{"s", "t", "u"}}).later(5 * time.Second)
	decides(t, map[string]decision{"those that others do not own": {w, func(w *world) change.Txn {
		txn := change.Txn{
			What: "open Loss", Because: "regions without an answer: [], services that have not caught up: [s t u]",
			View: w.opens(), Acks: []string{"a", "b", "c", "a", "b"}, Gates: []string{"a", "b", "c"},
		}
		for _, uid := range []string{"s", "t"} {
			record := w.conf.Services[uid]
			record.Withheld = map[string]int64{"c": 8}
			txn.Services = append(txn.Services, record)
		}
		return txn
	}}})
}
