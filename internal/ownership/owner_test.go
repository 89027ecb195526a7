package ownership_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
)

func view(name string, weight int32, state ownership.RegionState) ownership.RegionView {
	return ownership.RegionView{WeightedRegion: ownership.WeightedRegion{Name: name, Weight: weight}, State: state}
}

// slotRanked returns a slot whose home is first.
func slotRanked(t *testing.T, regions []ownership.RegionView, first string) int {
	t.Helper()
	weighted := make([]ownership.WeightedRegion, len(regions))
	for i, r := range regions {
		weighted[i] = r.WeightedRegion
	}
	for slot := range ownership.SlotCount {
		if ownership.Home(slot, weighted) == first {
			return slot
		}
	}
	t.Fatalf("no slot has its home in %s", first)
	return 0
}

func TestOwner(t *testing.T) {
	cases := map[string]struct {
		change          func(*ownership.RegionView) // of the home region a
		owner, homeOnly string
	}{
		"serving":         {func(*ownership.RegionView) {}, "a", "a"},
		"lost":            {func(r *ownership.RegionView) { r.State = ownership.RegionLost }, "b", ""},
		"drained":         {func(r *ownership.RegionView) { r.State = ownership.RegionDrained }, "b", ""},
		"not in the view": {func(r *ownership.RegionView) { r.State = "" }, "b", ""},
		"returning":       {func(r *ownership.RegionView) { r.State = ownership.RegionReturning }, "b", ""},
		"handed back":     {func(r *ownership.RegionView) { r.State, r.HandedBack = ownership.RegionReturning, true }, "a", "a"},
		"excluded":        {func(r *ownership.RegionView) { r.Excluded = true }, "b", ""},
		"back but excluded": {func(r *ownership.RegionView) {
			r.State, r.HandedBack, r.Excluded = ownership.RegionReturning, true, true
		}, "b", ""},
		"lost but on the handed-back list": {
			func(r *ownership.RegionView) { r.State, r.HandedBack = ownership.RegionLost, true }, "b", "",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			regions := []ownership.RegionView{view("a", 1, ownership.RegionServing), view("b", 1, ownership.RegionServing)}
			c.change(&regions[0])
			slot := slotRanked(t, regions, "a")
			if got := ownership.Owner(slot, regions); got != c.owner {
				t.Errorf("Owner = %q, want %q", got, c.owner)
			}
			if got := ownership.HomeOwner(slot, regions); got != c.homeOnly {
				t.Errorf("HomeOwner = %q, want %q", got, c.homeOnly)
			}
			if got := ownership.PinnedOwner([]string{"a"}, regions); got != c.homeOnly {
				t.Errorf("PinnedOwner of a alone = %q, want %q", got, c.homeOnly)
			}
		})
	}
}

// Two regions that have heard of different states never both take themselves for the owner as
// long as only homes own.
func TestHomeOwnerIsNeverTwo(t *testing.T) {
	states := []ownership.RegionState{
		ownership.RegionServing, ownership.RegionLost, ownership.RegionReturning, ownership.RegionDrained, "",
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func() []ownership.RegionView {
			var out []ownership.RegionView
			for _, name := range []string{"a", "b", "c"} {
				v := view(name, 1, rapid.SampledFrom(states).Draw(t, "state"))
				v.HandedBack = rapid.Bool().Draw(t, "handed back")
				v.Excluded = rapid.Bool().Draw(t, "excluded")
				out = append(out, v)
			}
			return out
		}
		slot := rapid.IntRange(0, ownership.SlotCount-1).Draw(t, "slot")
		one, other := ownership.HomeOwner(slot, draw()), ownership.HomeOwner(slot, draw())
		if one != "" && other != "" && one != other {
			t.Fatalf("slot %d is owned by %s and %s", slot, one, other)
		}
	})
}

