package whatif

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

var regionNames = []string{"beijing", "shanghai", "shenzhen"}

// service has a flow of each kind that a loss touches in another way.
func service(weights ...int32) *v1alpha1.MultiActiveService {
	mas := &v1alpha1.MultiActiveService{}
	mas.Namespace, mas.Name, mas.UID, mas.Generation = "accounts", "user", "u", 1
	for i, name := range regionNames {
		mas.Spec.Regions = append(mas.Spec.Regions, v1alpha1.ServiceRegion{Name: name, Weight: ptr.To(weights[i]), Endpoint: "https://" + name + ".example.com"})
	}
	mas.Spec.Partition = &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "phone"}}}
	home := func(name string, action v1alpha1.HomeLossAction) v1alpha1.Flow {
		return v1alpha1.Flow{Name: name, Key: "phone", ServedBy: v1alpha1.ServedByHomeRegion, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: action}}
	}
	mas.Spec.Flows = []v1alpha1.Flow{{Name: "login", Tier: v1alpha1.TierCore, ServedBy: v1alpha1.ServedByAnyRegion}, home("register", v1alpha1.HomeLossReject), home("settings", v1alpha1.HomeLossTakeover)}
	return mas
}

// reported fills the service's status in as the hub does.
func reported(mas *v1alpha1.MultiActiveService, c ownership.Configuration, record ownership.ServiceRecord) {
	mas.Status.ObservedGeneration = mas.Generation
	mas.Status.Summary = &v1alpha1.ServiceSummary{Epoch: c.View.Epoch}
	for _, r := range mas.Spec.Regions {
		owns := v1alpha1.No
		if *r.Weight > 0 && flows.Owns(c, record, r.Name) {
			owns = v1alpha1.Yes
		}
		mas.Status.Regions = append(mas.Status.Regions, v1alpha1.ServiceRegionStatus{Name: r.Name, State: plan.Phase(c.View.Regions[r.Name], true), Owns: owns})
	}
	own := desired.Ownership(mas)
	for _, s := range flows.Evaluate(own, desired.Build(desired.Input{Service: mas}, regionNames[0]).Spec.Behaviours, c, record) {
		mas.Status.Flows = append(mas.Status.Flows, v1alpha1.FlowStatus{Name: s.Name, State: s.State, Action: s.Action, AffectedKeysPercent: ptr.To(s.AffectedPercent)})
		for _, rec := range c.View.Regions {
			if rec.Rehearses() && s.State != v1alpha1.FlowAvailable {
				meta.SetStatusCondition(&mas.Status.Conditions, metav1.Condition{
					Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRegionInDrill,
				})
			}
		}
	}
}

// configuration draws what the regions may have agreed on: at most one of them is lost, or on its way back.
func configuration(t *rapid.T, mas *v1alpha1.MultiActiveService) (ownership.Configuration, ownership.ServiceRecord) {
	record := ownership.ServiceRecord{UID: "u", Namespace: "accounts", Name: "user"}
	record.SpecHash, record.Regions = desired.Ownership(mas).Hash, regionNames
	record.Approved, record.HandedBack = map[string]int64{}, map[string]int64{}
	record.Manual = rapid.Bool().Draw(t, "manual")
	if record.Manual {
		mas.Spec.Failover = &v1alpha1.Failover{Mode: "Manual"}
	}
	c := ownership.Configuration{View: ownership.View{Epoch: 9, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}}}
	drill := rapid.Bool().Draw(t, "drill")
	away := rapid.IntRange(-1, len(regionNames)-1).Draw(t, "away")
	for i, name := range regionNames {
		rec := ownership.RegionRecord{State: ownership.RegionServing, Role: "Active"}
		switch kind := rapid.IntRange(0, 5).Draw(t, name); {
		case i == away && kind < 2:
			rec.State, rec.Unshipped, rec.LostEpoch = ownership.RegionLost, *mas.Spec.Regions[i].Weight > 0, 8
			if rapid.Bool().Draw(t, "approved") {
				record.Approved[name] = 8
			}
		case i == away && kind < 4:
			rec.State, rec.LostEpoch, rec.ReturnedEpoch = ownership.RegionReturning, 7, 8
			if rapid.Bool().Draw(t, "handedBack") {
				record.HandedBack[name] = 8
			} else {
				rec.Unshipped = *mas.Spec.Regions[i].Weight > 0
				record.Approved[name] = 7
			}
		case i != away && away < 0 && kind == 4:
			rec.State = ownership.RegionDrained
			if drill {
				rec.Drill, rec.Rehearsal = "d-12345678", true
			}
		case i != away && away < 0 && kind == 5:
			record.Excluded = append(record.Excluded, name)
		}
		c.View.Regions[name] = rec
	}
	c.Services = map[string]ownership.ServiceRecord{"u": record}
	return c, record
}

