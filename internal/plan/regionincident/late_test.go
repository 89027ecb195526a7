package regionincident_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionincident"
)

// What became of late changes is told of this outage, as the region that knows most tells it, and stays when the incident is closed.
func TestLateChanges(t *testing.T) {
	t.Parallel()
	incident := &v1alpha1.RegionIncident{Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"}}
	late := func(region string, after time.Duration, applied, open int64) v1alpha1.LateChanges {
		return v1alpha1.LateChanges{Region: region, LostAt: metav1.NewMicroTime(start.Add(after)), Applied: applied, Open: open}
	}
	conflict := []v1alpha1.RowConflict{{Table: "a.a", Key: "1", Outcome: "Open"}}
	most := late("beijing", time.Second, 5, 1)
	most.Conflicts = conflict
	services := []plan.ServiceSeen{
		{Namespace: "a", Name: "a", Late: map[string][]v1alpha1.LateChanges{
			"db":    {late("beijing", -time.Hour, 9, 9), late("shanghai", time.Second, 7, 0)}, // an earlier outage, another region's
			"other": {late("beijing", time.Second, 1, 0)},
		}},
		{Namespace: "a", Name: "b", Late: map[string][]v1alpha1.LateChanges{"db": {late("beijing", time.Second, 3, 0), most, late("beijing", time.Second, 4, 1)}}},
	}
	steps := []string{ownership.StepSuspected, ownership.StepCommitted, ownership.StepServing}
	want := []v1alpha1.IncidentLateChanges{{Store: "db", Applied: 5, Open: 1, Conflicts: conflict}, {Store: "other", Applied: 1}}
	for _, seen := range []plan.Seen{
		{Agreed: agreed(steps[:2]...), Services: services}, {Agreed: agreed(steps...), Services: services}, {Agreed: agreed(steps...)}, {},
	} {
		plan.Report(start, incident, seen)
		if diff := cmp.Diff(want, incident.Status.LateChanges); diff != "" {
			t.Errorf("late changes (-want +got):\n%s", diff)
		}
	}
}
