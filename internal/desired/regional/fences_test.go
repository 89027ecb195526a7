package regional_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/storage"
)

// flowsPinned are flows whose data is pinned to lists of regions, and one whose data has a key.
func flowsPinned(lists ...[]string) []v1alpha1.FlowRouting {
	flows := []v1alpha1.FlowRouting{{Name: "pay", Key: "customer", ServedBy: v1alpha1.ServedByHomeRegion}}
	for i, homes := range lists {
		flows = append(flows, v1alpha1.FlowRouting{Name: fmt.Sprintf("pinned-%d", i), ServedBy: v1alpha1.ServedByHomeRegion, Pinned: homes})
	}
	return flows
}

// ownersOf returns who may write to which list of regions, by the slots that applications are told; "-" for a list that has no slot.
func ownersOf(f *storage.Fences, lists ...[]string) []string {
	var out []string
	for _, homes := range lists {
		set, is := f.SetOf(ownership.PinnedSlot(homes))
		i := slices.IndexFunc(f.Fences, func(one storage.Fence) bool { return one.Set == set })
		if !is || i < 0 {
			out = append(out, "-")
		} else {
			out = append(out, f.Fences[i].Owner)
		}
	}
	return out
}

// TestFencesOfPinnedData follows lists of regions through what becomes of their owners, and through another declaration.
func TestFencesOfPinnedData(t *testing.T) {
	t.Parallel()
	north, south, west := []string{"north", "south"}, []string{"south", "west", "north"}, []string{"west", "north"}
	weights := func(north int32) []v1alpha1.RegionWeight {
		return []v1alpha1.RegionWeight{{Name: "north", Weight: north}, {Name: "south", Weight: 100}, {Name: "west", Weight: 0}}
	}
	spec := v1alpha1.RegionalServiceSpec{Region: "north", ServiceID: "u-1", Ownership: []v1alpha1.OwnershipSlice{
		{Hash: "a", Regions: weights(100), Flows: flowsPinned(north, south, north)},
		{Hash: "heavier", Regions: weights(300), Flows: flowsPinned(north, south, north)},
		{Hash: "anew", Regions: weights(100), Flows: flowsPinned(west, south)},
	}}
	regions := func(south ownership.RegionRecord) map[string]ownership.RegionRecord {
		return map[string]ownership.RegionRecord{"north": {State: ownership.RegionServing}, "south": south, "west": {State: ownership.RegionServing}}
	}
	serving, drained := ownership.RegionRecord{State: ownership.RegionServing}, ownership.RegionRecord{State: ownership.RegionDrained}
	lost := ownership.RegionRecord{State: ownership.RegionLost, Unshipped: true, LostEpoch: 7}
	returning := ownership.RegionRecord{State: ownership.RegionReturning, ReturnedEpoch: 9}
	state := func(hash string) ownership.ServiceState { return ownership.ServiceState{SpecHash: hash} }
	open := func(south ownership.RegionRecord, s ownership.ServiceState) ownership.Configuration {
		return ownership.Configuration{
			View:     ownership.View{Epoch: 9, Phase: ownership.PhaseOpen, Regions: regions(south)},
			Services: map[string]ownership.ServiceRecord{"u-1": {ServiceState: s}},
		}
	}
	closing := func(before, next ownership.RegionRecord, was, s ownership.ServiceState) ownership.Configuration {
		return ownership.Configuration{
			View:     ownership.View{Epoch: 10, Base: 9, Phase: ownership.PhaseClosing, Regions: regions(next), Previous: regions(before)},
			Services: map[string]ownership.ServiceRecord{"u-1": {ServiceState: s, Previous: &was, Base: 9}},
		}
	}
	a, heavier, anew, back := state("a"), state("heavier"), state("anew"), state("a")
	back.HandedBack = map[string]int64{"south": 9}
	stuck := state("a")
	stuck.Withheld = map[string]int64{"south": 7}
	for name, test := range map[string]struct {
		c    ownership.Configuration
		want []string // of north, south and west
	}{
		"the first of each list":           {open(serving, a), []string{"north", "south", "-"}},
		"drained":                          {open(drained, a), []string{"north", "west", "-"}},
		"while it is drained":              {closing(serving, drained, a, a), []string{"north", "", "-"}},
		"lost":                             {open(lost, a), []string{"north", "west", "-"}},
		"while it is lost":                 {closing(serving, lost, a, a), []string{"north", "", "-"}},
		"lost, and nobody has caught up":   {open(lost, stuck), []string{"north", "", "-"}},
		"back":                             {open(returning, a), []string{"north", "west", "-"}},
		"while it is handed back":          {closing(returning, returning, a, back), []string{"north", "", "-"}},
		"handed back":                      {open(returning, back), []string{"north", "south", "-"}},
		"while weights change":             {closing(serving, serving, a, heavier), []string{"north", "south", "-"}},
		"while weights and owners change":  {closing(serving, drained, a, heavier), []string{"north", "", "-"}},
		"while lists are declared anew":    {closing(serving, serving, a, anew), []string{"", "", "-"}},
		"once they are":                    {open(serving, anew), []string{"-", "south", "west"}},
		"not agreed on":                    {ownership.Configuration{View: open(serving, a).View}, []string{"", "", "-"}},
		"a declaration that is not staged": {open(serving, state("unknown")), []string{"", "", "-"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := regional.Fences("shop/orders", &spec, test.c)
			if diff := cmp.Diff(test.want, ownersOf(&f, north, south, west)); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
			if !slices.IsSorted(f.Pinned) || len(f.Pinned) != 2 || !slices.IsSortedFunc(f.Fences, func(a, b storage.Fence) int { return a.Set - b.Set }) {
				t.Errorf("the slots are %v, the fences %v: want two slots, all in ascending order", f.Pinned, f.Fences)
			}
		})
	}
}

