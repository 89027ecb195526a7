package topic

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestShapeOf(t *testing.T) {
	kept := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "min.insync.replicas": "2"}
	alone := maps.Clone(kept)
	alone["min.insync.replicas"] = "1"
	for name, test := range map[string]struct {
		want Desired
		seen Observed
		is   Shape
	}{
		"new":                        {wanted(nil), Observed{Brokers: 3}, Shape{12, 3, kept}},
		"new, one broker":            {wanted(nil), Observed{Brokers: 1}, Shape{12, 1, alone}},
		"new, fewer replicas wanted": {wanted(func(d *Desired) { d.ReplicationFactor = 1 }), Observed{Brokers: 3}, Shape{12, 1, alone}},
		"as declared":                {wanted(nil), present(nil), Shape{12, 3, kept}},
		"retention changed by hand":  {wanted(nil), present(func(o *Observed) { o.Configs["retention.ms"] = "1" }), Shape{12, 3, kept}},
		"more partitions":            {wanted(func(d *Desired) { d.Partitions = 24 }), present(nil), Shape{24, 3, kept}},
		"more, ordered by key":       {wanted(func(d *Desired) { d.Partitions, d.OrderedByKey = 24, true }), present(nil), Shape{12, 3, kept}},
		"fewer partitions":           {wanted(func(d *Desired) { d.Partitions = 6 }), present(nil), Shape{12, 3, kept}},
		"replicas moved by hand":     {wanted(nil), present(func(o *Observed) { o.ReplicationFactor = 5 }), Shape{12, 5, kept}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.is, ShapeOf(test.want, test.seen)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Whatever is declared and found, the shape is what the steps of a plan lead to.
func TestShapeIsWhatTheStepsLeadTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Desired{
			Name: "ns.topic", Owner: ours,
			Partitions:        rapid.IntRange(1, 8).Draw(t, "partitions"),
			ReplicationFactor: rapid.IntRange(0, 4).Draw(t, "rf"),
			OrderedByKey:      rapid.Bool().Draw(t, "ordered"),
			Compact:           rapid.Bool().Draw(t, "compact"),
		}
		seen := Observed{Brokers: rapid.IntRange(1, 4).Draw(t, "brokers"), Claim: &ours}
		if rapid.Bool().Draw(t, "exists") {
			seen.Exists, seen.Partitions = true, rapid.IntRange(1, 8).Draw(t, "found partitions")
			seen.ReplicationFactor = rapid.IntRange(1, 4).Draw(t, "found rf")
		}
		shape, after := ShapeOf(want, seen), carryOut(Decide(want, seen), want, seen)
		if after.Partitions != shape.Partitions || after.ReplicationFactor != shape.ReplicationFactor {
			t.Fatalf("the steps lead to %+v, the shape is %+v", after, shape)
		}
		for k, v := range shape.Configs {
			if after.Configs[k] != v {
				t.Fatalf("the steps lead to %s=%q, the shape has %q", k, after.Configs[k], v)
			}
		}
	})
}

func TestManaged(t *testing.T) {
	for name, test := range map[string]struct {
		want Desired
		seen Observed
		is   bool
	}{
		"ours":              {wanted(nil), present(nil), true},
		"new":               {wanted(nil), Observed{Brokers: 1}, true},
		"refused in part":   {wanted(func(d *Desired) { d.Partitions = 1 }), present(nil), true},
		"another's":         {wanted(nil), present(func(o *Observed) { o.Claim = &older }), false},
		"nobody's":          {wanted(nil), present(func(o *Observed) { o.Claim = nil }), false},
		"only observed":     {wanted(func(d *Desired) { d.Adoption = AdoptionObserve }), present(nil), false},
		"declared wrongly":  {wanted(func(d *Desired) { d.Partitions = 0 }), present(nil), false},
		"no broker is seen": {wanted(nil), Observed{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Decide(test.want, test.seen).Managed(test.want); got != test.is {
				t.Errorf("managed is %t", got)
			}
		})
	}
}
