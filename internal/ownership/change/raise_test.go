package change_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// TestRaise: in a store that was adopted nothing is decided before the epoch is above all that regions have
// seen in the one before.
func TestRaise(t *testing.T) {
	adopted := func(w *world, above ...int64) *world {
		w.conf.Agents = map[string]ownership.AgentRecord{}
		for i, epoch := range above {
			w.conf.Agents[string(rune('a'+i))] = ownership.AgentRecord{AboveEpoch: epoch}
		}
		return w
	}
	raises := func(view ownership.View, epoch int64) change.Txn {
		view.Epoch = epoch
		return change.Txn{What: "raise epoch", Because: "regions have seen higher ones in the store before this one", View: view}
	}
	drain := func(w *world) *world { return w.service("s").order("Drain", "a", "").commit() }
	decides(t, map[string]decision{
		"none was adopted":               {adopted(newWorld(), 0, 0), nil},
		"the view is above already":      {adopted(newWorld(), 6, 3), nil},
		"the same epoch may be another":  {adopted(newWorld(), 7), func(w *world) change.Txn { return raises(w.conf.View, 8) }},
		"the highest that any has seen":  {adopted(newWorld(), 9, 41, 3), func(w *world) change.Txn { return raises(w.conf.View, 42) }},
		"before a loss":                  {adopted(newWorld().gate("a", false).loses("a"), 9), func(w *world) change.Txn { return raises(w.conf.View, 10) }},
		"a change under way stays so":    {adopted(drain(newWorld()), 9), func(w *world) change.Txn { return raises(w.conf.View, 10) }},
		"one that has no view yet waits": {adopted(&world{memory: change.NewMemory()}, 9), nil},
	})

	first := adopted(newWorld().says(health.Suspect, "a"), 9)
	first.conf.View.Epoch = 0
	txn, _ := change.Decide(first.input())
	if diff := cmp.Diff(int64(10), txn.View.Epoch); diff != "" {
		t.Errorf("the epoch of a store's first view (-want +got):\n%s", diff)
	}
}
