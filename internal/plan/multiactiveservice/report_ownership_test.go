package multiactiveservice_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// Whether a region owns keys, and what a region that does not waits for.
func TestOwnsAndWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		region  func(*ownership.RegionRecord)
		service func(*ownership.ServiceRecord)
		view    func(*ownership.View)
		owns    v1alpha1.WorkState
		reason  string
		words   []string
	}{
		"lost": {
			region: func(r *ownership.RegionRecord) { r.State, r.Unshipped, r.LostEpoch = ownership.RegionLost, true, 7 },
			owns:   v1alpha1.No, reason: v1alpha1.ReasonRegionLost, words: []string{"the others go on"},
		},
		"lost, and a person has to approve": {
			region:  func(r *ownership.RegionRecord) { r.State, r.Unshipped, r.LostEpoch = ownership.RegionLost, true, 7 },
			service: func(s *ownership.ServiceRecord) { s.Manual = true },
			owns:    v1alpha1.No, reason: v1alpha1.ReasonFailoverAwaited,
			words: []string{`"type":"ApproveFailover"`, `"region":"beijing"`, `"name":"user"`},
		},
		"lost, and approved": {
			region: func(r *ownership.RegionRecord) { r.State, r.Unshipped, r.LostEpoch = ownership.RegionLost, true, 7 },
			service: func(s *ownership.ServiceRecord) {
				s.Manual, s.Approved = true, map[string]int64{"beijing": 7}
			},
			owns: v1alpha1.No, reason: v1alpha1.ReasonRegionLost,
		},
		"approved for an earlier loss": {
			region: func(r *ownership.RegionRecord) { r.State, r.Unshipped, r.LostEpoch = ownership.RegionLost, true, 7 },
			service: func(s *ownership.ServiceRecord) {
				s.Manual, s.Approved = true, map[string]int64{"beijing": 3}
			},
			owns: v1alpha1.No, reason: v1alpha1.ReasonFailoverAwaited,
		},
		"lost for good": {
			region: func(r *ownership.RegionRecord) { r.State, r.Gone = ownership.RegionLost, true },
			owns:   v1alpha1.No, reason: v1alpha1.ReasonRegionLost, words: []string{"take it out of spec.regions"},
		},
		"returning, and a person has to order it": {
			region: func(r *ownership.RegionRecord) { r.State, r.ReturnedEpoch = ownership.RegionReturning, 6 },
			owns:   v1alpha1.No, reason: v1alpha1.ReasonHandbackAwaited, words: []string{`"type":"Handback"`, "kubectl create -f -"},
		},
		"returning by itself": {
			region:  func(r *ownership.RegionRecord) { r.State, r.ReturnedEpoch = ownership.RegionReturning, 6 },
			service: func(s *ownership.ServiceRecord) { s.Handback = ownership.HandbackAutomatic },
			owns:    v1alpha1.No, reason: v1alpha1.ReasonRegionReturning, words: []string{"has caught up"},
		},
		"returning and handed back": {
			region:  func(r *ownership.RegionRecord) { r.State, r.ReturnedEpoch = ownership.RegionReturning, 6 },
			service: func(s *ownership.ServiceRecord) { s.HandedBack = map[string]int64{"beijing": 6} },
			owns:    v1alpha1.Yes, reason: v1alpha1.ReasonRegionReturning, words: []string{"owns its keys of this service again"},
		},
		"handed back for an earlier return": {
			region:  func(r *ownership.RegionRecord) { r.State, r.ReturnedEpoch = ownership.RegionReturning, 6 },
			service: func(s *ownership.ServiceRecord) { s.HandedBack = map[string]int64{"beijing": 4} },
			owns:    v1alpha1.No, reason: v1alpha1.ReasonHandbackAwaited,
		},
		"being handed back: not yet": {
			region: func(r *ownership.RegionRecord) { r.State, r.ReturnedEpoch = ownership.RegionReturning, 6 },
			service: func(s *ownership.ServiceRecord) {
				was := s.ServiceState
				s.Previous, s.Base, s.HandedBack = &was, 7, map[string]int64{"beijing": 6}
			},
			view: func(v *ownership.View) { v.Phase, v.Base, v.Previous = ownership.PhaseClosing, 7, v.Regions },
			owns: v1alpha1.No, reason: v1alpha1.ReasonRegionReturning,
		},
		"drained": {
			region: func(r *ownership.RegionRecord) { r.State = ownership.RegionDrained },
			owns:   v1alpha1.No, reason: v1alpha1.ReasonRegionDrained, words: []string{`"type":"Undrain"`},
		},
		"out for a drill": {
			region: func(r *ownership.RegionRecord) {
				r.State, r.Drill, r.Rehearsal = ownership.RegionDrained, "d-12345678", true
			},
			owns: v1alpha1.No, reason: v1alpha1.ReasonRegionInDrill, words: []string{"Operation d", `"course":"Abort"`},
		},
		"back from a drill, which waits for nobody": {
			region: func(r *ownership.RegionRecord) {
				r.State, r.Drill, r.ReturnedEpoch = ownership.RegionReturning, "d-12345678", 6
			},
			owns: v1alpha1.No, reason: v1alpha1.ReasonRegionInDrill, words: []string{"by itself"},
		},
		"drained of this service": {
			service: func(s *ownership.ServiceRecord) { s.Excluded = []string{"beijing"} },
			owns:    v1alpha1.No, reason: v1alpha1.ReasonRegionDrained, words: []string{`"type":"Undrain"`, `"name":"user"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			rec, record := seen.Configuration.View.Regions["beijing"], seen.Configuration.Services[uid]
			if c.region != nil {
				c.region(&rec)
			}
			if c.service != nil {
				c.service(&record)
			}
			seen.Configuration.View.Regions["beijing"], seen.Configuration.Services[uid] = rec, record
			if c.view != nil {
				c.view(&seen.Configuration.View)
			}
			plan.Report(start, mas, seen, plan.Plan{}, true)
			if got := mas.Status.Regions[0].Owns; got != c.owns {
				t.Errorf("owns is %s, want %s", got, c.owns)
			}
			if got := mas.Status.Regions[1].Owns; got != v1alpha1.Yes {
				t.Errorf("owns of shanghai is %s", got)
			}
			if got := mas.Status.Regions[2].Owns; got != v1alpha1.No {
				t.Errorf("owns of shenzhen, which has no weight, is %s", got)
			}
			got := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionRegionsHealthy)
			if got.Reason != c.reason {
				t.Errorf("RegionsHealthy is %s (%s), want %s", got.Reason, got.Message, c.reason)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Message, word) {
					t.Errorf("%q does not say %q", got.Message, word)
				}
			}
		})
	}
}
