package multiactiveservice_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// scaling is a service whose survivors are scaled, in a world whose members know how to prepare for a drain.
func scaling() (*v1alpha1.MultiActiveService, plan.Seen) {
	mas := service()
	mas.Spec.Failover = &v1alpha1.Failover{Survivors: v1alpha1.SurvivorsScale}
	seen := healthy(mas)
	for _, r := range seen.Regions {
		r.Slice.Status.Features = []string{regional.FeaturePreparedFor}
	}
	return mas, seen
}

// Survivors are prepared for a drain while its order is pending, and only where the member knows how; a
// rollout that has not reached a region does not hold that up.
func TestPreparedForADrain(t *testing.T) {
	t.Parallel()
	type world = func(*v1alpha1.MultiActiveService, *plan.Seen)
	for name, c := range map[string]struct {
		world world
		// want is what the slices are to be prepared for, of the regions that get another slice.
		want map[string]string
	}{
		"nobody is drained": {func(*v1alpha1.MultiActiveService, *plan.Seen) {}, map[string]string{}},
		"one is": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.PreparedFor = []string{"beijing"} },
			map[string]string{"shanghai": "beijing", "shenzhen": "beijing"},
		},
		"two are": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.PreparedFor = []string{"beijing", "shanghai"} },
			map[string]string{"beijing": "shanghai", "shanghai": "beijing", "shenzhen": "beijing shanghai"},
		},
		"an earlier member": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.PreparedFor, s.Regions["shanghai"].Slice.Status.Features = []string{"beijing"}, []string{"Shed"}
			}, map[string]string{"shenzhen": "beijing"},
		},
		"the hub does not reach one": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.PreparedFor = []string{"beijing"}
				s.Regions["shanghai"] = &plan.RegionSeen{Region: s.Regions["shanghai"].Region, Connection: plan.Unusable}
			}, map[string]string{"shenzhen": "beijing"},
		},
		"amid a rollout": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.PreparedFor = []string{"beijing"}
				image(m, "user:3")
			}, map[string]string{"beijing": "", "shanghai": "beijing", "shenzhen": "beijing"},
		},
		"amid a rollout, and the member is an earlier one again": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.PreparedFor = []string{"beijing"}
				shanghai := s.Regions["shanghai"].Slice
				shanghai.Spec.Workload.PreparedFor, shanghai.Status.Features, shanghai.Annotations = s.PreparedFor, nil, nil
				image(m, "user:3")
			}, map[string]string{"beijing": "", "shanghai": "", "shenzhen": "beijing"},
		},
		"the order has ended": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["shanghai"].Slice.Spec.Workload.PreparedFor = []string{"beijing"}
				s.Regions["shanghai"].Slice.Annotations = nil
			}, map[string]string{"shanghai": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas, seen := scaling()
			c.world(mas, &seen)
			got := map[string]string{}
			for _, s := range plan.Decide(start, mas, seen).Steps {
				if s.Kind == plan.StepStage {
					got[s.Region] = strings.Join(s.Slice.Spec.Workload.PreparedFor, " ")
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("staged (-want +got)\n%s", diff)
			}
		})
	}
}

// What is scaled up stays so in what is written next, and nothing is written twice.
func TestPreparedOnce(t *testing.T) {
	t.Parallel()
	mas, seen := scaling()
	pass := func() []string {
		words := carryOut(t, mas, &seen)
		for _, r := range seen.Regions {
			r.Slice.Status.Features = []string{regional.FeaturePreparedFor}
		}
		return words
	}
	is := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, pass()); diff != "" {
			t.Fatalf("%s (-want +got)\n%s", what, diff)
		}
	}
	seen.PreparedFor = []string{"beijing"}
	is("ordered", "Stage shanghai", "Stage shenzhen")
	is("prepared")
	seen.PreparedFor = nil
	is("ended", "Stage shanghai", "Stage shenzhen")
	is("scaled back")
}

func TestReportOfSurvivors(t *testing.T) {
	t.Parallel()
	short := func(s *plan.Seen, region string, ready, desired int32, reason string) {
		slice := s.Regions[region].Slice
		slice.Status.Workload = &v1alpha1.ReplicaStatus{Ready: ready, Desired: desired}
		c := meta.FindStatusCondition(slice.Status.Conditions, v1alpha1.ConditionWorkloadAvailable)
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reason, "as its member says"
	}
	for name, c := range map[string]struct {
		world  func(*v1alpha1.MultiActiveService, *plan.Seen)
		reason string
		words  []string
	}{
		"a region was lost": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				lose(s, "beijing")
				short(s, "shanghai", 3, 6, v1alpha1.ReasonReplicasUnavailable)
			}, v1alpha1.ReasonSurvivorsScaling, []string{"survivors are scaling for the load of beijing: shanghai 3/6", "beijing: not known"},
		},
		"before a drain, two at once": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.PreparedFor = []string{"beijing"}
				short(s, "shanghai", 3, 6, v1alpha1.ReasonProgressing)
				short(s, "shenzhen", 4, 6, v1alpha1.ReasonReplicasUnavailable)
			}, v1alpha1.ReasonSurvivorsScaling, []string{"for the load of beijing: shanghai 3/6, shenzhen 4/6"},
		},
		"what is broken is told as such": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				lose(s, "beijing")
				short(s, "shanghai", 3, 6, v1alpha1.ReasonImagePull)
			}, v1alpha1.ReasonImagePull, []string{"shanghai: as its member says"},
		},
		"so is what lacks of the declared replicas": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				short(s, "shanghai", 2, 3, v1alpha1.ReasonReplicasUnavailable)
			}, v1alpha1.ReasonReplicasUnavailable, []string{"shanghai: as its member says"},
		},
		"and what is kept": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.Spec.Failover.Survivors = v1alpha1.SurvivorsKeep
				for _, r := range s.Regions {
					r.Slice.Spec.Workload.Survivors = ""
				}
				short(s, "shanghai", 3, 6, v1alpha1.ReasonReplicasUnavailable)
			}, v1alpha1.ReasonReplicasUnavailable, []string{"shanghai: as its member says"},
		},
		"the region has its keys again": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				short(s, "shanghai", 3, 6, v1alpha1.ReasonReplicasUnavailable)
			}, v1alpha1.ReasonSurvivorsScaling, []string{"a region that owns its keys again: shanghai 3/6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas, seen := scaling()
			c.world(mas, &seen)
			plan.Report(start, mas, seen, plan.Decide(start, mas, seen), true)
			got := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionWorkloadsAvailable)
			if got.Status != metav1.ConditionFalse || got.Reason != c.reason {
				t.Errorf("WorkloadsAvailable is %s/%s: %s", got.Status, got.Reason, got.Message)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Message, word) {
					t.Errorf("%q does not say %q", got.Message, word)
				}
			}
		})
	}
}
