package regionalservice_test

import (
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
)

// A member scales for a drain that is pending, stays so while the region is drained, and scales back when
// the order has ended without that.
func TestPreparedForADrain(t *testing.T) {
	rs := sample()
	rs.Spec.Workload.Survivors = v1alpha1.SurvivorsScale
	seen := well(t, rs)
	has := func(what string, want int32) {
		t.Helper()
		settle(t, rs, &seen)
		plan.Report(now, rs, seen, plan.Plan{}, nil)
		if got := *application(t, &seen).Spec.Replicas; got != want || rs.Status.Workload.Desired != want {
			t.Errorf("%s: %d replicas, reported as %+v, want %d", what, got, rs.Status.Workload, want)
		}
	}
	has("nobody is drained", 2)
	rs.Spec.Workload.PreparedFor = []string{"shanghai"}
	has("one is about to be", 4)
	rs.Spec.Workload.PreparedFor = nil
	has("the order was given up", 2)
	rs.Spec.Workload.PreparedFor = []string{"shanghai"}
	has("it is ordered again", 4)
	seen.Configuration.View.Regions["shanghai"] = ownership.RegionRecord{State: ownership.RegionDrained}
	rs.Spec.Workload.PreparedFor = nil
	has("it was carried out", 4)
	seen.HasConfiguration, seen.Configuration = false, ownership.Configuration{}
	has("the member has just started, and does not know", 4)
}
