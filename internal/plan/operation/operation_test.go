package operation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/operation"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Every type is answered with its name and with something to do that concerns its object.
func TestEveryOrderIsRefusedWithAWayOut(t *testing.T) {
	t.Parallel()
	for kind, words := range map[v1alpha1.OperationType][]string{
		v1alpha1.OperationDrain:           {"region beijing", "stop its edge and its member"},
		v1alpha1.OperationUndrain:         {"region beijing", "serves again by itself"},
		v1alpha1.OperationHandback:        {"region beijing", "nothing to hand back"},
		v1alpha1.OperationApproveFailover: {"Region beijing", "always automatic"},
		v1alpha1.OperationDeclareLost:     {"region beijing", "declared anew without it"},
		v1alpha1.OperationAbandon:         {"MultiActiveService accounts/user", "finalizer multiactive.dev/hub"},
		v1alpha1.OperationAnnounce:        {"MultiActiveService accounts/user", "spec.announcements"},
		v1alpha1.OperationDrill:           {"region beijing", "rehearse"},
		"Future":                          {"API reference"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			o := &v1alpha1.Operation{
				ObjectMeta: metav1.ObjectMeta{Name: "o", Generation: 1},
				Spec: v1alpha1.OperationSpec{
					Type: kind, Region: "beijing", Service: &v1alpha1.ServiceKey{Namespace: "accounts", Name: "user"},
				},
			}
			operation.Report(now, o)
			if o.Status.State != v1alpha1.OperationRefused {
				t.Errorf("state %q, want Refused", o.Status.State)
			}
			c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionComplete)
			if c == nil || c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonNotSupportedYet || c.ObservedGeneration != 1 {
				t.Fatalf("condition Complete is %+v", c)
			}
			for _, word := range append(words, string(kind)+" is not in this version") {
				if !strings.Contains(c.Message, word) {
					t.Errorf("%q does not say %q", c.Message, word)
				}
			}
			again := o.DeepCopy()
			operation.Report(now.Add(time.Hour), again)
			if diff := cmp.Diff(o, again); diff != "" {
				t.Errorf("a second report changes the first (-first +second)\n%s", diff)
			}
		})
	}
}

func TestAnOrderThatHasEndedStays(t *testing.T) {
	t.Parallel()
	for _, state := range []v1alpha1.OperationState{v1alpha1.OperationSucceeded, v1alpha1.OperationFailed} {
		o := &v1alpha1.Operation{Spec: v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain}, Status: v1alpha1.OperationStatus{State: state}}
		before := o.DeepCopy()
		operation.Report(now, o)
		if diff := cmp.Diff(before, o); diff != "" {
			t.Errorf("%s (-before +after)\n%s", state, diff)
		}
	}
}
