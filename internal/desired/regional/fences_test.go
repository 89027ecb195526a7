package regional_test

import (
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
)

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
