package peer_test

import (
	"fmt"
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// A drain that is ordered in one cluster, whose hub does not lead, is held back there until the hub that does
// has had its survivors scaled up.
func TestSurvivorsOfADrain(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai", "shenzhen")
	all := w.names
	w.serving()
	w.in(all, func(c client.Client) error {
		mas := service("cart:1", all...)
		mas.Spec.Failover = &v1alpha1.Failover{Survivors: v1alpha1.SurvivorsScale, Handback: ownership.HandbackAutomatic}
		return c.Create(t.Context(), mas)
	})
	w.runs(all, "cart:1")
	w.members(all)
	w.ready(all)
	leader := w.leader()
	drained, here := w.others(leader)[0], w.others(leader)[1:]
	survivors := w.others(drained)
	prepared := func(want ...string) {
		t.Helper()
		eventually(w, survivors, slice, func(s *v1alpha1.RegionalService) error {
			if got := s.Spec.Workload.PreparedFor; !slices.Equal(got, want) {
				return fmt.Errorf("prepared for the drain of %q, want %q", got, want)
			}
			return nil
		})
	}

	must(t, w.regions[here[0]].Create(t.Context(), drain(drained)))
	prepared(drained)
	w.members(survivors)
	eventually(w, here, func() *v1alpha1.Operation { return drain(drained) }, func(o *v1alpha1.Operation) error {
		return is(o.Status.Conditions, v1alpha1.ConditionComplete, no, v1alpha1.ReasonCapacityAwaited, leader+": 2/3 ready", here[0]+": 2/3 ready")
	})
	w.configuration(func(c ownership.Configuration) error {
		if len(c.OrderIntents) > 0 {
			t.Errorf("the order was given while its survivors lack replicas: %+v", c.OrderIntents)
		}
		return nil
	})

	for _, name := range survivors {
		w.reports(name, 3)
	}
	w.configuration(func(c ownership.Configuration) error {
		if _, given := c.OrderIntents[order.SharedName(drain(drained))]; !given {
			return fmt.Errorf("the order is not given: %+v", c.OrderIntents)
		}
		return nil
	})

	must(t, w.regions[here[0]].Delete(t.Context(), drain(drained)))
	prepared()
}
