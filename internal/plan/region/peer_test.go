package region_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/copies"
	plan "multiactive.dev/operator/internal/plan/region"
)

// agreed has three regions' copies of the Region, shanghai's being this hub's, which acts.
func agreed(states ...copies.State) *plan.Peers {
	var all []copies.Copy
	for i, name := range []string{"shanghai", "shenzhen", "beijing"} {
		c := copies.Copy{Region: name, State: copies.Present, Hash: "a"}
		if i < len(states) {
			c.State = states[i]
		}
		all = append(all, c)
	}
	return &plan.Peers{Verdict: copies.Decide(all), Region: "shanghai", Local: all[0].State, Finalized: true, Acts: true}
}

func with(p *plan.Peers, change func(*plan.Peers)) *plan.Peers {
	change(p)
	return p
}

func TestDecideAsPeer(t *testing.T) {
	t.Parallel()
	deleting := copies.Deleting
	deleted := func(r *v1alpha1.Region, _ *plan.Seen) { r.DeletionTimestamp = ptr.To(metav1.NewTime(start)) }
	other := func(r *v1alpha1.Region, _ *plan.Seen) { r.Spec.Probes = nil }
	forgotten := func(r *v1alpha1.Region, s *plan.Seen) {
		deleted(r, s)
		delete(s.Configuration.RegionIntents, "beijing")
	}
	follows := func(p *plan.Peers) { p.Acts = false }
	for name, c := range map[string]struct {
		peers  *plan.Peers
		world  func(*v1alpha1.Region, *plan.Seen)
		want   string
		blocks string
	}{
		"as proposed":                          {peers: agreed()},
		"declared anew":                        {peers: agreed(), world: other, want: "Propose"},
		"declared anew, not the leader":        {peers: with(agreed(), follows), world: other},
		"no majority":                          {peers: agreed(copies.Present, copies.Unknown, copies.Unknown), world: other, blocks: "no majority"},
		"a copy without the finalizer":         {peers: with(agreed(), func(p *plan.Peers) { p.Finalized, p.Acts = false, false }), want: "AddFinalizer"},
		"one copy is deleted: it goes":         {peers: with(agreed(deleting), follows), want: "RemoveFinalizer"},
		"most are deleted: the leader ends it": {peers: agreed(deleting, deleting), world: deleted, want: "Withdraw Disconnect RemoveFinalizer"},
		"most are deleted, here it is kept":    {peers: agreed(copies.Present, deleting, deleting), world: deleted, want: "Withdraw Disconnect"},
		"most are deleted, a service needs it": {
			peers: agreed(deleting, deleting), world: func(r *v1alpha1.Region, s *plan.Seen) { deleted(r, s); s.Services = []string{"shop/cart"} }, blocks: "shop/cart",
		},
		"the store has let go of it": {peers: with(agreed(deleting, deleting), follows), world: forgotten, want: "Disconnect RemoveFinalizer"},
		"the store has let go of it, and this region has no say any more": {
			peers: with(&plan.Peers{Verdict: copies.Decide([]copies.Copy{{Region: "a", State: copies.Absent}, {Region: "b", State: copies.Absent}})},
				func(p *plan.Peers) { p.Local, p.Finalized = deleting, true }),
			world: forgotten, want: "RemoveFinalizer", blocks: "no majority",
		},
		"a deletion that nobody can count": {peers: agreed(deleting, copies.Unknown), world: deleted, blocks: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rg, seen := region(), healthy()
			seen.Peers = c.peers
			if c.world != nil {
				c.world(rg, &seen)
			}
			got := plan.Decide(rg, seen)
			var kinds []string
			for _, s := range got.Steps {
				kinds = append(kinds, string(s.Kind))
			}
			if diff := cmp.Diff(c.want, strings.Join(kinds, " ")); diff != "" {
				t.Errorf("steps (-want +got)\n%s", diff)
			}
			if (c.blocks == "") != (got.Blocked == "") || !strings.Contains(got.Blocked, c.blocks) {
				t.Errorf("blocked by %q, want %q", got.Blocked, c.blocks)
			}
		})
	}
}

func TestReportOfPeers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peers       *plan.Peers
		sync, ready metav1.ConditionStatus
	}{
		"alike":            {agreed(), "True", "True"},
		"another differs":  {agreed(copies.Present, copies.Present, copies.Absent), "False", "True"},
		"this one differs": {agreed(copies.Absent), "False", "False"},
		"no majority":      {agreed(copies.Present, copies.Unknown, copies.Unknown), "False", "False"},
	} {
		rg, seen := region(), healthy()
		seen.Peers = c.peers
		plan.Report(start, rg, seen, plan.Plan{}, true)
		sync := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionSpecInSync)
		ready := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionReady)
		if sync.Status != c.sync || ready.Status != c.ready {
			t.Errorf("%s: SpecInSync %s, Ready %s (%s)", name, sync.Status, ready.Status, ready.Message)
		}
	}
}