// What the hub reports is enough to find out who owns what, and how flows are served.
func TestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weight := rapid.SampledFrom([]int32{0, 50, 100})
		mas := service(100, weight.Draw(t, "shanghai's"), weight.Draw(t, "shenzhen's"))
		c, record := configuration(t, mas)
		reported(mas, c, record)
		got := Of(mas, nil)
		own := desired.Ownership(mas)
		want := owners(own, Agreed{Configuration: c, Record: record})
		if diff := cmp.Diff(want, owners(own, got)); diff != "" {
			t.Errorf("owners are other ones (-agreed +reckoned):\n%s", diff[:min(len(diff), 600)])
		}
		behaviours := desired.Build(desired.Input{Service: mas}, regionNames[0]).Spec.Behaviours
		if diff := cmp.Diff(flows.Evaluate(own, behaviours, c, record), flows.Evaluate(own, behaviours, got.Configuration, got.Record)); diff != "" {
			t.Errorf("flows are served otherwise (-agreed +reckoned):\n%s", diff)
		}
	})
}

func TestRegion(t *testing.T) {
	mas := service(50, 50, 0)
	all := map[string]ownership.RegionRecord{}
	for _, name := range regionNames {
		all[name] = ownership.RegionRecord{State: ownership.RegionServing, Role: "Active"}
	}
	reported(mas, ownership.Configuration{View: ownership.View{Epoch: 3, Phase: ownership.PhaseOpen, Regions: all}}, ownership.ServiceRecord{UID: "u"})
	for name, c := range map[string]struct {
		event  Event
		region string
		moves  []Move
		after  []FlowServed
	}{
		"lost": {Lost, "beijing", []Move{{From: "beijing", To: "shanghai", Slots: 524, Incomplete: true}}, []FlowServed{
			{State: v1alpha1.FlowAvailable}, {State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReject, AffectedPercent: 52}, {State: v1alpha1.FlowAvailable},
		}},
		"drained": {Drained, "beijing", []Move{{From: "beijing", To: "shanghai", Slots: 524}}, []FlowServed{
			{State: v1alpha1.FlowAvailable}, {State: v1alpha1.FlowAvailable}, {State: v1alpha1.FlowAvailable},
		}},
		"one that owns nothing": {Lost, "shenzhen", []Move{}, []FlowServed{
			{State: v1alpha1.FlowAvailable}, {State: v1alpha1.FlowAvailable}, {State: v1alpha1.FlowAvailable},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := Region(c.event, c.region, mas, nil)
			if diff := cmp.Diff(c.moves, e.Moves); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
			for i, f := range e.Flows {
				if f.After != c.after[i] || f.Before.State != v1alpha1.FlowAvailable {
					t.Errorf("%s is served %+v and then %+v, want %+v", f.Name, f.Before, f.After, c.after[i])
				}
			}
		})
	}
	if e := Region(Lost, "guangzhou", mas, nil); e != nil {
		t.Errorf("a region that the service is not in has the effect %+v", e)
	}
}

// An event that is undone has no effect.
func TestBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mas := service(100, 50, 50)
		c, record := configuration(t, mas)
		reported(mas, c, record)
		a := Of(mas, nil)
		region := rapid.SampledFrom(regionNames).Draw(t, "region")
		own := desired.Ownership(mas)
		if a.Configuration.View.Regions[region].State != ownership.RegionServing || len(a.Record.Excluded) > 0 {
			return
		}
		if diff := cmp.Diff(owners(own, a), owners(own, a.with(Drained, region).with(Back, region))); diff != "" {
			t.Errorf("drained and back, owners are other ones:\n%s", diff[:min(len(diff), 600)])
		}
	})
}
