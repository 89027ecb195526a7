package metrics_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/metrics"
)

// series returns the values of a metric by the value of one label.
func series(t *testing.T, name, label string) map[string]float64 {
	t.Helper()
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					out[l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	return out
}

func TestSeriesGoWithTheirObject(t *testing.T) {
	metrics.SetRegionState("beijing", v1alpha1.RegionDown)
	got := series(t, "multiactive_region_state", "state")
	maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
	if diff := cmp.Diff(map[string]float64{"Down": 1}, got); diff != "" {
		t.Errorf("states (-want +got)\n%s", diff)
	}
	metrics.SetFlows("accounts", "user", map[string]bool{"login": false, "register": true})
	metrics.SetFlows("accounts", "user", map[string]bool{"register": true})
	if diff := cmp.Diff(map[string]float64{"register": 1}, series(t, "multiactive_flow_degraded", "flow")); diff != "" {
		t.Errorf("flows (-want +got)\n%s", diff)
	}
	metrics.DeleteRegion("beijing")
	metrics.DeleteService("accounts", "user")
	if n := len(series(t, "multiactive_region_state", "state")) + len(series(t, "multiactive_flow_degraded", "flow")); n != 0 {
		t.Errorf("%d series left after their objects", n)
	}
}
