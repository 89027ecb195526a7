package multiactiveservice_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// steps writes steps as words, regions sorted as decided.
func steps(p plan.Plan) []string {
	var out []string
	for _, s := range p.Steps {
		word := string(s.Kind)
		if s.Region != "" {
			word += " " + s.Region
		}
		if s.Intent.Deleted {
			word += " deleted"
		}
		out = append(out, word)
	}
	return out
}

func TestDecide(t *testing.T) {
	t.Parallel()
	type world = func(*v1alpha1.MultiActiveService, *plan.Seen)
	nowhere := func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
		delete(s.Configuration.Services, uid)
		delete(s.Configuration.ServiceIntents, uid)
		for _, r := range s.Regions {
			r.Slice = nil
		}
	}
	unproposed := func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
		delete(s.Configuration.Services, uid)
		delete(s.Configuration.ServiceIntents, uid)
	}
	deleted := func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
		m.DeletionTimestamp = ptr.To(metav1.NewTime(start))
	}
	stopped := func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
		s.Configuration.Services[uid] = ownership.ServiceRecord{UID: uid, Deleted: true}
		s.Configuration.ServiceIntents[uid] = ownership.ServiceIntent{UID: uid, Deleted: true}
	}
	all := func(changes ...world) world {
		return func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
			for _, c := range changes {
				c(m, s)
			}
		}
	}
	for name, c := range map[string]struct {
		world world
		want  []string
	}{
		"as declared": {func(*v1alpha1.MultiActiveService, *plan.Seen) {}, nil},
		"new: everywhere at once, and not proposed before it is there": {
			nowhere, []string{"Stage beijing", "Stage shanghai", "Stage shenzhen"},
		},
		"staged everywhere: proposed": {unproposed, []string{"Propose"}},
		"a region that is not reached does not hold up the proposal": {
			all(unproposed, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"] = &plan.RegionSeen{Region: s.Regions["beijing"].Region, Connection: plan.Unusable}
			}), []string{"Propose"},
		},
		"a region that is being connected does": {
			all(unproposed, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"] = &plan.RegionSeen{Region: s.Regions["beijing"].Region, Connection: plan.Connecting}
			}), nil,
		},
		"no region at all: nothing to propose": {
			all(unproposed, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				for _, r := range s.Regions {
					r.Connection, r.Slice = plan.Unusable, nil
				}
			}), nil,
		},
		"the finalizer comes before anything is written": {
			all(nowhere, func(m *v1alpha1.MultiActiveService, _ *plan.Seen) { m.Finalizers = nil }), []string{
				"AddFinalizer", "Stage beijing", "Stage shanghai", "Stage shenzhen",
			},
		},
		"a region that refuses the namespace is left alone": {
			all(nowhere, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Region.Spec.AllowedNamespaces = nil
			}),
			[]string{"Stage shanghai", "Stage shenzhen"},
		},
		"a witness runs nothing": {
			all(nowhere, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Region.Spec.Role = v1alpha1.RegionRoleWitness
			}), []string{"Stage shanghai", "Stage shenzhen"},
		},
		"somebody else's object is left alone": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Slice.Spec.ServiceID = "other"
			}, nil,
		},
		"what a person changed in a region is put back": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["shanghai"].Slice.Spec.Workload.Replicas = ptr.To[int32](1)
			}, []string{"Stage shanghai"},
		},
		"what the API server fills in is no change": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["shanghai"].Slice.Spec.Workload.Template.Spec.RestartPolicy = "Always"
			}, nil,
		},
		"a generation that changes nothing in the slices is not written": {
			func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
				m.Generation = 2
				m.Spec.Rollout = &v1alpha1.Rollout{Strategy: v1alpha1.RolloutAllAtOnce}
			}, nil,
		},
		"a generation that changes all slices is": {
			func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
				m.Generation = 2
				m.Spec.Gateway = &v1alpha1.Gateway{Replicas: ptr.To[int32](5)}
			}, []string{"Stage beijing", "Stage shanghai", "Stage shenzhen"},
		},
		"a person's change is put back also after such a generation": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.Generation = 2
				m.Spec.Rollout = &v1alpha1.Rollout{Strategy: v1alpha1.RolloutAllAtOnce}
				s.Regions["shanghai"].Slice.Spec.Workload.Replicas = ptr.To[int32](1)
			}, []string{"Stage shanghai"},
		},
		"deletion: routing stops first": {deleted, []string{"Propose deleted"}},
		"deletion: then the regions":    {all(deleted, stopped), []string{"Delete beijing", "Delete shanghai", "Delete shenzhen"}},
		"deletion: a region that is not reached keeps the service": {
			all(deleted, stopped, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "beijing") }),
			[]string{"Delete shanghai", "Delete shenzhen"},
		},
		"deletion: a region that a person gave up on does not": {
			all(deleted, stopped, func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				lose(s, "beijing")
				m.Annotations = map[string]string{v1alpha1.AnnotationAbandoned: "beijing,other"}
				s.Regions["shanghai"].Slice, s.Regions["shenzhen"].Slice = nil, nil
			}), []string{"RemoveFinalizer"},
		},
		"deletion: what goes already is left to its member, unless none has acted on it": {
			all(deleted, stopped, func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				for _, name := range []string{"beijing", "shanghai"} {
					s.Regions[name].Slice.DeletionTimestamp = m.DeletionTimestamp
				}
				s.Regions["shanghai"].Slice.Status.ActedStamp = nil
			}), []string{"Delete shanghai", "Delete shenzhen"},
		},
		"deletion: one that was given up on and can be reached does": {
			all(deleted, stopped, func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
				m.Annotations = map[string]string{v1alpha1.AnnotationAbandoned: "beijing"}
			}), []string{"Delete beijing", "Delete shanghai", "Delete shenzhen"},
		},
		"deletion of what was never accepted: given up on, the store is told first": {
			all(nowhere, deleted, func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Connection = plan.Unusable
				m.Annotations = map[string]string{v1alpha1.AnnotationAbandoned: "beijing"}
			}), []string{"Propose deleted"},
		},
		"deletion: nothing is left": {
			all(deleted, stopped, func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				for _, r := range s.Regions {
					r.Slice = nil
				}
			}), []string{"Withdraw", "RemoveFinalizer"},
		},
		"deletion of what was never accepted": {
			all(nowhere, deleted), []string{"RemoveFinalizer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			c.world(mas, &seen)
			if diff := cmp.Diff(c.want, steps(plan.Decide(start, mas, seen))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestNothingIsStagedBeforeTheStoreIsKnown(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	for _, r := range seen.Regions {
		r.Slice = nil
	}
	seen.StoreKnown = false
	if got := steps(plan.Decide(start, mas, seen)); len(got) > 0 {
		t.Errorf("steps %v: a slice built now could drop the ownership that is in force", got)
	}
	mas.DeletionTimestamp = ptr.To(metav1.NewTime(start))
	if p := plan.Decide(start, mas, seen); len(p.Steps) > 0 || p.Blocked == "" {
		t.Errorf("deletion goes on without the store: %v", steps(p))
	}
}

// A slice is stamped with the generation that changed it last, and never with an earlier one.
func TestStampsGrowWithChangesAlone(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	stage := func() map[string]int64 {
		t.Helper()
		out := map[string]int64{}
		for _, s := range plan.Decide(start, mas, seen).Steps {
			was := seen.Regions[s.Region].Slice.Spec.Stamp.Generation
			if s.Slice.Spec.Stamp.Generation < was {
				t.Errorf("%s: stamp %d after %d", s.Region, s.Slice.Spec.Stamp.Generation, was)
			}
			seen.Regions[s.Region].Slice = s.Slice
			out[s.Region] = s.Slice.Spec.Stamp.Generation
		}
		return out
	}
	mas.Generation, mas.Spec.Rollout = 2, &v1alpha1.Rollout{Strategy: v1alpha1.RolloutAllAtOnce}
	if got := stage(); len(got) > 0 {
		t.Errorf("staged %v for a change that is not in any slice", got)
	}
	mas.Generation = 3
	mas.Spec.Regions[1].Overrides = &v1alpha1.WorkloadOverrides{Replicas: ptr.To[int32](7)}
	if diff := cmp.Diff(map[string]int64{"shanghai": 3}, stage()); diff != "" {
		t.Errorf("an override of one region (-want +got)\n%s", diff)
	}
	mas.Generation, mas.Spec.Gateway = 4, &v1alpha1.Gateway{Replicas: ptr.To[int32](5)}
	if diff := cmp.Diff(map[string]int64{"beijing": 4, "shanghai": 4, "shenzhen": 4}, stage()); diff != "" {
		t.Errorf("a change of all (-want +got)\n%s", diff)
	}
}
