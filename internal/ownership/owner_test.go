package ownership_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
)

// ranked is the order of the slot that the tables are about.
var ranked = []string{"a", "b", "c"}

func view(name string, state ownership.RegionState) ownership.RegionView {
	return ownership.RegionView{WeightedRegion: ownership.WeightedRegion{Name: name, Weight: 1}, State: state}
}

// change alters the views of regions by name.
type change map[string]func(*ownership.RegionView)

// serving returns a, b and c, all of which serve but for the changes.
func serving(changes change) []ownership.RegionView {
	var out []ownership.RegionView
	for _, name := range ranked {
		v := view(name, ownership.RegionServing)
		if alter := changes[name]; alter != nil {
			alter(&v)
		}
		out = append(out, v)
	}
	return out
}

// slotInOrder returns a slot that ranks a, b and c in this order.
func slotInOrder(t *testing.T) int {
	t.Helper()
	for slot := range ownership.SlotCount {
		if slices.Equal(ownership.Rank(slot, weights(serving(nil))), ranked) {
			return slot
		}
	}
	t.Fatalf("no slot has the order %v", ranked)
	return 0
}

func weights(regions []ownership.RegionView) []ownership.WeightedRegion {
	out := make([]ownership.WeightedRegion, len(regions))
	for i, r := range regions {
		out[i] = r.WeightedRegion
	}
	return out
}

func is(state ownership.RegionState) func(*ownership.RegionView) {
	return func(r *ownership.RegionView) { r.State = state }
}

// unshipped makes a region one that was lost with the regions behind it drained.
func unshipped(behind ...string) func(*ownership.RegionView) {
	return func(r *ownership.RegionView) {
		r.State, r.Unshipped, r.Behind = ownership.RegionLost, true, behind
	}
}

func with(changes ...func(*ownership.RegionView)) func(*ownership.RegionView) {
	return func(r *ownership.RegionView) {
		for _, c := range changes {
			c(r)
		}
	}
}

func excluded(r *ownership.RegionView) { r.Excluded = true }

func withheld(r *ownership.RegionView) { r.Withheld = true }

func handedBack(r *ownership.RegionView) { r.State, r.HandedBack = ownership.RegionReturning, true }

func awaiting(names ...string) func(*ownership.RegionView) {
	return func(r *ownership.RegionView) { r.Awaits = names }
}

