package flows

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

func view(states map[string]ownership.RegionState) ownership.View {
	v := ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}}
	for name, s := range states {
		v.Regions[name] = ownership.RegionRecord{State: s}
	}
	return v
}

func TestEvaluate(t *testing.T) {
	own := v1alpha1.OwnershipSlice{
		Regions: []v1alpha1.RegionWeight{{Name: "a", Weight: 1}, {Name: "b", Weight: 0}},
		Flows: []v1alpha1.FlowRouting{
			{Name: "login", ServedBy: v1alpha1.ServedByAnyRegion},
			{Name: "register", ServedBy: v1alpha1.ServedByHomeRegion},
			{Name: "profile", ServedBy: v1alpha1.ServedByHomeRegion},
			{Name: "report", ServedBy: v1alpha1.ServedByHomeRegion, Pinned: []string{"b"}},
		},
	}
	behaviours := []v1alpha1.FlowBehaviour{
		{Name: "login", Tier: v1alpha1.TierCore},
		{Name: "register", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}},
		{Name: "profile", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossReadOnly}},
		{Name: "report", Tier: v1alpha1.TierNonCore},
	}
	ok := func(name string, core bool) State {
		return State{Name: name, Core: core, State: v1alpha1.FlowAvailable}
	}
	tests := map[string]struct {
		view   ownership.View
		record ownership.ServiceRecord
		want   []State
	}{
		"all serve": {
			view: view(map[string]ownership.RegionState{"a": ownership.RegionServing, "b": ownership.RegionServing}),
			want: []State{ok("login", true), ok("register", false), ok("profile", false), ok("report", false)},
		},
		"the only owner is lost": {
			view: view(map[string]ownership.RegionState{"a": ownership.RegionLost, "b": ownership.RegionServing}),
			want: []State{
				ok("login", true),
				{Name: "register", State: v1alpha1.FlowUnavailable, Action: v1alpha1.HomeLossReject, AffectedPercent: 100},
				{Name: "profile", State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReadOnly, AffectedPercent: 100},
				ok("report", false),
			},
		},
		"excluded owns nothing": {
			view:   view(map[string]ownership.RegionState{"a": ownership.RegionServing, "b": ownership.RegionServing}),
			record: ownership.ServiceRecord{Excluded: []string{"b"}},
			want: []State{
				ok("login", true), ok("register", false), ok("profile", false),
				{Name: "report", State: v1alpha1.FlowUnavailable, Action: v1alpha1.HomeLossReject, AffectedPercent: 100},
			},
		},
		"returning owns what was handed back": {
			view:   view(map[string]ownership.RegionState{"a": ownership.RegionReturning, "b": ownership.RegionServing}),
			record: ownership.ServiceRecord{HandedBack: []string{"a"}},
			want:   []State{ok("login", true), ok("register", false), ok("profile", false), ok("report", false)},
		},
		"nobody serves": {
			view: view(map[string]ownership.RegionState{"a": ownership.RegionLost}),
			want: []State{
				{Name: "login", Core: true, State: v1alpha1.FlowUnavailable, Action: v1alpha1.HomeLossReject, AffectedPercent: 100},
				{Name: "register", State: v1alpha1.FlowUnavailable, Action: v1alpha1.HomeLossReject, AffectedPercent: 100},
				{Name: "profile", State: v1alpha1.FlowUnavailable, Action: v1alpha1.HomeLossReject, AffectedPercent: 100},
				{Name: "report", State: v1alpha1.FlowUnavailable, Action: v1alpha1.HomeLossReject, AffectedPercent: 100},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Evaluate(own, behaviours, tt.view, tt.record)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEvaluateCountsOnlyAffectedKeys(t *testing.T) {
	own := v1alpha1.OwnershipSlice{
		Regions: []v1alpha1.RegionWeight{{Name: "a", Weight: 50}, {Name: "b", Weight: 50}, {Name: "c", Weight: 0}},
		Flows:   []v1alpha1.FlowRouting{{Name: "register", ServedBy: v1alpha1.ServedByHomeRegion}},
	}
	got := Evaluate(own, nil, view(map[string]ownership.RegionState{
		"a": ownership.RegionLost, "b": ownership.RegionServing, "c": ownership.RegionServing,
	}), ownership.ServiceRecord{})
	if got[0].State != v1alpha1.FlowDegraded || got[0].AffectedPercent < 40 || got[0].AffectedPercent > 60 {
		t.Errorf("got %+v, want Degraded for about half of the keys", got[0])
	}
}