func TestRegionViews(t *testing.T) {
	c := ownership.Configuration{View: ownership.View{Regions: map[string]ownership.RegionRecord{
		"a": {State: ownership.RegionServing}, "b": {State: ownership.RegionReturning},
	}}}
	service := ownership.ServiceRecord{Excluded: []string{"a"}, HandedBack: []string{"b"}}
	got := c.RegionViews(service, []ownership.WeightedRegion{{Name: "b", Weight: 2}, {Name: "a", Weight: 1}, {Name: "new"}})
	want := []ownership.RegionView{
		{WeightedRegion: ownership.WeightedRegion{Name: "b", Weight: 2}, State: ownership.RegionReturning, HandedBack: true},
		{WeightedRegion: ownership.WeightedRegion{Name: "a", Weight: 1}, State: ownership.RegionServing, Excluded: true},
		{WeightedRegion: ownership.WeightedRegion{Name: "new"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RegionViews (-want +got):\n%s", diff)
	}
}

func TestNormalise(t *testing.T) {
	cases := map[string]struct {
		key   string
		steps []string
		want  string
		fails bool
	}{
		"none":              {key: " A1 ", want: " A1 "},
		"trim":              {key: "\t A1\u00a0", steps: []string{"Trim"}, want: "A1"},
		"lower case":        {key: "Alice@Example.COM", steps: []string{"Lowercase"}, want: "alice@example.com"},
		"digits":            {key: "+86 138-0013 8000", steps: []string{"DigitsOnly"}, want: "8613800138000"},
		"other digits":      {key: "१2", steps: []string{"DigitsOnly"}, want: "2"},
		"in order":          {key: " İ1", steps: []string{"Trim", "Lowercase", "DigitsOnly"}, want: "1"},
		"unknown":           {key: "a", steps: []string{"Reverse"}, fails: true},
		"unknown after one": {key: "a", steps: []string{"Trim", "trim"}, fails: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ownership.Normalise(c.key, c.steps)
			if (err != nil) != c.fails || got != c.want {
				t.Errorf("Normalise(%q, %v) = %q, %v; want %q, failure %v", c.key, c.steps, got, err, c.want, c.fails)
			}
		})
	}
}

func exampleSpec() ownership.Spec {
	return ownership.Spec{
		Regions: []ownership.WeightedRegion{{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 50}},
		Keys: []ownership.SpecKey{{
			Name: "phone", Normalize: []string{"Trim", "DigitsOnly"},
			From: []ownership.SpecSource{{Type: "Header", Name: "X-User-Phone"}, {Type: "JSONBody", Name: "/phone"}},
		}},
		Flows: []ownership.SpecFlow{
			{Name: "login", ServedBy: "AnyRegion", Match: []ownership.SpecMatch{{Method: "POST", Path: "/v1/login"}}},
			{Name: "profile", ServedBy: "HomeRegion", Key: "phone", Homes: []string{"beijing", "shanghai"}, Match: []ownership.SpecMatch{
				{Method: "PUT", Path: "/v1/profile"}, {Method: "GET", Path: "/v1/profile"},
			}},
		},
		Unmatched: ownership.SpecUnmatched{SafeMethods: "AnyRegion", OtherMethods: "Reject"},
	}
}

func TestSpecHash(t *testing.T) {
	cases := map[string]struct {
		change func(*ownership.Spec)
		same   bool
	}{
		"nothing":           {func(*ownership.Spec) {}, true},
		"order of regions":  {func(s *ownership.Spec) { s.Regions[0], s.Regions[1] = s.Regions[1], s.Regions[0] }, true},
		"order of flows":    {func(s *ownership.Spec) { s.Flows[0], s.Flows[1] = s.Flows[1], s.Flows[0] }, true},
		"order of matches":  {func(s *ownership.Spec) { m := s.Flows[1].Match; m[0], m[1] = m[1], m[0] }, true},
		"order of sources":  {func(s *ownership.Spec) { f := s.Keys[0].From; f[0], f[1] = f[1], f[0] }, true},
		"order of steps":    {func(s *ownership.Spec) { n := s.Keys[0].Normalize; n[0], n[1] = n[1], n[0] }, false},
		"order of homes":    {func(s *ownership.Spec) { h := s.Flows[1].Homes; h[0], h[1] = h[1], h[0] }, false},
		"weight":            {func(s *ownership.Spec) { s.Regions[0].Weight++ }, false},
		"region":            {func(s *ownership.Spec) { s.Regions[0].Name = "tianjin" }, false},
		"source":            {func(s *ownership.Spec) { s.Keys[0].From[0].Name = "X-Phone" }, false},
		"key of a flow":     {func(s *ownership.Spec) { s.Flows[1].Key = "" }, false},
		"served by":         {func(s *ownership.Spec) { s.Flows[1].ServedBy = "AnyRegion" }, false},
		"path":              {func(s *ownership.Spec) { s.Flows[1].Match[0].Path = "/v2/profile" }, false},
		"unmatched methods": {func(s *ownership.Spec) { s.Unmatched.OtherMethods = "AnyRegion" }, false},
	}
	base := exampleSpec().Hash()
	if base != "37416b5448d44b2c" {
		t.Errorf("the example's hash is %s: every service's hash would change", base)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, twin := exampleSpec(), exampleSpec()
			c.change(&s)
			c.change(&twin)
			if got := s.Hash(); (got == base) != c.same {
				t.Errorf("hash %s, base %s, want the same: %v", got, base, c.same)
			}
			if diff := cmp.Diff(twin, s); diff != "" {
				t.Errorf("Hash has changed the spec (-want +got):\n%s", diff)
			}
		})
	}
}
