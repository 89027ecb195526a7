package ownership_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
)

func TestCovers(t *testing.T) {
	v := ownership.Vector{"a": {"orders/0": 5, "orders/1": 0}, "b": {"orders/0": 1}}
	cases := map[string]struct {
		other ownership.Vector
		want  bool
	}{
		"nothing":                {nil, true},
		"itself":                 {v, true},
		"less":                   {ownership.Vector{"a": {"orders/0": 4}}, true},
		"more":                   {ownership.Vector{"a": {"orders/0": 6}}, false},
		"another stream":         {ownership.Vector{"a": {"users/0": 1}}, false},
		"another stream at 0":    {ownership.Vector{"a": {"users/0": 0}}, true},
		"another origin":         {ownership.Vector{"c": {"orders/0": 1}}, false},
		"an origin without data": {ownership.Vector{"c": {}}, true},
		"one of two is too much": {ownership.Vector{"a": {"orders/0": 5}, "b": {"orders/0": 2}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := v.Covers(c.other); got != c.want {
				t.Errorf("Covers = %t, want %t", got, c.want)
			}
		})
	}
	if !ownership.Vector(nil).Covers(nil) || ownership.Vector(nil).Covers(v) {
		t.Error("no vector covers nothing, and only that")
	}
}

func TestWithout(t *testing.T) {
	v := ownership.Vector{"a": {"s": 1}, "b": {"s": 2}}
	got := v.Without(func(origin string) bool { return origin == "a" })
	if diff := cmp.Diff(ownership.Vector{"b": {"s": 2}}, got); diff != "" {
		t.Errorf("Without (-want +got):\n%s", diff)
	}
	if len(v) != 2 {
		t.Errorf("Without has changed the vector: %v", v)
	}
}

func drawVector(t *rapid.T, label string) ownership.Vector {
	name := rapid.SampledFrom([]string{"a", "b", "c"})
	return ownership.Vector(rapid.MapOfN(name, rapid.MapOfN(name, rapid.Int64Range(0, 5), 0, 3), 0, 3).Draw(t, label))
}

func clone(v ownership.Vector) ownership.Vector { return ownership.Vector{}.Join(v) }

// TestJoin checks that Join is the least vector that covers both: with it, vectors are a lattice, and
// the order in which debts and acknowledgements are joined does not matter.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, v, w := drawVector(t, "u"), drawVector(t, "v"), drawVector(t, "w")
		keptU, keptV := clone(u), clone(v)
		join := u.Join(v)
		equal := func(what string, one, other ownership.Vector) {
			if diff := cmp.Diff(one, other); diff != "" {
				t.Fatalf("%s:\n%s", what, diff)
			}
		}
		equal("commutative", join, v.Join(u))
		equal("associative", join.Join(w), u.Join(v.Join(w)))
		equal("idempotent", clone(u), u.Join(u))
		if !join.Covers(u) || !join.Covers(v) {
			t.Fatalf("%v does not cover %v and %v", join, u, v)
		}
		if w.Covers(u) && w.Covers(v) && !w.Covers(join) {
			t.Fatalf("%v covers both and not %v", w, join)
		}
		equal("the first is left alone", keptU, clone(u))
		equal("the second is left alone", keptV, clone(v))
	})
}

func TestJoinSharesNothing(t *testing.T) {
	v := ownership.Vector{"a": {"s": 1}}
	v.Join(nil)["a"]["s"] = 9
	if v["a"]["s"] != 1 {
		t.Error("a change of what Join returned has changed the vector")
	}
}