// TestListsThatShareASlot: two lists that happen to have one slot may be written to only while both have the same owner.
func TestListsThatShareASlot(t *testing.T) {
	t.Parallel()
	one, other := []string{"beijing", "r331618"}, []string{"shanghai", "r2755"}
	if ownership.PinnedSlot(one) != ownership.PinnedSlot(other) {
		t.Fatal("they have not: look for others")
	}
	spec := v1alpha1.RegionalServiceSpec{Region: "beijing", ServiceID: "u-1"}
	for name, test := range map[string]struct {
		lists [][]string
		want  string
	}{
		"of two owners": {[][]string{one, other}, ""}, "the other way round": {[][]string{other, one, other}, ""},
		"of one owner": {[][]string{one, {"beijing", "shanghai"}, one}, "beijing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := spec
			spec.Ownership = []v1alpha1.OwnershipSlice{{
				Hash: "a", Regions: []v1alpha1.RegionWeight{{Name: "beijing", Weight: 1}, {Name: "shanghai", Weight: 1}}, Flows: flowsPinned(test.lists...),
			}}
			f := regional.Fences("shop/orders", &spec, ownership.Configuration{
				View: ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
					"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionServing},
				}},
				Services: map[string]ownership.ServiceRecord{"u-1": {ServiceState: ownership.ServiceState{SpecHash: "a"}}},
			})
			if got := ownersOf(&f, one); got[0] != test.want {
				t.Errorf("%q may write, want %q", got[0], test.want)
			}
		})
	}
}

// TestFences holds the fences of all slots to what the gateways do with them.
func TestFences(t *testing.T) {
	t.Parallel()
	weighted := []v1alpha1.RegionWeight{{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 50}, {Name: "shenzhen", Weight: 0}}
	spec := v1alpha1.RegionalServiceSpec{Region: "beijing", ServiceID: "u-1", Ownership: []v1alpha1.OwnershipSlice{
		{Hash: "a", Regions: weighted}, {Hash: "b", Regions: []v1alpha1.RegionWeight{{Name: "beijing", Weight: 10}, {Name: "shanghai", Weight: 90}}},
	}}
	serving := func(beijing ownership.RegionState) map[string]ownership.RegionRecord {
		return map[string]ownership.RegionRecord{
			"beijing": {State: beijing}, "shanghai": {State: ownership.RegionServing}, "shenzhen": {State: ownership.RegionServing},
		}
	}
	record := func(hash string, before *ownership.ServiceState) ownership.ServiceRecord {
		return ownership.ServiceRecord{ServiceState: ownership.ServiceState{SpecHash: hash}, Previous: before, Base: 6}
	}
	home := func(slot int, hash string) string {
		for _, o := range spec.Ownership {
			if o.Hash == hash {
				var w []ownership.WeightedRegion
				for _, r := range o.Regions {
					w = append(w, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
				}
				return ownership.Home(slot, w)
			}
		}
		return ""
	}
	for name, test := range map[string]struct {
		c    ownership.Configuration
		want func(slot int) string
	}{
		"every slot's home": {
			ownership.Configuration{View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: serving(ownership.RegionServing)},
				Services: map[string]ownership.ServiceRecord{"u-1": record("a", nil)}},
			func(slot int) string { return home(slot, "a") },
		},
		"a lost region's are another's": {
			ownership.Configuration{View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: serving(ownership.RegionLost)},
				Services: map[string]ownership.ServiceRecord{"u-1": record("a", nil)}},
			func(int) string { return "shanghai" },
		},
		"nobody's while they change": {
			ownership.Configuration{View: ownership.View{Epoch: 7, Base: 6, Phase: ownership.PhaseClosing, Regions: serving(ownership.RegionDrained), Previous: serving(ownership.RegionServing)},
				Services: map[string]ownership.ServiceRecord{"u-1": record("a", nil)}},
			func(slot int) string {
				if home(slot, "a") == "beijing" {
					return ""
				}
				return "shanghai"
			},
		},
		"nobody's while weights change": {
			ownership.Configuration{View: ownership.View{Epoch: 7, Base: 6, Phase: ownership.PhaseClosing, Regions: serving(ownership.RegionServing), Previous: serving(ownership.RegionServing)},
				Services: map[string]ownership.ServiceRecord{"u-1": record("b", &ownership.ServiceState{SpecHash: "a"})}},
			func(int) string { return "" },
		},
		"not agreed on": {
			ownership.Configuration{View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: serving(ownership.RegionServing)}},
			func(int) string { return "" },
		},
		"a spec that the region lacks": {
			ownership.Configuration{View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: serving(ownership.RegionServing)},
				Services: map[string]ownership.ServiceRecord{"u-1": record("c", nil)}},
			func(int) string { return "" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := regional.Fences("shop/orders", &spec, test.c)
			if f.Service != "shop/orders" || len(f.Slots) != ownership.SlotCount {
				t.Fatalf("fences of %q with %d slots", f.Service, len(f.Slots))
			}
			for i := range f.Fences {
				if f.Fences[i].Set != i || f.Fences[i].Epoch != 7 {
					t.Fatalf("fence %d is %+v", i, f.Fences[i])
				}
			}
			for slot, set := range f.Slots {
				if got, want := f.Fences[set].Owner, test.want(slot); got != want {
					t.Fatalf("slot %d is fenced for %q, want %q", slot, got, want)
				}
			}
		})
	}
}

