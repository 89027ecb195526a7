package multiactiveservice_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

func image(mas *v1alpha1.MultiActiveService, to string) {
	mas.Generation++
	mas.Spec.Workload.Template.Spec.Containers[0].Image = to
}

// staged returns the regions that the plan brings the declared workload to.
func staged(mas *v1alpha1.MultiActiveService, p plan.Plan) []string {
	var out []string
	for _, s := range p.Steps {
		if s.Kind == plan.StepStage && s.Slice.Spec.Workload.Hash == slices.WorkloadHash(mas.Spec) {
			out = append(out, s.Region)
		}
	}
	return out
}

// apply writes staged slices as a region's API server would.
func apply(seen plan.Seen, p plan.Plan, skip ...string) {
	for _, s := range p.Steps {
		if s.Kind != plan.StepStage || len(skip) > 0 && s.Region == skip[0] {
			continue
		}
		next := s.Slice.DeepCopy()
		if old := seen.Regions[s.Region].Slice; old != nil {
			next.Generation, next.Status = old.Generation+1, old.Status
		} else {
			next.Generation = 1
		}
		seen.Regions[s.Region].Slice = next
	}
}

func TestRolloutStates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  v1alpha1.Rollout
		world func(*v1alpha1.MultiActiveService, *plan.Seen)
		after time.Duration
		state string
		wants string // regions that get the new workload now
		again time.Duration
	}{
		"the first region": {
			state: plan.RolloutProgressing, wants: "[beijing]", again: plan.DefaultProgressDeadline,
		},
		"all at once": {
			spec:  v1alpha1.Rollout{Strategy: v1alpha1.RolloutAllAtOnce},
			state: plan.RolloutProgressing, wants: "[beijing shanghai shenzhen]", again: plan.DefaultProgressDeadline,
		},
		"an unreachable region is skipped": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Connection, s.Regions["beijing"].Slice = plan.Unusable, nil
			},
			state: plan.RolloutProgressing, wants: "[shanghai]", again: plan.DefaultProgressDeadline,
		},
		"frozen while an incident is open": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "shenzhen") },
			state: plan.RolloutFrozen, wants: "[]",
		},
		"all at once is frozen too": {
			spec:  v1alpha1.Rollout{Strategy: v1alpha1.RolloutAllAtOnce},
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "shenzhen") },
			state: plan.RolloutFrozen, wants: "[]",
		},
		"an incident of another service's region is no matter": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Configuration.Incidents["tokyo-1"] = ownership.Incident{Name: "tokyo-1", Region: "tokyo"}
			},
			state: plan.RolloutProgressing, wants: "[beijing]", again: plan.DefaultProgressDeadline,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			mas.Spec.Rollout = &c.spec
			image(mas, "user:2")
			if c.world != nil {
				c.world(mas, &seen)
			}
			p := plan.Decide(start.Add(c.after), mas, seen)
			if got := fmt.Sprint(staged(mas, p)); got != c.wants || p.Rollout.State != c.state || p.RecheckAfter != c.again {
				t.Errorf("%s to %s, again after %s; want %s to %s, %s", p.Rollout.State, got, p.RecheckAfter, c.state, c.wants, c.again)
			}
		})
	}
}

func TestRolloutPausesAndStops(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	mas.Spec.Rollout = &v1alpha1.Rollout{
		Pause: &metav1.Duration{Duration: 5 * time.Minute}, ProgressDeadline: &metav1.Duration{Duration: time.Minute},
	}
	image(mas, "user:2")
	now := start
	step := func(passed time.Duration, state, wants string) {
		t.Helper()
		now = now.Add(passed)
		p := plan.Decide(now, mas, seen)
		if got := fmt.Sprint(staged(mas, p)); got != wants || p.Rollout.State != state {
			t.Fatalf("after %s: %s to %s, want %s to %s", now.Sub(start), p.Rollout.State, got, state, wants)
		}
		apply(seen, p)
		mas.Status.Rollout = p.Rollout
	}
	members := func(except ...string) {
		for name, r := range seen.Regions {
			status := metav1.ConditionTrue
			if len(except) > 0 && name == except[0] {
				status = metav1.ConditionFalse
			}
			report(r.Slice, status)
		}
	}
	step(0, plan.RolloutProgressing, "[beijing]")
	step(30*time.Second, plan.RolloutProgressing, "[]")
	members()
	step(time.Second, plan.RolloutPaused, "[]")
	step(4*time.Minute, plan.RolloutPaused, "[]")
	step(time.Minute, plan.RolloutProgressing, "[shanghai]")
	members("shanghai")
	step(59*time.Second, plan.RolloutProgressing, "[]")
	step(time.Second, plan.RolloutStopped, "[]")
	step(time.Hour, plan.RolloutStopped, "[]")
	members() // mended: it goes on by itself
	step(time.Second, plan.RolloutPaused, "[]")
	step(5*time.Minute, plan.RolloutProgressing, "[shenzhen]")
	members()
	step(time.Second, plan.RolloutComplete, "[]")
	members("beijing") // a crash afterwards is no matter of the rollout
	step(time.Second, plan.RolloutComplete, "[]")
}

