package multiactiveservice_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// carryOut plays the API servers and the members: slices are written and acted on, or deleted, and the
// store has what is proposed. It returns the steps as words.
func carryOut(t *testing.T, mas *v1alpha1.MultiActiveService, seen *plan.Seen) []string {
	t.Helper()
	p := plan.Decide(start, mas, *seen)
	for _, s := range p.Steps {
		switch s.Kind { //nolint:exhaustive // the others are for deletions
		case plan.StepStage:
			slice := s.Slice.DeepCopy()
			slice.Generation = 1
			if have := seen.Regions[s.Region].Slice; have != nil {
				slice.Generation = have.Generation + 1
			}
			report(slice, metav1.ConditionTrue)
			seen.Regions[s.Region].Slice = slice
		case plan.StepDelete:
			seen.Regions[s.Region].Slice = nil
		case plan.StepPropose:
			seen.Configuration.ServiceIntents[uid] = s.Intent
		}
	}
	return steps(p)
}

// shape is what a slice says of ownership: hashes by the names that the test gives them, and peers.
func shape(seen plan.Seen, region string, names map[string]string) string {
	slice := seen.Regions[region].Slice
	if slice == nil {
		return "none"
	}
	var out []string
	for _, o := range slice.Spec.Ownership {
		out = append(out, names[o.Hash]+"/"+string(o.Unmatched.OtherMethods))
	}
	out = append(out, string(slice.Spec.Unmatched.OtherMethods))
	for _, p := range slice.Spec.Peers {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

// A change that moves ownership is staged beside what is in force, also in the region that is to go, then
// proposed, then put in force by the leader; last the slices let go of what was, and then of the region.
func TestOwnershipChange(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	before := slices.Ownership(mas)
	mas.Generation = 2
	mas.Spec.Regions = mas.Spec.Regions[1:] // beijing is to go
	mas.Spec.Unmatched = &v1alpha1.Unmatched{OtherMethods: v1alpha1.UnmatchedAnyRegion}
	mas.Spec.Flows = mas.Spec.Flows[:1]
	after := slices.Ownership(mas)
	names := map[string]string{before.Hash: "old", after.Hash: "new"}
	is := func(what string, want []string) {
		t.Helper()
		if diff := cmp.Diff(want, carryOut(t, mas, &seen)); diff != "" {
			t.Fatalf("%s (-want +got)\n%s", what, diff)
		}
	}
	looks := func(region, want string) {
		t.Helper()
		if got := shape(seen, region, names); got != want {
			t.Errorf("%s has %q, want %q", region, got, want)
		}
	}
	record := func(edit func(*ownership.ServiceRecord, *ownership.View)) {
		r := seen.Configuration.Services[uid]
		edit(&r, &seen.Configuration.View)
		seen.Configuration.Services[uid] = r
	}

	is("staged", []string{"Stage shanghai", "Stage shenzhen", "Stage beijing"})
	for _, region := range []string{"beijing", "shanghai", "shenzhen"} {
		looks(region, "old/Reject new/AnyRegion Reject shanghai shenzhen beijing")
	}
	if b := seen.Regions["shanghai"].Slice.Spec.Behaviours; len(b) != 2 || b[1].Name != "register" {
		t.Errorf("behaviours are %v: the flow that goes is in force still", b)
	}
	is("acted on: proposed", []string{"Propose"})
	intent := seen.Configuration.ServiceIntents[uid]
	if diff := cmp.Diff([]string{"shanghai", "shenzhen"}, intent.Regions); diff != "" || names[intent.SpecHash] != "new" {
		t.Errorf("proposed %+v", intent)
	}
	is("proposed", nil)

	record(func(r *ownership.ServiceRecord, v *ownership.View) {
		was := r.ServiceState
		r.Previous, r.Base = &was, v.Epoch
		r.SpecHash, r.Regions = intent.SpecHash, intent.Regions
		v.Phase, v.Base, v.Previous = ownership.PhaseClosing, v.Epoch, v.Regions
		v.Epoch++
	})
	carryOut(t, mas, &seen)
	looks("shanghai", "old/Reject new/AnyRegion AnyRegion shanghai shenzhen beijing")

	record(func(_ *ownership.ServiceRecord, v *ownership.View) {
		v.Phase, v.Base, v.Previous = ownership.PhaseOpen, 0, nil
		v.Epoch++
	})
	seen.Configuration.Debts = map[string]ownership.Debt{"beijing": {Vector: ownership.Vector{"beijing": {}}}}
	carryOut(t, mas, &seen)
	looks("shanghai", "new/AnyRegion AnyRegion shanghai shenzhen beijing")
	looks("beijing", "new/AnyRegion AnyRegion shanghai shenzhen beijing")
	is("what beijing had is not everywhere yet", nil)

	seen.Configuration.Debts = nil
	is("the others let go of beijing", []string{"Stage shanghai", "Stage shenzhen"})
	looks("shanghai", "new/AnyRegion AnyRegion shanghai shenzhen")
	is("beijing goes", []string{"Delete beijing"})
	is("done", nil)
}

// A proposal that the leader has not put in force is taken back when the declaration changes again, and
// the slices keep what it named until then.
func TestOwnershipChangeOfMind(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	inForce := slices.Ownership(mas).Hash
	mas.Spec.Regions[2].Weight = ptr.To[int32](50)
	carryOut(t, mas, &seen)
	carryOut(t, mas, &seen)
	second := slices.Ownership(mas).Hash
	if got := seen.Configuration.ServiceIntents[uid].SpecHash; got != second {
		t.Fatalf("proposed %s, want %s", got, second)
	}
	mas.Spec.Regions[2].Weight = ptr.To[int32](70)
	third := slices.Ownership(mas).Hash
	if diff := cmp.Diff([]string{"Stage beijing", "Stage shanghai", "Stage shenzhen", "Propose"}, carryOut(t, mas, &seen)); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	var hashes []string
	for _, o := range seen.Regions["beijing"].Slice.Spec.Ownership {
		hashes = append(hashes, o.Hash)
	}
	if diff := cmp.Diff([]string{inForce, second, third}, hashes); diff != "" {
		t.Errorf("hashes (-want +got)\n%s", diff)
	}
	if got := seen.Configuration.ServiceIntents[uid].SpecHash; got != inForce {
		t.Errorf("proposed %s while the third is being staged, want what is in force, %s", got, inForce)
	}
	for range 3 {
		carryOut(t, mas, &seen)
	}
	if got := seen.Configuration.ServiceIntents[uid].SpecHash; got != third {
		t.Errorf("proposed %s, want the third %s", got, third)
	}
}

func TestWhatIsProposed(t *testing.T) {
	t.Parallel()
	mas := service()
	mas.Spec.Failover = &v1alpha1.Failover{Mode: "Manual", Handback: "Automatic"}
	seen := healthy(mas)
	if diff := cmp.Diff([]string{"Propose"}, carryOut(t, mas, &seen)); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	want := ownership.ServiceIntent{
		UID: uid, Namespace: "accounts", Name: "user", SpecHash: slices.Ownership(mas).Hash,
		Regions: []string{"beijing", "shanghai", "shenzhen"}, Manual: true, Handback: ownership.HandbackAutomatic,
	}
	if diff := cmp.Diff(want, seen.Configuration.ServiceIntents[uid]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What the change waits for is told with the next step, and it is not proposed.
func TestObstacles(t *testing.T) {
	t.Parallel()
	state := func(s *plan.Seen, region string, edit func(*ownership.RegionRecord)) {
		rec := s.Configuration.View.Regions[region]
		edit(&rec)
		s.Configuration.View.Regions[region] = rec
	}
	for name, c := range map[string]struct {
		world  func(*v1alpha1.MultiActiveService, *plan.Seen)
		reason string
		words  []string
	}{
		"nothing": {
			world:  func(*v1alpha1.MultiActiveService, *plan.Seen) {},
			reason: v1alpha1.ReasonOwnershipChangePending, words: []string{"owners are about to change"},
		},
		"a region is lost": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				state(s, "beijing", func(r *ownership.RegionRecord) { r.State, r.Unshipped = ownership.RegionLost, true })
			},
			reason: v1alpha1.ReasonOwnershipChangeBlocked,
			words:  []string{"region beijing is lost", `"type":"DeclareLost"`, `"region":"beijing"`},
		},
		"a region that is lost for good is no obstacle": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				state(s, "beijing", func(r *ownership.RegionRecord) { r.State, r.Gone = ownership.RegionLost, true })
			},
			reason: v1alpha1.ReasonOwnershipChangePending, words: []string{"owners are about to change"},
		},
		"a region waits for its handback": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				state(s, "beijing", func(r *ownership.RegionRecord) {
					r.State, r.ReturnedEpoch, r.Unshipped = ownership.RegionReturning, 9, true
				})
			},
			reason: v1alpha1.ReasonOwnershipChangeBlocked, words: []string{`"type":"Handback"`},
		},
		"a region is about to serve": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				state(s, "beijing", func(r *ownership.RegionRecord) { r.State, r.ReturnedEpoch = ownership.RegionReturning, 9 })
				r := s.Configuration.Services[uid]
				r.Handback = ownership.HandbackAutomatic
				s.Configuration.Services[uid] = r
			},
			reason: v1alpha1.ReasonOwnershipChangePending, words: []string{"region beijing is about to serve again"},
		},
		"a region was drained before it served again": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				state(s, "beijing", func(r *ownership.RegionRecord) { r.State, r.Unshipped = ownership.RegionDrained, true })
			},
			reason: v1alpha1.ReasonOwnershipChangeBlocked, words: []string{`"type":"Undrain"`},
		},
		"a drained region is no obstacle": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				state(s, "beijing", func(r *ownership.RegionRecord) { r.State = ownership.RegionDrained })
				s.Regions["beijing"].Connection = plan.Unusable
			},
			reason: v1alpha1.ReasonOwnershipChangePending, words: []string{"owners are about to change"},
		},
		"the hub cannot reach a region": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Connection, s.Regions["beijing"].Slice = plan.Unusable, nil
			},
			reason: v1alpha1.ReasonOwnershipChangeBlocked, words: []string{"region beijing serves, and the hub cannot", "see Region beijing"},
		},
		"a region does not allow the namespace any more": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Region.Spec.AllowedNamespaces = nil
			},
			reason: v1alpha1.ReasonOwnershipChangeBlocked, words: []string{"region beijing: the Region does not allow namespace accounts"},
		},
		"a member has not acted": {
			world:  func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.Regions["beijing"].Slice.Generation++ },
			reason: v1alpha1.ReasonOwnershipChangePending, words: []string{"region beijing's member has not acted"},
		},
		"a region that is to own keys has nothing that serves them": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				report(s.Regions["shenzhen"].Slice, metav1.ConditionFalse)
				s.Regions["shenzhen"].Slice.Status.ObservedGeneration = s.Regions["shenzhen"].Slice.Generation
			},
			reason: v1alpha1.ReasonOwnershipChangePending, words: []string{"region shenzhen takes keys once its workload"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			inForce := slices.Ownership(mas).Hash
			mas.Spec.Regions[2].Weight = ptr.To[int32](50)
			p := plan.Decide(start, mas, seen)
			for _, s := range p.Steps {
				seen.Regions[s.Region].Slice = s.Slice
				s.Slice.Generation = 2
				report(s.Slice, metav1.ConditionTrue)
			}
			c.world(mas, &seen)
			want := slices.Ownership(mas).Hash
			if c.words[0] != "owners are about to change" {
				want = inForce
			}
			carryOut(t, mas, &seen)
			if got := seen.Configuration.ServiceIntents[uid].SpecHash; got != want {
				t.Errorf("proposed %s, want %s", got, want)
			}
			plan.Report(start, mas, seen, plan.Plan{}, true)
			got := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionRoutingReady)
			if got.Status != metav1.ConditionFalse || got.Reason != c.reason && got.Reason != "RegionUnreachable" {
				t.Fatalf("RoutingReady is %s/%s (%s), want %s", got.Status, got.Reason, got.Message, c.reason)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Message, word) {
					t.Errorf("%q does not say %q", got.Message, word)
				}
			}
		})
	}
}

