package multiactiveservice

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"multiactive.dev/operator/api/v1alpha1"
)

// TestProgressIsToldNowAndThen: how far a service is is told at first and then now and then; what a person waits for, or
// has to mend, at once.
func TestProgressIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	service := types.NamespacedName{Namespace: "shop", Name: "user"}
	status := func(ready metav1.ConditionStatus, reason, message string, more ...metav1.Condition) *v1alpha1.MultiActiveServiceStatus {
		return &v1alpha1.MultiActiveServiceStatus{ObservedGeneration: 1, Conditions: append([]metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message},
		}, more...)}
	}
	const no = metav1.ConditionFalse
	nothing := &v1alpha1.MultiActiveServiceStatus{}
	written := status(no, v1alpha1.ReasonProgressing, "being written")
	acting := status(no, v1alpha1.ReasonProgressing, "waiting for the member")
	ready := status(metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "everything is as declared")
	broken := status(no, v1alpha1.ReasonProgressing, "waiting for the member",
		metav1.Condition{Type: v1alpha1.ConditionWorkloadsAvailable, Status: no, Reason: v1alpha1.ReasonImagePull})
	changed := status(no, v1alpha1.ReasonProgressing, "being written")
	changed.ObservedGeneration = 2
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		before, after *v1alpha1.MultiActiveServiceStatus
		later         time.Duration
		want          time.Duration
	}{
		"goes on":              {written, acting, time.Second, progressEvery - time.Second},
		"goes on, after long":  {written, acting, progressEvery, 0},
		"is Ready":             {written, ready, time.Second, 0},
		"something is wrong":   {written, broken, time.Second, 0},
		"is declared anew":     {written, changed, time.Second, 0},
		"is not Ready anymore": {ready, written, time.Second, 0},
	} {
		var p progress
		if wait := p.hold(service, start, nothing, written); wait != 0 {
			t.Errorf("%s: the first waits %v", name, wait)
		}
		if got := p.hold(service, start.Add(c.later), c.before, c.after); got != c.want {
			t.Errorf("%s: it waits %v, want %v", name, got, c.want)
		}
	}
	var fresh progress // of a hub that has just started
	if wait := fresh.hold(service, start, written, acting); wait != 0 {
		t.Errorf("nothing was told, and it waits %v", wait)
	}
}