func TestOwner(t *testing.T) {
	whole := func(region string) ownership.Owned { return ownership.Owned{Region: region, Complete: true} }
	partly := func(region string) ownership.Owned { return ownership.Owned{Region: region} }
	drained := is(ownership.RegionDrained)
	cases := map[string]struct {
		change change
		want   ownership.Owned
	}{
		"serving":                  {nil, whole("a")},
		"drained":                  {change{"a": drained}, whole("b")},
		"not in the view":          {change{"a": is("")}, whole("b")},
		"returning, shipped":       {change{"a": is(ownership.RegionReturning)}, whole("b")},
		"handed back":              {change{"a": handedBack}, whole("a")},
		"handed back but excluded": {change{"a": with(handedBack, excluded)}, whole("b")},
		"lost, handed back before": {change{"a": with(handedBack, is(ownership.RegionLost))}, whole("b")},
		"excluded":                 {change{"a": excluded}, whole("b")},
		"all drained":              {change{"a": drained, "b": drained, "c": drained}, ownership.Owned{}},

		"lost":                                      {change{"a": unshipped()}, partly("b")},
		"lost, and returning":                       {change{"a": with(unshipped(), is(ownership.RegionReturning))}, partly("b")},
		"lost, and handed back":                     {change{"a": with(unshipped(), handedBack)}, whole("a")},
		"lost, and serving for the last":            {change{"a": with(unshipped(), is(ownership.RegionServing))}, whole("a")},
		"another region's loss":                     {change{"b": unshipped()}, whole("a")},
		"home drained, then the next lost":          {change{"a": drained, "b": unshipped("a")}, partly("c")},
		"the next lost, then home drained":          {change{"a": drained, "b": unshipped()}, whole("c")},
		"home drained, next lost, home handed back": {change{"a": handedBack, "b": unshipped("a")}, partly("a")},
		"home excluded, then the next lost":         {change{"a": excluded, "b": unshipped()}, partly("c")},
		"both lost, one after the other":            {change{"a": unshipped(), "b": unshipped()}, partly("c")},

		"withheld":                            {change{"a": with(unshipped(), withheld)}, ownership.Owned{}},
		"withheld, the next one's loss":       {change{"a": unshipped(), "b": with(unshipped(), withheld)}, ownership.Owned{}},
		"withheld behind the owner":           {change{"b": with(unshipped(), withheld)}, whole("a")},
		"withheld but excluded":               {change{"a": with(unshipped(), withheld, excluded)}, whole("b")},
		"awaits the next":                     {change{"a": with(unshipped(), awaiting("b"))}, ownership.Owned{}},
		"awaits another than the next":        {change{"a": with(unshipped(), awaiting("c"))}, partly("b")},
		"awaits one that is passed over":      {change{"a": with(unshipped(), awaiting("b")), "b": drained}, partly("c")},
		"awaits, and is back":                 {change{"a": with(handedBack, awaiting("b"))}, whole("a")},
		"awaits, and is excluded":             {change{"a": with(excluded, awaiting("b"))}, whole("b")},
		"awaits one for which it comes later": {change{"b": with(unshipped(), awaiting("a"))}, whole("a")},
	}
	slot := slotInOrder(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			regions := serving(c.change)
			if diff := cmp.Diff(c.want, ownership.Owner(slot, regions)); diff != "" {
				t.Errorf("Owner (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, ownership.PinnedOwner(ranked, regions)); diff != "" {
				t.Errorf("PinnedOwner (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPinnedOwnerIsOneOfTheHomes(t *testing.T) {
	cases := map[string]struct {
		homes  []string
		change change
		want   ownership.Owned
	}{
		"the first":                  {[]string{"c", "a"}, nil, ownership.Owned{Region: "c", Complete: true}},
		"the second":                 {[]string{"c", "a"}, change{"c": unshipped()}, ownership.Owned{Region: "a"}},
		"none is left":               {[]string{"c"}, change{"c": unshipped()}, ownership.Owned{}},
		"one that the service lacks": {[]string{"x", "b"}, nil, ownership.Owned{Region: "b", Complete: true}},
		"no homes":                   {nil, nil, ownership.Owned{}},
		"the loss of who is no home": {[]string{"a"}, change{"b": unshipped("a", "c")}, ownership.Owned{Region: "a", Complete: true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ownership.PinnedOwner(c.homes, serving(c.change))); diff != "" {
				t.Errorf("PinnedOwner (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHomeWithoutWeights(t *testing.T) {
	if got := ownership.Home(1, []ownership.WeightedRegion{{Name: "a"}}); got != "" {
		t.Errorf("the home is %q, want none", got)
	}
}

func TestBetween(t *testing.T) {
	cases := map[string]struct {
		before, next, want ownership.Owned
		closing            bool
	}{
		"the same":           {ownership.Owned{Region: "a", Complete: true}, ownership.Owned{Region: "a", Complete: true}, ownership.Owned{Region: "a", Complete: true}, false},
		"another":            {ownership.Owned{Region: "a", Complete: true}, ownership.Owned{Region: "b", Complete: true}, ownership.Owned{}, true},
		"from nobody":        {ownership.Owned{}, ownership.Owned{Region: "b"}, ownership.Owned{}, true},
		"to nobody":          {ownership.Owned{Region: "a"}, ownership.Owned{}, ownership.Owned{}, true},
		"nobody":             {ownership.Owned{}, ownership.Owned{}, ownership.Owned{}, false},
		"complete only next": {ownership.Owned{Region: "a"}, ownership.Owned{Region: "a", Complete: true}, ownership.Owned{Region: "a"}, false},
		"complete no more":   {ownership.Owned{Region: "a", Complete: true}, ownership.Owned{Region: "a"}, ownership.Owned{Region: "a"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, closing := ownership.Between(c.before, c.next)
			if got != c.want || closing != c.closing {
				t.Errorf("Between = %+v, %t; want %+v, %t", got, closing, c.want, c.closing)
			}
		})
	}
}

func drawViews(t *rapid.T, names ...string) []ownership.RegionView {
	states := []ownership.RegionState{
		ownership.RegionServing, ownership.RegionLost, ownership.RegionReturning, ownership.RegionDrained, "",
	}
	some := rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string])
	var out []ownership.RegionView
	for _, name := range names {
		v := view(name, rapid.SampledFrom(states).Draw(t, "state of "+name))
		v.HandedBack, v.Excluded = rapid.Bool().Draw(t, "handed back"), rapid.Bool().Draw(t, "excluded")
		v.Unshipped = v.State != ownership.RegionServing && rapid.Bool().Draw(t, "unshipped")
		v.Withheld = v.Unshipped && !v.MayOwn() && rapid.Bool().Draw(t, "withheld")
		v.Behind, v.Awaits = some.Draw(t, "behind"), some.Draw(t, "awaits")
		out = append(out, v)
	}
	return out
}

// The owner may own, and nobody whom the order prefers may: whatever keeps slots back gives them to
// nobody else.
func TestOwnerIsTheFirstThatMayOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := drawViews(t, "a", "b", "c", "d")
		slot := rapid.IntRange(0, ownership.SlotCount-1).Draw(t, "slot")
		first := ""
		for _, name := range ownership.Rank(slot, weights(regions)) {
			i := slices.IndexFunc(regions, func(r ownership.RegionView) bool { return r.Name == name })
			if first == "" && regions[i].MayOwn() {
				first = name
			}
		}
		got := ownership.Owner(slot, regions)
		if got.Region != "" && got.Region != first || got.Region == "" && got.Complete {
			t.Fatalf("the owner is %+v, the first that may own %q", got, first)
		}
	})
}

// What a region leaves goes to others and nothing else moves, while nothing is kept back.
func TestLosingAnOwnerMovesOnlyItsSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := drawViews(t, "a", "b", "c", "d")
		for i := range before {
			before[i].Withheld, before[i].Awaits = false, nil
		}
		i := rapid.IntRange(0, len(before)-1).Draw(t, "region")
		after := slices.Clone(before)
		after[i].State = ownership.RegionLost
		for slot := range ownership.SlotCount {
			was, is := ownership.Owner(slot, before).Region, ownership.Owner(slot, after).Region
			if was != is && was != before[i].Name {
				t.Fatalf("slot %d went from %s to %s when %s was lost", slot, was, is, before[i].Name)
			}
			// The other way round: a region that joins takes slots and gives none.
			if was != is && was == "" {
				t.Fatalf("slot %d went from nobody to %s when %s was lost", slot, is, before[i].Name)
			}
		}
	})
}

