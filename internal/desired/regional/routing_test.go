package regional_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// reweighted is a successor of the sample's ownership, with other weights.
func reweighted(rs *v1alpha1.RegionalService) v1alpha1.OwnershipSlice {
	next := *rs.Spec.Ownership[0].DeepCopy()
	next.Hash, next.Regions[0].Weight = other, 90
	return next
}

// changing is a configuration in which shanghai is being drained of what was handed back to it, while
// the service gets the ownership spec of a hash.
func changing(to string) ownership.Configuration {
	c := agreed()
	c.View.Phase, c.View.Base, c.View.Change = ownership.PhaseClosing, 6, &ownership.Change{Kind: ownership.ChangeDrain}
	c.View.Previous = map[string]ownership.RegionRecord{
		"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionServing, ReturnedEpoch: 3}, "shenzhen": {State: ownership.RegionServing},
	}
	c.View.Regions["shanghai"] = ownership.RegionRecord{State: ownership.RegionDrained}
	record := c.Services["uid-1"]
	record.Base = 6
	record.Previous = &ownership.ServiceState{SpecHash: hash, HandedBack: map[string]int64{"shanghai": 3}}
	record.SpecHash = to
	c.Services["uid-1"] = record
	return c
}

func awaiting(c ownership.Configuration, lost, survivor string) ownership.Configuration {
	rec := c.View.Regions[lost]
	rec.Awaits = []string{survivor}
	c.View.Regions[lost] = rec
	return c
}

func TestRoutingGolden(t *testing.T) {
	config := regional.Routing(sample(), "beijing", "http://10.0.0.7:8080", agreed("shanghai"))
	got, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "routing.golden.json", append(got, '\n'))
}