// TestSimulate runs rollouts to their end under any order of members that act, writes that are
// lost, regions that go away and come back, drains that are ordered and end, and statuses that are read
// late.
func TestSimulate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mas, seen := scaling()
		names := []string{"beijing", "shanghai", "shenzhen"}
		broken := rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "broken")
		image(mas, "user:2")
		target := slices.WorkloadHash(mas.Spec)
		away := map[string]*v1alpha1.RegionalService{}
		passedOver := false
		now := start
		pass := func(skip string) plan.Plan {
			now = now.Add(time.Second)
			p := plan.Decide(now, mas, seen)
			apply(seen, p, skip)
			if rapid.Bool().Draw(t, "status is written") {
				mas.Status.Rollout = p.Rollout
			}
			return p
		}
		act := func(name string) {
			slice := seen.Regions[name].Slice
			if slice == nil {
				return
			}
			available := metav1.ConditionTrue
			if name == broken && slice.Spec.Workload.Hash == target {
				available = metav1.ConditionFalse
			}
			report(slice, available)
			slice.Status.Features = []string{regional.FeaturePreparedFor}
		}
		invariant := func() {
			var changing []string
			for _, name := range names {
				s := seen.Regions[name].Slice
				if s == nil {
					s = away[name]
				}
				if s.Spec.Workload.Hash == target && s.Status.WorkloadHash != target {
					changing = append(changing, name)
				}
			}
			if len(changing) > 1 {
				t.Fatalf("%v change at the same time", changing)
			}
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "region")
			switch rapid.SampledFrom([]string{"pass", "pass with a lost write", "member", "away", "back", "drain"}).Draw(t, "what") {
			case "pass":
				pass("")
			case "pass with a lost write":
				pass(name)
			case "member":
				act(name)
			case "away":
				// Only between two changes: whether a region that vanished amid one may be passed over
				// depends on what is remembered of it.
				if s := seen.Regions[name].Slice; s != nil && s.Status.WorkloadHash == s.Spec.Workload.Hash && len(away) == 0 {
					away[name] = s
					passedOver = passedOver || name == broken
					seen.Regions[name].Connection, seen.Regions[name].Slice = plan.Unusable, nil
				}
			case "drain":
				seen.PreparedFor = rapid.SampledFrom([][]string{nil, {"beijing"}}).Draw(t, "pending drains")
			case "back":
				if s := away[name]; s != nil {
					seen.Regions[name].Connection, seen.Regions[name].Slice = plan.Connected, s
					delete(away, name)
				}
			}
			invariant()
		}
		for name, s := range away {
			seen.Regions[name].Connection, seen.Regions[name].Slice = plan.Connected, s
			delete(away, name)
		}
		for range 20 {
			pass("")
			for _, name := range names {
				act(name)
			}
			invariant()
		}
		for _, name := range names[1:] {
			if diff := cmp.Diff(seen.PreparedFor, seen.Regions[name].Slice.Spec.Workload.PreparedFor); diff != "" {
				t.Fatalf("%s is prepared for other drains than are pending (-want +got)\n%s", name, diff)
			}
		}
		p := pass("")
		if broken == "" && p.Rollout.State != plan.RolloutComplete {
			t.Fatalf("ended %s in region %s", p.Rollout.State, p.Rollout.Region)
		}
		for _, name := range names {
			has := seen.Regions[name].Slice.Spec.Workload.Hash == target
			if broken == "" && !has {
				t.Fatalf("%s never got the change", name)
			}
			if broken == names[0] && !passedOver && name != broken && has {
				t.Fatalf("%s got a change that failed in the first region", name)
			}
		}
	})
}
