package region

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/region"
)

// A proposal that another takes the place of is contested for a while; the hub's own changes are not.
func TestContests(t *testing.T) {
	var c contests
	now := time.Unix(1000, 0)
	own, changed := ownership.RegionIntent{Name: "beijing", Role: "Active"}, ownership.RegionIntent{Name: "beijing", Role: "Witness"}
	other := ownership.RegionIntent{Name: "beijing", Role: "Active", Probes: []ownership.Probe{{Name: "edge"}}}
	for _, step := range []struct {
		what      string
		after     time.Duration
		propose   *ownership.RegionIntent
		shown     ownership.RegionIntent
		contested bool
	}{
		{what: "found from before", shown: other},
		{what: "proposed, not shown yet", propose: &own, shown: other},
		{what: "shown", shown: own},
		{what: "its own change, not shown yet", propose: &changed, shown: own},
		{what: "and shown", shown: changed},
		{what: "written over", shown: other, contested: true},
		{what: "proposed again, and shown", propose: &changed, shown: changed, contested: true},
		{what: "for long", after: plan.ContestLasts, shown: changed},
		{what: "written over once more", shown: other, contested: true},
	} {
		now = now.Add(step.after)
		if step.propose != nil {
			c.proposed(now, *step.propose)
		}
		var seen plan.Seen
		if c.look(now, step.shown, true, &seen); seen.Contested != step.contested {
			t.Errorf("%s: contested %t, want %t", step.what, seen.Contested, step.contested)
		}
	}
	c.forget("beijing")
	var seen plan.Seen
	if c.look(now, own, true, &seen); seen.Contested {
		t.Error("contested after it was forgotten")
	}
}
