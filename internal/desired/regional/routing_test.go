package regional_test

import (
	"encoding/json"
	"strings"
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

func TestRoutingGolden(t *testing.T) {
	config := regional.Routing(sample(), "beijing", "http://10.0.0.7:8080", agreed("shanghai"))
	got, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "routing.golden.json", append(got, '\n'))
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
				next := *rs.Spec.Ownership[0].DeepCopy()
				next.Hash, next.Regions[0].Weight = other, 90
				rs.Spec.Ownership = append(rs.Spec.Ownership, next)
			},
			agreed: record(agreed(), func(r *ownership.ServiceRecord) { r.SpecHash = other }),
			check: func(t *testing.T, c routing.Config) {
				if c.Regions[0].Weight != 90 {
					t.Errorf("weight %d is not the successor's", c.Regions[0].Weight)
				}
			},
		},
		"excluded and handed back": {
			agreed: record(agreed("shanghai"), func(r *ownership.ServiceRecord) { r.Excluded, r.HandedBack = []string{"beijing"}, []string{"shanghai"} }),
			check: func(t *testing.T, c routing.Config) {
				if !c.Regions[0].Excluded || !c.Regions[1].HandedBack || c.Regions[1].State != ownership.RegionLost {
					t.Errorf("regions are %+v", c.Regions)
				}
			},
		},
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
