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
	is := func(region string, ready metav1.ConditionStatus, reason, message string) v1alpha1.StoreRegionStatus {
		return v1alpha1.StoreRegionStatus{Region: region, Ready: ready, Reason: reason, Message: message}
	}
	const yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	for name, test := range map[string]struct {
		management v1alpha1.StoreManagement
		says       []v1alpha1.StoreRegionStatus
		ready      metav1.ConditionStatus
		reason     string
		words      []string
		summary    string
		regions    []string
	}{
		"nobody uses it": {ready: unknown, reason: v1alpha1.ReasonNotUsed, words: []string{"no data class"}},
		"external": {management: v1alpha1.StoreExternal, ready: yes, reason: v1alpha1.ReasonExternal, words: []string{"consistent by itself"},
			says: []v1alpha1.StoreRegionStatus{is("beijing", unknown, "", "")}},
		"all ready, in the order of the endpoints": {
			says:  []v1alpha1.StoreRegionStatus{is("shanghai", yes, "AsDeclared", "fine"), is("beijing", yes, "AsDeclared", "fine")},
			ready: yes, reason: v1alpha1.ReasonAsDeclared, summary: "2/2", regions: []string{"beijing", "shanghai"},
		},
		"one is not": {
			says:  []v1alpha1.StoreRegionStatus{is("beijing", yes, "AsDeclared", "fine"), is("shanghai", no, "ServerUnreachable", "no answer")},
			ready: no, reason: "ServerUnreachable", words: []string{"shanghai: no answer"}, summary: "1/2", regions: []string{"beijing", "shanghai"},
		},
		"false before unknown": {
			says:  []v1alpha1.StoreRegionStatus{is("beijing", unknown, "NotYetObserved", "not observed"), is("shanghai", no, "Preconditions", "log_bin is off")},
			ready: no, reason: "Preconditions", words: []string{"beijing: not observed; shanghai: log_bin is off"}, summary: "0/2", regions: []string{"beijing", "shanghai"},
		},
		"two services, the worst counts": {
			says:  []v1alpha1.StoreRegionStatus{is("beijing", yes, "AsDeclared", "fine"), is("beijing", no, "EngineFault", "stopped"), is("beijing", yes, "AsDeclared", "fine")},
			ready: no, reason: "EngineFault", words: []string{"beijing: stopped"}, summary: "0/1", regions: []string{"beijing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &v1alpha1.DataStore{
				ObjectMeta: metav1.ObjectMeta{Name: "users-db", Generation: 2},
				Spec: v1alpha1.DataStoreSpec{Engine: v1alpha1.EngineMySQL, Management: test.management,
					Endpoints: []v1alpha1.StoreEndpoint{{Region: "beijing"}, {Region: "shanghai"}}},
			}
			var seen datastore.Seen
			for _, s := range test.says {
				seen.Add(s)
			}
			datastore.Report(now, d, seen)
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
			if c == nil || c.Status != test.ready || c.Reason != test.reason || c.ObservedGeneration != 2 || d.Status.ObservedGeneration != 2 {
				t.Fatalf("condition Ready is %+v", c)
			}
			for _, want := range test.words {
				if !strings.Contains(c.Message, want) {
					t.Errorf("%q does not say %q", c.Message, want)
				}
			}
			var regions []string
			for _, r := range d.Status.Regions {
				regions = append(regions, r.Region)
			}
			if d.Status.RegionsReady != test.summary || !cmp.Equal(regions, test.regions) {
				t.Errorf("regions %v, summary %q, want %v, %q", regions, d.Status.RegionsReady, test.regions, test.summary)
			}
			again := d.DeepCopy()
			datastore.Report(now.Add(time.Hour), again, seen)
			if diff := cmp.Diff(d, again); diff != "" {
				t.Errorf("a second report changes the first (-first +second)\n%s", diff)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	gone := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for name, test := range map[string]struct {
		deleted    *metav1.Time
		finalizers []string
		usedBy     []string
		want       datastore.Step
	}{
		"new":               {want: datastore.StepAddFinalizer},
		"kept":              {finalizers: []string{datastore.Finalizer}},
		"deleted and used":  {deleted: &gone, finalizers: []string{datastore.Finalizer}, usedBy: []string{"accounts/user"}},
		"deleted, not used": {deleted: &gone, finalizers: []string{datastore.Finalizer}, want: datastore.StepRemoveFinalizer},
		"let go of":         {deleted: &gone, finalizers: []string{"another"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &v1alpha1.DataStore{ObjectMeta: metav1.ObjectMeta{Name: "users-db", DeletionTimestamp: test.deleted, Finalizers: test.finalizers}}
			seen := datastore.Seen{UsedBy: test.usedBy}
			if got := datastore.Decide(d, seen); got != test.want {
				t.Errorf("step %q, want %q", got, test.want)
			}
			if test.deleted == nil || len(test.usedBy) == 0 {
				return
			}
			datastore.Report(gone.Time, d, seen)
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
			if c == nil || c.Reason != v1alpha1.ReasonDeleting || !strings.Contains(c.Message, "accounts/user") {
				t.Errorf("condition %+v does not name who uses the store", c)
			}
		})
	}
}
