package regionincident_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionincident"
)

// An outage that goes on says what ends it, with the order if it waits for one.
func TestWhatAnOutageWaitsFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rec    ownership.RegionRecord
		other  ownership.RegionRecord
		seen   plan.Seen
		state  v1alpha1.IncidentState
		reason string
		words  []string
	}{
		"lost": {
			rec: ownership.RegionRecord{State: ownership.RegionLost}, state: v1alpha1.IncidentLost,
			reason: v1alpha1.ReasonIncidentOpen, words: []string{"does not serve"},
		},
		"lost, and somebody has to approve": {
			rec: ownership.RegionRecord{State: ownership.RegionLost}, seen: plan.Seen{AwaitApproval: []string{"accounts/user"}},
			state: v1alpha1.IncidentLost, reason: v1alpha1.ReasonFailoverAwaited, words: []string{"accounts/user", `"type":"ApproveFailover"`, `"region":"beijing"`},
		},
		"lost for good": {
			rec: ownership.RegionRecord{State: ownership.RegionLost, Gone: true}, state: v1alpha1.IncidentLost,
			reason: v1alpha1.ReasonIncidentOpen, words: []string{"take it out of spec.regions"},
		},
		"back": {
			rec: ownership.RegionRecord{State: ownership.RegionReturning}, state: v1alpha1.IncidentReturning,
			reason: v1alpha1.ReasonIncidentOpen, words: []string{"has caught up"},
		},
		"back, and somebody has to hand it back": {
			rec: ownership.RegionRecord{State: ownership.RegionReturning}, seen: plan.Seen{AwaitHandback: []string{"accounts/user"}},
			state: v1alpha1.IncidentReturning, reason: v1alpha1.ReasonHandbackAwaited, words: []string{"accounts/user", `"type":"Handback"`, `"region":"beijing"`},
		},
		"back and drained": {
			rec: ownership.RegionRecord{State: ownership.RegionDrained}, state: v1alpha1.IncidentLost,
			reason: v1alpha1.ReasonIncidentOpen, words: []string{`"type":"Undrain"`},
		},
		"lost while it was out for a drill": {
			rec: ownership.RegionRecord{State: ownership.RegionLost, Drill: "d-12345678"}, state: v1alpha1.IncidentLost,
			reason: v1alpha1.ReasonIncidentOpen, words: []string{"lost in earnest", "by itself"},
		},
		"back, and it was out for a drill": {
			rec: ownership.RegionRecord{State: ownership.RegionReturning, Drill: "d-12345678"}, state: v1alpha1.IncidentReturning,
			reason: v1alpha1.ReasonIncidentOpen, words: []string{"Operation d", "takes its keys back by itself"},
		},
		"lost while another is out for a drill": {
			rec: ownership.RegionRecord{State: ownership.RegionLost}, other: ownership.RegionRecord{State: ownership.RegionDrained, Drill: "d-12345678"},
			state: v1alpha1.IncidentLost, reason: v1alpha1.ReasonIncidentOpen,
			words: []string{"region beijing does not serve", "Of region shanghai: the region is out for a drill, Operation d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &v1alpha1.RegionIncident{ObjectMeta: metav1.ObjectMeta{Name: "beijing-7"}, Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"}}
			c.seen.Agreed = agreed(ownership.StepSuspected, ownership.StepConfirmed, ownership.StepCommitted)
			c.seen.View = ownership.View{Epoch: 8, Regions: map[string]ownership.RegionRecord{"beijing": c.rec, "shanghai": c.other}}
			plan.Report(start, i, c.seen)
			got := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionResolved)
			if i.Status.State != c.state || got.Status != metav1.ConditionFalse || got.Reason != c.reason {
				t.Fatalf("state %s, Resolved %s/%s; want %s, %s", i.Status.State, got.Status, got.Reason, c.state, c.reason)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Message, word) {
					t.Errorf("%q does not say %q", got.Message, word)
				}
			}
		})
	}
}
