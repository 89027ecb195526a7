package datastore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/datastore"
)

func TestReport(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for management, word := range map[v1alpha1.StoreManagement]string{
		v1alpha1.StoreManaged:  "Set MySQL's replication up",
		v1alpha1.StoreObserved: "replication that exists goes on",
		v1alpha1.StoreExternal: "goes on by itself",
	} {
		t.Run(string(management), func(t *testing.T) {
			t.Parallel()
			d := &v1alpha1.DataStore{
				ObjectMeta: metav1.ObjectMeta{Name: "users-db", Generation: 2},
				Spec:       v1alpha1.DataStoreSpec{Engine: v1alpha1.EngineMySQL, Management: management},
			}
			datastore.Report(now, d)
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
			if c == nil || c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonNotSupportedYet {
				t.Fatalf("condition Ready is %+v", c)
			}
			if c.ObservedGeneration != 2 || d.Status.ObservedGeneration != 2 {
				t.Errorf("generation 2 is not the observed one: %+v", d.Status)
			}
			for _, want := range []string{"does not act on stores", word} {
				if !strings.Contains(c.Message, want) {
					t.Errorf("%q does not say %q", c.Message, want)
				}
			}
			again := d.DeepCopy()
			datastore.Report(now.Add(time.Hour), again)
			if diff := cmp.Diff(d, again); diff != "" {
				t.Errorf("a second report changes the first (-first +second)\n%s", diff)
			}
		})
	}
}
