package chart_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// What Flux, and others that wait by kstatus, make of our objects.
func TestKstatus(t *testing.T) {
	for name, tt := range map[string]struct {
		object string
		want   status.Status
	}{
		"edited":     {`{"metadata":{"generation":2},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"True"}]}}`, status.InProgressStatus},
		"ready":      {`{"metadata":{"generation":1},"status":{"observedGeneration":1,"conditions":[{"type":"Degraded","status":"False"},{"type":"Ready","status":"True"}]}}`, status.CurrentStatus},
		"on its way": {`{"metadata":{"generation":1},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"False"}]}}`, status.InProgressStatus},
		"not known":  {`{"metadata":{"generation":1},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"Unknown"}]}}`, status.InProgressStatus},
		"deleted":    {`{"metadata":{"generation":1,"deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"observedGeneration":1}}`, status.TerminatingStatus},
		"new":        {`{"metadata":{"generation":1},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`, status.InProgressStatus},
	} {
		t.Run(name, func(t *testing.T) {
			var u unstructured.Unstructured
			if err := json.Unmarshal([]byte(tt.object), &u.Object); err != nil {
				t.Fatal(err)
			}
			got, err := status.Compute(&u)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tt.want {
				t.Errorf("%s (%s), want %s", got.Status, got.Message, tt.want)
			}
		})
	}
}