func TestPrimary(t *testing.T) {
	t.Parallel()
	store := v1alpha1.StoreSlice{
		Topology:  v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: "shanghai"},
		Endpoints: []v1alpha1.StoreEndpoint{{Region: "elsewhere"}, {Region: "beijing"}, {Region: "shanghai"}, {Region: "shenzhen"}},
	}
	peers := []v1alpha1.Peer{{Name: "beijing"}, {Name: "shanghai"}, {Name: "shenzhen"}}
	takeover := []v1alpha1.FlowBehaviour{{Name: "pay", OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}}}
	regions := func(shanghai ownership.RegionRecord) map[string]ownership.RegionRecord {
		return map[string]ownership.RegionRecord{
			"elsewhere": {State: ownership.RegionServing}, "beijing": {State: ownership.RegionServing}, "shanghai": shanghai, "shenzhen": {State: ownership.RegionServing},
		}
	}
	serving, drained := ownership.RegionRecord{State: ownership.RegionServing}, ownership.RegionRecord{State: ownership.RegionDrained}
	lost := ownership.RegionRecord{State: ownership.RegionLost, Unshipped: true, LostEpoch: 7}
	returning := ownership.RegionRecord{State: ownership.RegionReturning, ReturnedEpoch: 9}
	agreed := func(v ownership.View, record ownership.ServiceRecord) ownership.Configuration {
		return ownership.Configuration{View: v, Services: map[string]ownership.ServiceRecord{"u-1": record}}
	}
	open := func(shanghai ownership.RegionRecord) ownership.View {
		return ownership.View{Epoch: 9, Phase: ownership.PhaseOpen, Regions: regions(shanghai)}
	}
	record := ownership.ServiceRecord{ServiceState: ownership.ServiceState{SpecHash: "a"}}
	back := record
	back.HandedBack = map[string]int64{"shanghai": 9}
	for name, test := range map[string]struct {
		c          ownership.Configuration
		behaviours []v1alpha1.FlowBehaviour
		want       string
	}{
		"as declared":                         {agreed(open(serving), record), nil, "shanghai"},
		"drained":                             {agreed(open(drained), record), nil, "beijing"},
		"nobody's while it moves":             {agreed(ownership.View{Epoch: 9, Phase: ownership.PhaseClosing, Regions: regions(drained), Previous: regions(serving)}, record), nil, ""},
		"stays while others change":           {agreed(ownership.View{Epoch: 9, Phase: ownership.PhaseClosing, Regions: regions(serving), Previous: regions(serving)}, record), nil, "shanghai"},
		"lost, and nothing may be taken over": {agreed(open(lost), record), nil, ""},
		"lost, and something may":             {agreed(open(lost), record), takeover, "beijing"},
		"back without its keys":               {agreed(open(returning), record), nil, "beijing"},
		"handed back":                         {agreed(open(returning), back), nil, "shanghai"},
		"not agreed on":                       {ownership.Configuration{View: open(serving)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := v1alpha1.RegionalServiceSpec{Region: "beijing", ServiceID: "u-1", Peers: peers, Behaviours: test.behaviours}
			if got := regional.Primary(&spec, &store, test.c); got != test.want {
				t.Errorf("primary %q, want %q", got, test.want)
			}
		})
	}
}
