package change

import (
	"fmt"
	"testing"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// regionsOf writes regions' records shortly: S serves, L is lost with something unshipped, R has
// returned, D is drained, W is an L that awaits b.
func regionsOf(states map[string]string) map[string]ownership.RegionRecord {
	out := map[string]ownership.RegionRecord{}
	for name, s := range states {
		rec := ownership.RegionRecord{Role: health.RoleActive}
		switch s {
		case "S":
			rec.State = ownership.RegionServing
		case "L":
			rec.State, rec.Unshipped, rec.LostEpoch = ownership.RegionLost, true, 5
		case "R":
			rec.State, rec.Unshipped, rec.LostEpoch, rec.ReturnedEpoch = ownership.RegionReturning, true, 5, 6
		case "W":
			rec.State, rec.Unshipped, rec.LostEpoch, rec.Awaits = ownership.RegionLost, true, 5, []string{"b"}
		case "D":
			rec.State = ownership.RegionDrained
		}
		out[name] = rec
	}
	return out
}

func TestMovesOf(t *testing.T) {
	type states = map[string]string
	serve := states{"a": "S", "b": "S", "c": "S"}
	spec := func(alter func(*ownership.ServiceState)) ownership.ServiceState {
		s := ownership.ServiceState{SpecHash: "h", Regions: []string{"a", "b", "c"}}
		if alter != nil {
			alter(&s)
		}
		return s
	}
	with := func(alter func(*ownership.ServiceState)) *ownership.ServiceState {
		s := spec(alter)
		return &s
	}
	cases := map[string]struct {
		before, next states
		was          func(*ownership.ServiceState)
		is           *ownership.ServiceState // nil: as it was
		want         string                  // losers, gainers
	}{
		"nothing":                       {before: serve, next: serve, want: "[] []"},
		"one leaves":                    {before: serve, next: states{"a": "S", "b": "S", "c": "D"}, want: "[c] [a b]"},
		"one joins":                     {before: states{"a": "S", "b": "S", "c": "D"}, next: serve, want: "[a b] [c]"},
		"one leaves, one joins":         {before: states{"a": "S", "b": "S", "c": "D"}, next: states{"a": "S", "b": "L", "c": "S"}, want: "[a b] [a c]"},
		"one that owned nothing leaves": {before: states{"a": "S", "b": "S", "c": "R"}, next: states{"a": "S", "b": "S", "c": "L"}, want: "[] []"},
		"it is handed back": {
			before: states{"a": "S", "b": "S", "c": "R"}, next: states{"a": "S", "b": "S", "c": "R"},
			is: with(func(s *ownership.ServiceState) { s.HandedBack = map[string]int64{"c": 6} }), want: "[a b] [c]",
		},
		"it serves with everything handed back": {
			before: states{"a": "S", "b": "S", "c": "R"}, next: serve,
			was: func(s *ownership.ServiceState) { s.HandedBack = map[string]int64{"c": 6} }, want: "[] []",
		},
		"it is excluded": {before: serve, next: serve, is: with(func(s *ownership.ServiceState) { s.Excluded = []string{"c"} }), want: "[c] [a b]"},
		"it is included": {
			before: serve, next: serve, was: func(s *ownership.ServiceState) { s.Excluded = []string{"c"} }, is: with(nil), want: "[a b] [c]",
		},
		"another spec": {before: serve, next: serve, is: with(func(s *ownership.ServiceState) { s.SpecHash = "i" }), want: "[a b c] [a b c]"},
		"another spec, elsewhere": {
			before: serve, next: serve, was: func(s *ownership.ServiceState) { s.Regions = []string{"a"} },
			is: with(func(s *ownership.ServiceState) { s.SpecHash, s.Regions = "i", []string{"b"} }), want: "[a] [b]",
		},
		"a person has approved": {
			before: states{"a": "S", "b": "S", "c": "L"}, next: states{"a": "S", "b": "S", "c": "L"},
			was: func(s *ownership.ServiceState) { s.Manual = true },
			is:  with(func(s *ownership.ServiceState) { s.Manual, s.Approved = true, map[string]int64{"c": 5} }), want: "[a b c] [a b]",
		},
		"a person has approved though it is back": {
			before: states{"a": "S", "b": "S", "c": "R"}, next: states{"a": "S", "b": "S", "c": "R"},
			was: func(s *ownership.ServiceState) { s.Manual = true },
			is:  with(func(s *ownership.ServiceState) { s.Manual, s.Approved = true, map[string]int64{"c": 5} }), want: "[a b c] [a b]",
		},
		"what was withheld goes back": {
			before: states{"a": "S", "b": "S", "c": "R"}, next: states{"a": "S", "b": "S", "c": "R"},
			was: func(s *ownership.ServiceState) { s.Manual = true },
			is:  with(func(s *ownership.ServiceState) { s.Manual, s.HandedBack = true, map[string]int64{"c": 6} }), want: "[a b] [c]",
		},
		"whoever was awaited": {
			before: states{"a": "S", "b": "S", "c": "W"}, next: states{"a": "S", "b": "S", "c": "L"}, want: "[a b c] [a b]",
		},
		"a person is to approve": {before: serve, next: serve, is: with(func(s *ownership.ServiceState) { s.Manual = true }), want: "[] []"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := ownership.Configuration{
				View:     ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: regionsOf(c.before)},
				Services: map[string]ownership.ServiceRecord{"s": {UID: "s", ServiceState: spec(c.was)}},
			}
			changed := map[string]ownership.ServiceRecord{}
			if c.is != nil {
				changed["s"] = ownership.ServiceRecord{UID: "s", ServiceState: *c.is}
			}
			m := movesOf(conf, regionsOf(c.before), regionsOf(c.next), changed)
			if got := fmt.Sprint(m.losers(), m.gainers()); got != c.want {
				t.Errorf("losers and gainers %s, want %s", got, c.want)
			}
		})
	}
}
