package change_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

func TestConcerns(t *testing.T) {
	type asked struct{ Fence, CatchUp bool }
	both, fence, catchUp := asked{true, true}, asked{true, false}, asked{false, true}
	cases := map[string]struct {
		w    *world
		want map[string]asked
	}{
		"open":                {newWorld().service("s"), map[string]asked{}},
		"a loss":              {losingC(), map[string]asked{"a": catchUp, "b": catchUp, "c": fence}},
		"a drain":             {drainingA(), map[string]asked{"a": fence, "b": catchUp, "c": catchUp}},
		"a handback":          {handingA(), map[string]asked{"a": catchUp, "b": fence, "c": fence}},
		"another spec":        {respecced(), map[string]asked{"a": both, "b": both, "c": both}},
		"a service elsewhere": {newWorld().service("s", of("a", "b")).loses("b").commit(), map[string]asked{"a": catchUp, "b": fence}},
		"what was withheld from all": {
			newWorld(lost("c")).service("s", withheld(5)).commit(), map[string]asked{"a": both, "b": both, "c": fence},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := map[string]asked{}
			for _, region := range []string{"a", "b", "c", "unknown"} {
				var a asked
				if a.Fence, a.CatchUp = change.Concerns(c.w.conf, region); a != (asked{}) {
					got[region] = a
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("what is asked (-want +got):\n%s", diff)
			}
		})
	}
}

func respecced() *world {
	return newWorld().service("s").proposed("s", func(i *ownership.ServiceIntent) { i.SpecHash = "i" }).commit()
}

func TestTarget(t *testing.T) {
	had := func(w *world, region string, v ownership.Vector) *world {
		return w.ack(region, ownership.Ack{Fenced: true, Vector: v})
	}
	owing := func(w *world, origin string, v ownership.Vector) *world {
		w.conf.Debts[origin] = debt(3, v)
		return w
	}
	all := ownership.Vector{"a": {"s": 1}, "b": {"s": 2}, "c": {"s": 3}}
	type target struct {
		Vector ownership.Vector
		Ready  bool
	}
	cases := map[string]struct {
		w      *world
		region string
		want   target
	}{
		"a drain, not fenced yet":     {drainingA(), "b", target{}},
		"a drain, fenced":             {had(drainingA(), "a", all), "b", target{ownership.Vector{"a": {"s": 1}, "c": {"s": 3}}, true}},
		"a drain, the other gainer":   {had(drainingA(), "a", all), "c", target{ownership.Vector{"a": {"s": 1}, "b": {"s": 2}}, true}},
		"a drain, the gate is closed": {drainingA().gate("a", false), "b", target{}},
		"a fence of another change":   {drainingA().ack("a", ownership.Ack{Epoch: 7, Fenced: true, Vector: all}), "b", target{}},
		"a loss":                      {losingC(), "a", target{ownership.Vector{}, true}},
		"a loss, and what the lost region and another owe": {
			owing(owing(losingC(), "c", all), "b", ownership.Vector{"b": {"s": 9}}), "a", target{ownership.Vector{"b": {"s": 9}}, true},
		},
		"what was withheld, of a region that is back": {
			had(had(had(newWorld(returning("c")).service("s", withheld(5)).commit(), "a", nil), "b", nil), "c", all), "a",
			target{ownership.Vector{"b": {"s": 2}, "c": {"s": 3}}, true},
		},
		"what was withheld, of a region that is not": {
			had(had(newWorld(lost("c")).service("s", withheld(5)).commit(), "a", nil), "b", all), "a", target{ownership.Vector{"b": {"s": 2}}, true},
		},
		"a handback, one loser is not fenced": {had(handingA(), "b", all), "a", target{}},
		"a handback": {
			had(had(handingA(), "b", all), "c", ownership.Vector{"c": {"s": 7}}), "a", target{ownership.Vector{"b": {"s": 2}, "c": {"s": 7}}, true},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got target
			got.Vector, got.Ready = change.Target(c.w.conf, c.region)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("target (-want +got):\n%s", diff)
			}
		})
	}
}
