package regionalservice

import (
	"testing"

	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

func TestSurvivorReplicas(t *testing.T) {
	lost := ownership.RegionRecord{State: ownership.RegionLost}
	serving := ownership.RegionRecord{State: ownership.RegionServing}
	back := ownership.RegionRecord{State: ownership.RegionReturning, Incident: "beijing-7"}
	newcomer := ownership.RegionRecord{State: ownership.RegionReturning}
	cases := map[string]struct {
		replicas  int32
		survivors string
		weights   map[string]int32
		regions   map[string]ownership.RegionRecord
		want      int32
	}{
		"nobody is away":             {3, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": serving}, 3},
		"half is lost":               {3, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": lost}, 6},
		"a third is lost":            {3, v1alpha1.SurvivorsScale, map[string]int32{"a": 1, "b": 1, "c": 1}, map[string]ownership.RegionRecord{"a": serving, "b": lost, "c": serving}, 5},
		"kept":                       {3, v1alpha1.SurvivorsKeep, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": lost}, 3},
		"not declared":               {3, "", map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": lost}, 3},
		"drained":                    {2, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": {State: ownership.RegionDrained}}, 4},
		"back, without its users":    {2, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": back}, 4},
		"a newcomer took nothing":    {2, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": newcomer}, 2},
		"the lost one has no weight": {2, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 0}, map[string]ownership.RegionRecord{"a": serving, "b": lost}, 2},
		"the others have no weight":  {2, v1alpha1.SurvivorsScale, map[string]int32{"a": 0, "b": 50, "c": 0}, map[string]ownership.RegionRecord{"a": serving, "b": lost, "c": serving}, 3},
		"this one is drained":        {2, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": {State: ownership.RegionDrained}, "b": lost}, 2},
		"scaled to nothing":          {0, v1alpha1.SurvivorsScale, map[string]int32{"a": 50, "b": 50}, map[string]ownership.RegionRecord{"a": serving, "b": lost}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rs := &v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: "a", Ownership: []v1alpha1.OwnershipSlice{{}}}}
			rs.Spec.Workload.Replicas, rs.Spec.Workload.Survivors = ptr.To(c.replicas), c.survivors
			for r, w := range c.weights {
				rs.Spec.Ownership[0].Regions = append(rs.Spec.Ownership[0].Regions, v1alpha1.RegionWeight{Name: r, Weight: w})
			}
			if got := survivorReplicas(rs, ownership.Configuration{View: ownership.View{Regions: c.regions}}); *got != c.want {
				t.Errorf("%d replicas, want %d", *got, c.want)
			}
		})
	}
}
