package regional_test

import (
	"maps"
	"slices"
	"testing"

	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
)

func TestSurvivorReplicas(t *testing.T) {
	t.Parallel()
	const scale, keep = v1alpha1.SurvivorsScale, v1alpha1.SurvivorsKeep
	type weights = map[string]int32
	type records = map[string]ownership.RegionRecord
	serving, lost, drained := ownership.RegionRecord{State: ownership.RegionServing}, ownership.RegionRecord{State: ownership.RegionLost}, ownership.RegionRecord{State: ownership.RegionDrained}
	back := ownership.RegionRecord{State: ownership.RegionReturning, ReturnedEpoch: 9}
	halves, thirds := weights{"a": 50, "b": 50}, weights{"a": 1, "b": 1, "c": 1}
	for name, c := range map[string]struct {
		replicas  int32
		survivors string
		weights   weights
		regions   records
		prepared  []string
		// service is what was agreed on it; closing is what was in force before the change under way.
		service ownership.ServiceState
		closing records
		want    int32
	}{
		"nobody is away":                   {replicas: 3, survivors: scale, weights: halves, regions: records{"a": serving, "b": serving}, want: 3},
		"half is lost":                     {replicas: 3, survivors: scale, weights: halves, regions: records{"a": serving, "b": lost}, want: 6},
		"a third is lost":                  {replicas: 3, survivors: scale, weights: thirds, regions: records{"a": serving, "b": lost, "c": serving}, want: 5},
		"kept":                             {replicas: 3, survivors: keep, weights: halves, regions: records{"a": serving, "b": lost}, want: 3},
		"not declared":                     {replicas: 3, weights: halves, regions: records{"a": serving, "b": lost}, want: 3},
		"drained":                          {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": drained}, want: 4},
		"being drained":                    {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": drained}, closing: records{"a": serving, "b": serving}, want: 4},
		"about to be drained":              {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": serving}, prepared: []string{"b"}, want: 4},
		"about to be drained, and kept":    {replicas: 2, survivors: keep, weights: halves, regions: records{"a": serving, "b": serving}, prepared: []string{"b"}, want: 2},
		"about to be drained itself":       {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": serving}, prepared: []string{"a"}, want: 2},
		"both are about to be drained":     {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": serving}, prepared: []string{"a", "b"}, want: 4},
		"one is lost, one is about to go":  {replicas: 2, survivors: scale, weights: thirds, regions: records{"a": serving, "b": lost, "c": serving}, prepared: []string{"c"}, want: 6},
		"back, without its keys":           {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": back}, want: 4},
		"back, about to have its keys":     {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": serving}, closing: records{"a": serving, "b": back}, want: 4},
		"back, with this service's keys":   {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": back}, service: ownership.ServiceState{HandedBack: map[string]int64{"b": 9}}, want: 2},
		"drained of this service":          {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": serving}, service: ownership.ServiceState{Excluded: []string{"b"}}, want: 4},
		"this one is drained of it":        {replicas: 2, survivors: scale, weights: thirds, regions: records{"a": serving, "b": lost, "c": serving}, service: ownership.ServiceState{Excluded: []string{"a"}}, want: 2},
		"one has not joined yet":           {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving}, want: 4},
		"a newcomer has no keys yet":       {replicas: 2, survivors: scale, weights: halves, regions: records{"a": serving, "b": {State: ownership.RegionReturning}}, want: 4},
		"the lost one has no weight":       {replicas: 2, survivors: scale, weights: weights{"a": 50, "b": 0}, regions: records{"a": serving, "b": lost}, want: 2},
		"the others have no weight":        {replicas: 2, survivors: scale, weights: weights{"a": 0, "b": 50, "c": 0}, regions: records{"a": serving, "b": lost, "c": serving}, want: 3},
		"this one is drained":              {replicas: 2, survivors: scale, weights: halves, regions: records{"a": drained, "b": lost}, want: 2},
		"scaled to nothing":                {replicas: 0, survivors: scale, weights: halves, regions: records{"a": serving, "b": lost}, want: 0},
		"the regions agree on nothing yet": {replicas: 2, survivors: scale, weights: halves, regions: nil, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := &v1alpha1.RegionalServiceSpec{Region: "a", ServiceID: "s", Ownership: []v1alpha1.OwnershipSlice{{}}}
			spec.Workload.Replicas, spec.Workload.Survivors, spec.Workload.PreparedFor = ptr.To(c.replicas), c.survivors, c.prepared
			for _, r := range slices.Sorted(maps.Keys(c.weights)) {
				spec.Ownership[0].Regions = append(spec.Ownership[0].Regions, v1alpha1.RegionWeight{Name: r, Weight: c.weights[r]})
			}
			conf := ownership.Configuration{
				View:     ownership.View{Phase: ownership.PhaseOpen, Regions: c.regions},
				Services: map[string]ownership.ServiceRecord{"s": {UID: "s", ServiceState: c.service}},
			}
			if c.closing != nil {
				conf.View.Phase, conf.View.Previous = ownership.PhaseClosing, c.closing
			}
			if got := regional.Replicas(spec, conf); *got != c.want {
				t.Errorf("%d replicas, want %d", *got, c.want)
			}
		})
	}
}

// An autoscaler may choose more, and never more than is declared.
func TestSurvivorsThatAreAutoscaled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		least, most int32
		survivors   string
		want        int32
	}{
		"room":        {3, 10, v1alpha1.SurvivorsScale, 6},
		"little room": {3, 4, v1alpha1.SurvivorsScale, 4},
		"kept":        {3, 10, v1alpha1.SurvivorsKeep, 3},
		"by default":  {0, 10, v1alpha1.SurvivorsScale, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rs := &v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: "a", ServiceID: "s", Ownership: []v1alpha1.OwnershipSlice{{
				Regions: []v1alpha1.RegionWeight{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}},
			}}}}
			rs.Name, rs.Namespace = "user", "accounts"
			rs.Spec.Workload.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: c.least, MaxReplicas: c.most}
			rs.Spec.Workload.Survivors = c.survivors
			conf := ownership.Configuration{
				View: ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
					"a": {State: ownership.RegionServing}, "b": {State: ownership.RegionLost},
				}},
				Services: map[string]ownership.ServiceRecord{"s": {UID: "s"}},
			}
			least := regional.Replicas(&rs.Spec, conf)
			if *least != c.want {
				t.Errorf("at least %d replicas, want %d", *least, c.want)
			}
			a := regional.Autoscaler(rs, *least)
			if d := regional.Workload(rs); d.Spec.Replicas != nil || a.Spec.ScaleTargetRef.Name != d.Name {
				t.Errorf("the Deployment %s has %v replicas of its own, and the autoscaler is for %s", d.Name, d.Spec.Replicas, a.Spec.ScaleTargetRef.Name)
			}
			if *a.Spec.MinReplicas != c.want || a.Spec.MaxReplicas != c.most || *a.Spec.Metrics[0].Resource.Target.AverageUtilization != 70 {
				t.Errorf("the autoscaler is %+v", a.Spec)
			}
		})
	}
}