func TestRoutingGoldenWhileOwnersChange(t *testing.T) {
	rs := sample()
	rs.Spec.Ownership = append(rs.Spec.Ownership, reweighted(rs))
	got, err := json.MarshalIndent(regional.Routing(rs, "beijing", "http://10.0.0.7:8080", changing(other)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "routing-closing.golden.json", append(got, '\n'))
}

func TestMayRunOwnerOnly(t *testing.T) {
	with := func(c ownership.Configuration, change func(map[string]ownership.RegionRecord, *ownership.ServiceRecord)) ownership.Configuration {
		record := c.Services["uid-1"]
		change(c.View.Regions, &record)
		c.Services["uid-1"] = record
		return c
	}
	closing := func(before, next ownership.RegionState) ownership.Configuration {
		c := agreed()
		c.View.Phase, c.View.Previous = ownership.PhaseClosing, agreed().View.Regions
		c.View.Previous["beijing"], c.View.Regions["beijing"] = ownership.RegionRecord{State: before}, ownership.RegionRecord{State: next}
		return c
	}
	for name, test := range map[string]struct {
		agreed ownership.Configuration
		want   string // the region that runs them, of beijing, shanghai and shenzhen, which has no weight
	}{
		"all serve":         {agreed(), "beijing"},
		"the first is lost": {agreed("beijing"), "shanghai"},
		"nobody is left":    {agreed("beijing", "shanghai"), ""},
		"the first is drained": {with(agreed(), func(r map[string]ownership.RegionRecord, _ *ownership.ServiceRecord) {
			r["beijing"] = ownership.RegionRecord{State: ownership.RegionDrained}
		}), "shanghai"},
		"the first is excluded": {with(agreed(), func(_ map[string]ownership.RegionRecord, s *ownership.ServiceRecord) {
			s.Excluded = []string{"beijing"}
		}), "shanghai"},
		"a person has to approve": {with(agreed("beijing"), func(_ map[string]ownership.RegionRecord, s *ownership.ServiceRecord) { s.Manual = true }), ""},
		"being drained":           {closing(ownership.RegionServing, ownership.RegionDrained), ""},
		"being handed back":       {closing(ownership.RegionReturning, ownership.RegionServing), ""},
		"another is being moved":  {closing(ownership.RegionServing, ownership.RegionServing), "beijing"},
		"being deleted":           {with(agreed(), func(_ map[string]ownership.RegionRecord, s *ownership.ServiceRecord) { s.Deleted = true }), ""},
		"the spec is not here":    {with(agreed(), func(_ map[string]ownership.RegionRecord, s *ownership.ServiceRecord) { s.SpecHash = other }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, region := range []string{"beijing", "shanghai", "shenzhen"} {
				if got := regional.MayRunOwnerOnly(&sample().Spec, region, test.agreed); got != (region == test.want) {
					t.Errorf("%s: %t", region, got)
				}
			}
		})
	}
}

func TestRouting(t *testing.T) {
	flow := func(c routing.Config, name string) routing.Flow {
		for _, f := range c.Flows {
			if f.Name == name {
				return f
			}
		}
		t.Errorf("flow %s is not routed", name)
		return routing.Flow{}
	}
	record := func(c ownership.Configuration, change func(*ownership.ServiceRecord)) ownership.Configuration {
		r := c.Services["uid-1"]
		change(&r)
		c.Services["uid-1"] = r
		return c
	}
	for name, test := range map[string]struct {
		slice  func(*v1alpha1.RegionalService)
		agreed ownership.Configuration
		closed string
		check  func(*testing.T, routing.Config)
	}{
		"in force": {agreed: agreed(), check: func(t *testing.T, c routing.Config) {
			if string(c.PeerKey) != "secret" || c.Epoch != 7 || c.UID != "uid-1" {
				t.Errorf("peer key, epoch or UID is wrong: %+v", c)
			}
		}},
		"not agreed on yet": {
			agreed: ownership.Configuration{View: agreed().View}, closed: "not agreed",
			check: func(t *testing.T, c routing.Config) {
				if len(c.Flows) != 3 {
					t.Errorf("any-region flows do not go on: %+v", c.Flows)
				}
			},
		},
		"a hash that is not here": {
			agreed: record(agreed(), func(r *ownership.ServiceRecord) { r.SpecHash = other }), closed: other,
		},
		"an empty hash": {
			slice:  func(rs *v1alpha1.RegionalService) { rs.Spec.Ownership[0].Hash = "" },
			agreed: record(agreed(), func(r *ownership.ServiceRecord) { r.SpecHash = "" }), closed: "lacks",
		},
		"being deleted": {
			agreed: record(agreed(), func(r *ownership.ServiceRecord) { r.Deleted = true }), closed: "deleted",
		},
		"no ownership at all": {
			slice: func(rs *v1alpha1.RegionalService) { rs.Spec.Ownership = nil }, agreed: agreed(), closed: "lacks",
		},
		"the successor is named": {
			slice: func(rs *v1alpha1.RegionalService) {
				rs.Spec.Ownership = append(rs.Spec.Ownership, reweighted(rs))
			},
			agreed: record(agreed(), func(r *ownership.ServiceRecord) { r.SpecHash = other }),
			check: func(t *testing.T, c routing.Config) {
				if c.Regions[0].Weight != 90 {
					t.Errorf("weight %d is not the successor's", c.Regions[0].Weight)
				}
			},
		},
		"excluded and handed back": {
			agreed: record(agreed("shanghai"), func(r *ownership.ServiceRecord) {
				r.Excluded, r.HandedBack = []string{"beijing"}, map[string]int64{"shanghai": 3}
			}),
			check: func(t *testing.T, c routing.Config) {
				if !c.Regions[0].Excluded || !c.Regions[1].HandedBack || c.Regions[1].State != ownership.RegionLost {
					t.Errorf("regions are %+v", c.Regions)
				}
			},
		},
		"a loss that nobody may take over": {
			agreed: awaiting(record(agreed("shanghai"), func(r *ownership.ServiceRecord) { r.Manual = true }), "shanghai", "beijing"),
			check: func(t *testing.T, c routing.Config) {
				want := ownership.RegionView{
					WeightedRegion: ownership.WeightedRegion{Name: "shanghai", Weight: 50}, State: ownership.RegionLost,
					Withheld: true, Unshipped: true, Behind: []string{"shenzhen"}, Awaits: []string{"beijing"},
				}
				if diff := cmp.Diff(want, c.Regions[1].View()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			},
		},
		"owners change": {
			slice:  func(rs *v1alpha1.RegionalService) { rs.Spec.Ownership = append(rs.Spec.Ownership, reweighted(rs)) },
			agreed: changing(other),
			check: func(t *testing.T, c routing.Config) {
				want := []routing.Region{
					{Name: "beijing", Weight: 50, State: ownership.RegionServing},
					{Name: "shanghai", Weight: 50, State: ownership.RegionServing, HandedBack: true},
					{Name: "shenzhen", State: ownership.RegionServing},
				}
				if diff := cmp.Diff(want, c.Before); diff != "" || !c.Closing || c.Regions[0].Weight != 90 || c.Regions[1].State != ownership.RegionDrained {
					t.Errorf("closing %t, regions %+v, before (-want +got)\n%s", c.Closing, c.Regions, diff)
				}
			},
		},
		"owners change, and the spec before is not here": {
			slice: func(rs *v1alpha1.RegionalService) { rs.Spec.Ownership[0] = reweighted(rs) }, agreed: changing(other), closed: hash,
		},
		"owners change, and the spec to come is not here": {agreed: changing(other), closed: other},
		"flows are declared anew": {
			slice: func(rs *v1alpha1.RegionalService) {
				next := reweighted(rs)
				next.Flows[1].Pinned = []string{"shanghai"}
				rs.Spec.Ownership = append(rs.Spec.Ownership, next)
			},
			agreed: changing(other), closed: "declared anew",
		},
		"unmatched requests are declared anew": {
			slice: func(rs *v1alpha1.RegionalService) {
				next := reweighted(rs)
				next.Unmatched = &v1alpha1.Unmatched{SafeMethods: v1alpha1.UnmatchedHomeRegion, Key: "phone"}
				rs.Spec.Ownership = append(rs.Spec.Ownership, next)
			},
			agreed: changing(other), closed: "declared anew",
		},
		"the default for unmatched requests is spelt out": {
			slice: func(rs *v1alpha1.RegionalService) {
				next := reweighted(rs)
				next.Unmatched = &v1alpha1.Unmatched{OtherMethods: v1alpha1.UnmatchedReject}
				rs.Spec.Ownership = append(rs.Spec.Ownership, next)
			},
			agreed: changing(other),
		},
		"owners of other services change": {agreed: changing(hash), check: func(t *testing.T, c routing.Config) {
			if !c.Closing || len(c.Before) != 3 {
				t.Errorf("closing %t, before %+v", c.Closing, c.Before)
			}
		}},
		"an owner without endpoint still counts": {
			slice: func(rs *v1alpha1.RegionalService) { rs.Spec.Peers = rs.Spec.Peers[:1] }, agreed: agreed(),
			check: func(t *testing.T, c routing.Config) {
				if len(c.Regions) != 3 || c.Regions[1].Name != "shanghai" || c.Regions[1].Weight != 50 {
					t.Errorf("regions are %+v; leaving one out moves its slots", c.Regions)
				}
			},
		},
		"degraded": {agreed: agreed("shanghai"), check: func(t *testing.T, c routing.Config) {
			if flow(c, "login").Degraded || !flow(c, "register").Degraded || !flow(c, "register").Shed || flow(c, "audit").Degraded {
				t.Errorf("flows are %+v", c.Flows)
			}
		}},
		"unmatched by default": {agreed: agreed(), check: func(t *testing.T, c routing.Config) {
			if c.Unmatched != (routing.Unmatched{SafeMethods: "AnyRegion", OtherMethods: "Reject"}) {
				t.Errorf("unmatched is %+v", c.Unmatched)
			}
		}},
		"unmatched as declared with the ownership": {
			slice: func(rs *v1alpha1.RegionalService) {
				rs.Spec.Unmatched = &v1alpha1.Unmatched{OtherMethods: v1alpha1.UnmatchedHomeRegion, Key: "phone"}
				rs.Spec.Ownership[0].Unmatched = &v1alpha1.Unmatched{SafeMethods: v1alpha1.UnmatchedReject}
			},
			agreed: agreed(),
			check: func(t *testing.T, c routing.Config) {
				if c.Unmatched != (routing.Unmatched{SafeMethods: "Reject", OtherMethods: "Reject"}) {
					t.Errorf("unmatched is %+v", c.Unmatched)
				}
			},
		},
		"unmatched as declared": {
			slice: func(rs *v1alpha1.RegionalService) {
				rs.Spec.Unmatched = &v1alpha1.Unmatched{OtherMethods: v1alpha1.UnmatchedHomeRegion, Key: "phone"}
			},
			agreed: agreed(),
			check: func(t *testing.T, c routing.Config) {
				if c.Unmatched != (routing.Unmatched{SafeMethods: "AnyRegion", OtherMethods: "HomeRegion", Key: "phone"}) {
					t.Errorf("unmatched is %+v", c.Unmatched)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			if test.slice != nil {
				test.slice(rs)
			}
			got := regional.Routing(rs, "beijing", "http://10.0.0.7:8080", test.agreed)
			if got.Closed != (test.closed != "") || !strings.Contains(got.ClosedReason, test.closed) {
				t.Errorf("closed %t (%s), want %q", got.Closed, got.ClosedReason, test.closed)
			}
			if test.check != nil {
				test.check(t, got)
			}
		})
	}
}
