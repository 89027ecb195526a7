package regionalservice

import (
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/pace"
)

// TestViewsWakeLaterDuringALoss: while a region is being lost, a change of the view is no work for services that have
// nothing to stop. What else wakes them does so at once, and so does everything when no region is being lost.
func TestViewsWakeLaterDuringALoss(t *testing.T) {
	t.Parallel()
	service := func(name string, activation v1alpha1.Activation) *v1alpha1.RegionalService {
		rs := named("shop", name)
		rs.UID = "u"
		rs.Spec.Workload.Additional = []v1alpha1.AdditionalWorkload{{Name: "more", Activation: activation}}
		return rs
	}
	fresh := service("fresh", v1alpha1.ActivationEveryRegion)
	fresh.Generation = 1
	all := []*v1alpha1.RegionalService{
		service("plain", v1alpha1.ActivationEveryRegion), service("stops", v1alpha1.ActivationOwnerOnly), fresh, named("shop", "decided"),
	}
	for losing, want := range map[bool][]string{false: {"plain", "stops", "fresh", "decided"}, true: {"stops", "fresh", "decided"}} {
		clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		queue := workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request](),
			workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Clock: clock})
		t.Cleanup(queue.ShutDown)
		r := &Reconciler{Pace: pace.New(clock, func() (ownership.Configuration, bool) { return ownership.Configuration{}, true })}
		r.Pace.Signs = func() bool { return losing }
		for _, rs := range all {
			r.woken(t.Context(), event.GenericEvent{Object: rs}, queue)
		}
		if queue.Len() != len(want) {
			t.Errorf("losing %t: %d wait for a pass, want %v", losing, queue.Len(), want)
		}
		for _, name := range want {
			req, _ := queue.Get()
			if queue.Done(req); req.Name != name {
				t.Errorf("losing %t: %s comes, want %s", losing, req.Name, name)
			}
		}
	}
}
