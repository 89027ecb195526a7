package node

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func deployment(replicas int32, strategy appsv1.DeploymentStrategyType) *appsv1.Deployment {
	return &appsv1.Deployment{Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To(replicas), Strategy: appsv1.DeploymentStrategy{Type: strategy},
	}}
}

func TestNext(t *testing.T) {
	t.Parallel()
	fresh := func(name string, ready bool) member { return member{name: name, current: true, ready: ready} }
	old := func(name string, ready bool) member { return member{name: name, ready: ready} }
	const rolling, recreate = appsv1.RollingUpdateDeploymentStrategyType, appsv1.RecreateDeploymentStrategyType
	for name, c := range map[string]struct {
		replicas int32
		strategy appsv1.DeploymentStrategyType
		members  []member
		stopping int
		want     step
	}{
		"first start, all at once":     {replicas: 3, want: step{start: 3}},
		"complete":                     {replicas: 2, members: []member{fresh("a", true), fresh("b", false)}},
		"scaled up":                    {replicas: 3, members: []member{fresh("a", true)}, want: step{start: 2}},
		"scaled down, unready first":   {replicas: 1, members: []member{fresh("a", true), fresh("b", false)}, want: step{stop: []string{"b"}}},
		"scaled to nothing":            {replicas: 0, members: []member{fresh("a", true), old("b", true)}, want: step{stop: []string{"a", "b"}}},
		"new template, one more":       {replicas: 2, strategy: rolling, members: []member{old("a", true), old("b", true)}, want: step{start: 1}},
		"new one not ready, old stays": {replicas: 2, strategy: rolling, members: []member{fresh("c", false), old("a", true), old("b", true)}},
		"new one ready, an old one goes": {replicas: 2, strategy: rolling, members: []member{fresh("c", true), old("a", true), old("b", true)},
			want: step{stop: []string{"a"}}},
		"old one that serves nobody goes at once": {replicas: 2, strategy: rolling, members: []member{old("a", false), old("b", true)},
			want: step{start: 1, stop: []string{"a"}}},
		"recreate ends the old first":          {replicas: 1, strategy: recreate, members: []member{old("a", true)}, want: step{stop: []string{"a"}}},
		"recreate waits until they are gone":   {replicas: 1, strategy: recreate, stopping: 1},
		"recreate starts when all are gone":    {replicas: 1, strategy: recreate, want: step{start: 1}},
		"rolling does not wait for the ending": {replicas: 1, strategy: rolling, stopping: 1, want: step{start: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := next(deployment(c.replicas, c.strategy), c.members, c.stopping)
			if len(got.stop) == 0 {
				got.stop = nil
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(step{})); diff != "" {
				t.Errorf("next step (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRolloutNeverServesLess replays rollouts step by step: whatever becomes ready in whatever order,
// there are never fewer ready Pods than before the change, as long as that was enough, and it ends.
func TestRolloutNeverServesLess(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		replicas := rapid.IntRange(1, 4).Draw(t, "replicas")
		d := deployment(int32(replicas), appsv1.RollingUpdateDeploymentStrategyType)
		var members []member
		for i := range replicas {
			members = append(members, member{name: string(rune('a' + i)), ready: true})
		}
		for turn := range 100 {
			todo := next(d, members, 0)
			for i := range todo.start {
				members = append(members, member{name: string(rune('A'+turn)) + string(rune('0'+i)), current: true})
			}
			var rest []member
			for _, m := range members {
				if !slices.Contains(todo.stop, m.name) {
					rest = append(rest, m)
				}
			}
			members = rest
			ready, current := 0, 0
			for _, m := range members {
				ready += btoi(m.ready)
				current += btoi(m.ready && m.current)
			}
			if ready < replicas {
				t.Fatalf("%d of %d are ready: %+v", ready, replicas, members)
			}
			if len(members) > replicas+1 {
				t.Fatalf("%d Pods for %d replicas: %+v", len(members), replicas, members)
			}
			if current == replicas && len(members) == replicas {
				return
			}
			if i := rapid.IntRange(0, len(members)-1).Draw(t, "becomes ready"); rapid.Bool().Draw(t, "this turn") || turn > 50 {
				members[i].ready = true
				if turn > 50 {
					for j := range members {
						members[j].ready = true
					}
				}
			}
		}
		t.Fatalf("the rollout does not end: %+v", members)
	})
}