// What is left of a service that is gone is deleted wherever it can be reached, and then forgotten.
func TestDecideRemains(t *testing.T) {
	t.Parallel()
	intent := ownership.ServiceIntent{UID: uid, Namespace: "accounts", Name: "user", Deleted: true, Regions: []string{"beijing", "gone", "shanghai"}}
	for name, c := range map[string]struct {
		world func(*plan.Seen)
		want  []string
	}{
		"one region is not reached": {
			world: func(s *plan.Seen) {
				s.Regions["beijing"].Connection, s.Regions["beijing"].Slice = plan.Unusable, nil
				s.Regions["shanghai"].Slice, s.Regions["shenzhen"].Slice = nil, nil
			},
		},
		"it is back": {
			world: func(s *plan.Seen) { s.Regions["shanghai"].Slice, s.Regions["shenzhen"].Slice = nil, nil },
			want:  []string{"Delete beijing"},
		},
		"another service of that name is there": {
			world: func(s *plan.Seen) {
				for _, r := range s.Regions {
					r.Slice.Spec.ServiceID = "other"
				}
			},
			want: []string{"Withdraw deleted"},
		},
		"one that never had it is not reached": {
			world: func(s *plan.Seen) {
				for _, r := range s.Regions {
					r.Slice = nil
				}
				s.Regions["shenzhen"].Connection = plan.Unusable
			},
			want: []string{"Withdraw deleted"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := healthy(service())
			c.world(&seen)
			if diff := cmp.Diff(c.want, steps(plan.Plan{Steps: plan.DecideRemains(intent, seen)})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