// A region that is declared gone takes back no completeness, and adds some; a loss takes some away and
// adds none.
func TestCompletenessRelaxesOnlyWhenARegionIsGone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := drawViews(t, "a", "b", "c", "d")
		i := rapid.IntRange(0, len(before)-1).Draw(t, "region")
		gone, lost := slices.Clone(before), slices.Clone(before)
		gone[i].Unshipped, gone[i].Behind = false, nil
		lost[i].Unshipped = true
		for slot := range ownership.SlotCount {
			now := ownership.Owner(slot, before)
			if g := ownership.Owner(slot, gone); g.Region != now.Region || now.Complete && !g.Complete {
				t.Fatalf("slot %d: %+v became %+v when %s was declared gone", slot, now, g, before[i].Name)
			}
			if l := ownership.Owner(slot, lost); l.Region != now.Region || l.Complete && !now.Complete {
				t.Fatalf("slot %d: %+v became %+v when %s had something unshipped", slot, now, l, before[i].Name)
			}
		}
	})
}

func record(state ownership.RegionState, alter ...func(*ownership.RegionRecord)) ownership.RegionRecord {
	r := ownership.RegionRecord{State: state, Role: "Active"}
	for _, a := range alter {
		a(&r)
	}
	return r
}

func TestViews(t *testing.T) {
	lostAt := func(epoch int64) ownership.RegionRecord {
		return record(ownership.RegionLost, func(r *ownership.RegionRecord) { r.Unshipped, r.LostEpoch = true, epoch })
	}
	back := func(epoch int64) ownership.RegionRecord {
		r := lostAt(5)
		r.State, r.ReturnedEpoch = ownership.RegionReturning, epoch
		return r
	}
	at := func(epoch int64) map[string]int64 { return map[string]int64{"a": epoch} }
	// handed and withheld alter what every case expects: a view of the region as its record has it.
	handed := func(v *ownership.RegionView) { v.HandedBack = true }
	cases := map[string]struct {
		service ownership.ServiceState
		record  ownership.RegionRecord
		want    func(*ownership.RegionView)
	}{
		"serving":                        {record: record(ownership.RegionServing)},
		"unknown":                        {},
		"excluded":                       {service: ownership.ServiceState{Excluded: []string{"b", "a"}}, record: record(ownership.RegionServing), want: excluded},
		"handed back":                    {service: ownership.ServiceState{HandedBack: at(7)}, record: back(7), want: handed},
		"handed back for another return": {service: ownership.ServiceState{HandedBack: at(6)}, record: back(7)},
		"a record that never returned":   {service: ownership.ServiceState{HandedBack: at(0)}, record: record(ownership.RegionServing)},
		"lost":                           {record: lostAt(5)},
		"lost, manual":                   {service: ownership.ServiceState{Manual: true}, record: lostAt(5), want: withheld},
		"lost, manual, approved":         {service: ownership.ServiceState{Manual: true, Approved: at(5)}, record: lostAt(5)},
		"approved for another loss":      {service: ownership.ServiceState{Manual: true, Approved: at(4)}, record: lostAt(5), want: withheld},
		"approved for another region": {
			service: ownership.ServiceState{Manual: true, Approved: map[string]int64{"b": 5}}, record: lostAt(5), want: withheld,
		},
		"stuck":                         {service: ownership.ServiceState{Withheld: at(5)}, record: lostAt(5), want: withheld},
		"stuck with another loss":       {service: ownership.ServiceState{Withheld: at(4)}, record: lostAt(5)},
		"stuck though approved":         {service: ownership.ServiceState{Manual: true, Approved: at(5), Withheld: at(5)}, record: lostAt(5), want: withheld},
		"manual, returning":             {service: ownership.ServiceState{Manual: true}, record: back(7), want: withheld},
		"manual, returning, and has it": {service: ownership.ServiceState{Manual: true, HandedBack: at(7)}, record: back(7), want: handed},
		"manual, drained":               {service: ownership.ServiceState{Manual: true}, record: record(ownership.RegionDrained)},
		"manual, declared gone": {
			service: ownership.ServiceState{Manual: true},
			record:  record(ownership.RegionLost, func(r *ownership.RegionRecord) { r.Gone, r.LostEpoch = true, 5 }),
		},
		"stuck, declared gone": {
			service: ownership.ServiceState{Withheld: at(5)}, want: withheld,
			record: record(ownership.RegionLost, func(r *ownership.RegionRecord) { r.Gone, r.LostEpoch = true, 5 }),
		},
		"the record's lists": {
			record: record(ownership.RegionLost, func(r *ownership.RegionRecord) {
				r.Unshipped, r.Behind, r.Awaits = true, []string{"b"}, []string{"c"}
			}),
			want: func(v *ownership.RegionView) { v.Behind, v.Awaits = []string{"b"}, []string{"c"} },
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			weighted := ownership.WeightedRegion{Name: "a", Weight: 3}
			want := ownership.RegionView{WeightedRegion: weighted, State: c.record.State, Unshipped: c.record.Unshipped}
			if c.want != nil {
				c.want(&want)
			}
			got := ownership.Views(c.service, map[string]ownership.RegionRecord{"a": c.record}, []ownership.WeightedRegion{weighted})
			if diff := cmp.Diff([]ownership.RegionView{want}, got); diff != "" {
				t.Errorf("Views (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigurationBefore(t *testing.T) {
	before := map[string]ownership.RegionRecord{"a": record(ownership.RegionServing)}
	next := map[string]ownership.RegionRecord{"a": record(ownership.RegionDrained)}
	old, now := ownership.ServiceState{SpecHash: "old"}, ownership.ServiceState{SpecHash: "now"}
	type answer struct {
		State   ownership.ServiceState
		Regions map[string]ownership.RegionRecord
		OK      bool
	}
	closing := ownership.View{Epoch: 8, Phase: ownership.PhaseClosing, Regions: next, Previous: before, Base: 7}
	cases := map[string]struct {
		view    ownership.View
		service ownership.ServiceRecord
		want    answer
	}{
		"open":                          {ownership.View{Epoch: 8, Phase: ownership.PhaseOpen, Regions: next}, ownership.ServiceRecord{ServiceState: now, Base: 7, Previous: &old}, answer{}},
		"closing, changed by it":        {closing, ownership.ServiceRecord{ServiceState: now, Base: 7, Previous: &old}, answer{old, before, true}},
		"closing, changed before it":    {closing, ownership.ServiceRecord{ServiceState: now, Base: 6, Previous: &old}, answer{now, before, true}},
		"closing, never changed":        {closing, ownership.ServiceRecord{ServiceState: now}, answer{now, before, true}},
		"closing, put back to what was": {closing, ownership.ServiceRecord{ServiceState: old}, answer{old, before, true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := ownership.Configuration{View: c.view}
			var got answer
			got.State, got.Regions, got.OK = conf.Before(c.service)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Before (-want +got):\n%s", diff)
			}
			views := ownership.Views(c.service.ServiceState, c.view.Regions, []ownership.WeightedRegion{{Name: "a"}})
			if diff := cmp.Diff(views, conf.RegionViews(c.service, []ownership.WeightedRegion{{Name: "a"}})); diff != "" {
				t.Errorf("RegionViews are not those of what is to come (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServiceStateNames(t *testing.T) {
	records := map[string]ownership.RegionRecord{
		"a": record(ownership.RegionServing), "b": record(ownership.RegionServing), "d": record(ownership.RegionDrained),
		"l": record(ownership.RegionLost, func(r *ownership.RegionRecord) { r.Unshipped, r.LostEpoch = true, 5 }),
		"m": record(ownership.RegionLost, func(r *ownership.RegionRecord) { r.Unshipped, r.LostEpoch = true, 6 }),
		"w": record(ownership.RegionServing, func(r *ownership.RegionRecord) { r.Role = "Witness" }),
		"r": record(ownership.RegionReturning, func(r *ownership.RegionRecord) { r.ReturnedEpoch = 7 }),
	}
	cases := map[string]struct {
		service             ownership.ServiceState
		mayOwn, withholding []string
	}{
		"a hub that names no regions": {ownership.ServiceState{Manual: true}, []string{"a", "b"}, []string{"l", "m"}},
		"those that it names":         {ownership.ServiceState{Manual: true, Regions: []string{"a", "d", "l", "new"}}, []string{"a"}, []string{"l"}},
		"excluded":                    {ownership.ServiceState{Regions: []string{"a", "b"}, Excluded: []string{"a"}}, []string{"b"}, nil},
		"handed back":                 {ownership.ServiceState{Regions: []string{"a", "r"}, HandedBack: map[string]int64{"r": 7}}, []string{"a", "r"}, nil},
		"approved, stuck": {
			ownership.ServiceState{Manual: true, Approved: map[string]int64{"l": 5, "m": 6}, Withheld: map[string]int64{"m": 6}},
			[]string{"a", "b"}, []string{"m"},
		},
		"none": {ownership.ServiceState{Regions: []string{"d"}}, nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := fmt.Sprint(c.service.MayOwn(records), c.service.Withholding(records))
			if want := fmt.Sprint(c.mayOwn, c.withholding); got != want {
				t.Errorf("may own and withhold %s, want %s", got, want)
			}
		})
	}
}
