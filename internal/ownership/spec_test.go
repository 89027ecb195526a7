package ownership_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
)

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
