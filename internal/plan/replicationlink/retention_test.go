package replicationlink_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
)

// A link that is about to outlive its topic's retention says so before it does, and when to look again.
func TestRetained(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		retention time.Duration
		lag       plan.Lag
		paused    bool
		status    metav1.ConditionStatus
		reason    string
		message   string
		again     time.Duration
	}{
		"all is well":        {7 * day, plan.Lag{Known: true, Age: time.Second}, false, metav1.ConditionTrue, "Streaming", "168h", 84*time.Hour - time.Second},
		"half is over":       {7 * day, plan.Lag{Known: true, Age: 84 * time.Hour}, false, metav1.ConditionFalse, "ResyncForecast", "half of", 42 * time.Hour},
		"more is over":       {7 * day, plan.Lag{Known: true, Age: 6 * day}, false, metav1.ConditionFalse, "ResyncForecast", "three quarters of", day},
		"it is over":         {7 * day, plan.Lag{Known: true, Age: 8 * day}, false, metav1.ConditionFalse, "ResyncRequired", "have not arrived", 0},
		"not known":          {7 * day, plan.Lag{}, false, metav1.ConditionUnknown, "LagUnknown", "not known", 0},
		"paused":             {7 * day, plan.Lag{Known: true, Age: time.Second}, true, metav1.ConditionUnknown, "Paused", "paused", 84*time.Hour - time.Second},
		"as long as brokers": {0, plan.Lag{Known: true, Age: 1000 * day}, false, metav1.ConditionUnknown, "NotDeclared", "brokers have a default", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rs := service("user", time.Minute, "accounts.account")
			rs.Spec.Topics[0].Retention.Duration = c.retention
			longer := service("other", time.Minute, "accounts.account")
			longer.Spec.Topics[0].Retention.Duration = c.retention * 2
			seen := settled(t, rs, longer)
			seen.Lag = c.lag
			if c.paused {
				seen.Links[0].Annotations = map[string]string{regional.AnnotationPaused: "yes"}
			}
			link := seen.Links[0].DeepCopy()
			p := decide(t, seen)
			plan.Report(link, seen, p)
			got := meta.FindStatusCondition(link.Status.Conditions, v1alpha1.ConditionRetained)
			if got.Status != c.status || got.Reason != c.reason || !strings.Contains(got.Message, c.message) {
				t.Errorf("got %s %s %q, want %s %s with %q", got.Status, got.Reason, got.Message, c.status, c.reason, c.message)
			}
			if again := p.Outlives(seen.Lag); again != c.again {
				t.Errorf("to be looked at again in %s, want %s", again, c.again)
			}
		})
	}
}

func TestRecordsLost(t *testing.T) {
	seen := settled(t, service("user", time.Minute, "accounts.account"))
	seen.Losses = []string{"accounts.account: partition 0: 5 records were deleted", "accounts.account: partition 2: more", "accounts.account2: another"}
	link := seen.Links[0].DeepCopy()
	plan.Report(link, seen, decide(t, seen))
	got := meta.FindStatusCondition(link.Status.Conditions, v1alpha1.ConditionRetained)
	if got.Reason != v1alpha1.ReasonRecordsLost || !strings.HasPrefix(got.Message, "partition 0: 5 records were deleted; partition 2: more. Compare") {
		t.Errorf("got %s %q", got.Reason, got.Message)
	}
}
