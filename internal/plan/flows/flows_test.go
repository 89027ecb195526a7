package flows

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// states are the regions' records of a view; lost ones have not shipped everything.
func states(of map[string]ownership.RegionState) map[string]ownership.RegionRecord {
	out := map[string]ownership.RegionRecord{}
	for name, s := range of {
		out[name] = ownership.RegionRecord{State: s, Unshipped: s == ownership.RegionLost, LostEpoch: 1, ReturnedEpoch: 1}
	}
	return out
}

func open(of map[string]ownership.RegionState) ownership.View {
	return ownership.View{Epoch: 3, Phase: ownership.PhaseOpen, Regions: states(of)}
}

// closing is a view in which owners change.
func closing(kind ownership.ChangeKind, before, next map[string]ownership.RegionState) ownership.View {
	return ownership.View{
		Epoch: 3, Phase: ownership.PhaseClosing, Regions: states(next), Previous: states(before), Base: 2,
		Change: &ownership.Change{Kind: kind},
	}
}

// The flows' data is at home in a alone; b is next where homes are ranked.
func TestEvaluate(t *testing.T) {
	type of = map[string]ownership.RegionState
	const serving, lost, returning, drained = ownership.RegionServing, ownership.RegionLost, ownership.RegionReturning, ownership.RegionDrained
	home := func(name string, pinned ...string) v1alpha1.FlowRouting {
		return v1alpha1.FlowRouting{Name: name, ServedBy: v1alpha1.ServedByHomeRegion, Pinned: pinned}
	}
	own := v1alpha1.OwnershipSlice{
		Regions: []v1alpha1.RegionWeight{{Name: "a", Weight: 1}, {Name: "b", Weight: 0}},
		Flows: []v1alpha1.FlowRouting{
			{Name: "login", ServedBy: v1alpha1.ServedByAnyRegion},
			home("pay", "a", "b"), home("register", "a", "b"), home("profile"), home("report", "b"), home("later", "a", "b"),
		},
	}
	behaviours := []v1alpha1.FlowBehaviour{
		{Name: "login", Tier: v1alpha1.TierCore},
		{Name: "pay", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}},
		{Name: "profile", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossReadOnly}},
		{Name: "later", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossDefer}},
	}
	degraded := func(state v1alpha1.FlowState, action v1alpha1.HomeLossAction) State {
		return State{State: state, Action: action, AffectedPercent: 100}
	}
	const takeover, readOnly, reject = v1alpha1.HomeLossTakeover, v1alpha1.HomeLossReadOnly, v1alpha1.HomeLossReject
	later := degraded(v1alpha1.FlowDegraded, v1alpha1.HomeLossDefer)
	unavailable, stale := degraded(v1alpha1.FlowUnavailable, reject), degraded(v1alpha1.FlowDegraded, readOnly)
	tests := map[string]struct {
		view   ownership.View
		record ownership.ServiceState
		// want has the flows that are not available.
		want map[string]State
	}{
		"all serve": {view: open(of{"a": serving, "b": serving})},
		"the home is lost: taken over, with something missing": {
			view: open(of{"a": lost, "b": serving}),
			want: map[string]State{"register": unavailable, "profile": stale, "later": later},
		},
		"the home is lost, and a person must approve": {
			view: open(of{"a": lost, "b": serving}), record: ownership.ServiceState{Manual: true},
			want: map[string]State{
				"pay": degraded(v1alpha1.FlowUnavailable, takeover), "register": unavailable, "profile": stale, "later": later,
			},
		},
		"a person has approved": {
			view: open(of{"a": lost, "b": serving}), record: ownership.ServiceState{Manual: true, Approved: map[string]int64{"a": 1}},
			want: map[string]State{"register": unavailable, "profile": stale, "later": later},
		},
		"the home is being lost": {
			view: closing(ownership.ChangeLoss, of{"a": serving, "b": serving}, of{"a": lost, "b": serving}),
			want: map[string]State{
				"pay": degraded(v1alpha1.FlowUnavailable, takeover), "register": unavailable, "profile": stale, "later": later,
			},
		},
		"the home is drained: the next has everything": {
			view: open(of{"a": drained, "b": serving}),
			want: map[string]State{"profile": stale}, // nobody but a has a weight
		},
		"the home is being drained": {view: closing(ownership.ChangeDrain, of{"a": serving, "b": serving}, of{"a": drained, "b": serving})},
		"the home comes back": {
			view: closing(ownership.ChangeHandback, of{"a": returning, "b": serving}, of{"a": serving, "b": serving}),
			want: map[string]State{"profile": stale},
		},
		"excluded owns nothing": {
			view: open(of{"a": serving, "b": serving}), record: ownership.ServiceState{Excluded: []string{"b"}},
			want: map[string]State{"report": unavailable},
		},
		"returning owns what was handed back": {
			view: open(of{"a": returning, "b": serving}), record: ownership.ServiceState{HandedBack: map[string]int64{"a": 1}},
		},
		"handed back on an earlier return": {
			view: open(of{"a": returning, "b": serving}), record: ownership.ServiceState{HandedBack: map[string]int64{"a": 9}},
			want: map[string]State{"profile": stale},
		},
		"nobody serves": {
			view: open(of{"a": lost}),
			want: map[string]State{
				"login": unavailable, "pay": unavailable, "register": unavailable, "profile": unavailable, "report": unavailable, "later": unavailable,
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := map[string]State{}
			for _, s := range Evaluate(own, behaviours, ownership.Configuration{View: tt.view}, ownership.ServiceRecord{ServiceState: tt.record}) {
				if s.Core != (s.Name == "login") {
					t.Errorf("%s: core is %t", s.Name, s.Core)
				}
				if s.State != v1alpha1.FlowAvailable {
					got[s.Name] = State{State: s.State, Action: s.Action, AffectedPercent: s.AffectedPercent}
				}
			}
			if tt.want == nil {
				tt.want = map[string]State{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEvaluateCountsOnlyAffectedKeys(t *testing.T) {
	own := v1alpha1.OwnershipSlice{
		Regions: []v1alpha1.RegionWeight{{Name: "a", Weight: 50}, {Name: "b", Weight: 50}, {Name: "c", Weight: 0}},
		Flows:   []v1alpha1.FlowRouting{{Name: "register", ServedBy: v1alpha1.ServedByHomeRegion}},
	}
	got := Evaluate(own, nil, ownership.Configuration{View: open(map[string]ownership.RegionState{
		"a": ownership.RegionLost, "b": ownership.RegionServing, "c": ownership.RegionServing,
	})}, ownership.ServiceRecord{})
	if got[0].State != v1alpha1.FlowDegraded || got[0].AffectedPercent < 40 || got[0].AffectedPercent > 60 {
		t.Errorf("got %+v, want Degraded for about half of the keys", got[0])
	}
}

func TestOwns(t *testing.T) {
	type of = map[string]ownership.RegionState
	serving, drained := of{"a": ownership.RegionServing}, of{"a": ownership.RegionDrained}
	for name, tt := range map[string]struct {
		view ownership.View
		want bool
	}{
		"serves":     {open(serving), true},
		"drained":    {open(drained), false},
		"gives away": {closing(ownership.ChangeDrain, serving, drained), false},
		"is to own":  {closing(ownership.ChangeDrain, drained, serving), false},
		"goes on":    {closing(ownership.ChangeDrain, serving, serving), true},
	} {
		if got := Owns(ownership.Configuration{View: tt.view}, ownership.ServiceRecord{}, "a"); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}
