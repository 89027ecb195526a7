package events_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/events"
)

func TestTransitions(t *testing.T) {
	t.Parallel()
	is := func(kind string, status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: status, Reason: reason, Message: reason}}
	}
	const (
		yes     = metav1.ConditionTrue
		no      = metav1.ConditionFalse
		unknown = metav1.ConditionUnknown
	)
	for name, c := range map[string]struct {
		before, after []metav1.Condition
		want          []string
	}{
		"nothing changed": {is("Degraded", yes, "Lost"), is("Degraded", yes, "Lost"), nil},
		"first good observation is no news": {
			is("CoreAvailable", unknown, "NotYetObserved"), is("CoreAvailable", yes, "AllFlowsAvailable"), nil,
		},
		"ready for the first time":    {nil, is("Ready", yes, "AsDeclared"), []string{"Normal AsDeclared"}},
		"not ready is told by others": {is("Ready", yes, "AsDeclared"), is("Ready", no, "RegionLost"), nil},
		"a slice is refused":          {is("Ready", yes, "AsDeclared"), is("Ready", no, "StaleSlice"), []string{"Warning StaleSlice"}},
		"became bad":                  {is("Degraded", no, "AllFlowsAvailable"), is("Degraded", yes, "HomeRegionLost"), []string{"Warning HomeRegionLost"}},
		"became good":                 {is("Degraded", yes, "HomeRegionLost"), is("Degraded", no, "AllFlowsAvailable"), []string{"Normal AllFlowsAvailable"}},
		"bad for another reason":      {is("TopicsReady", no, "NoKafka"), is("TopicsReady", no, "TopicConflict"), []string{"Warning TopicConflict"}},
		"on its way":                  {is("WorkloadsAvailable", unknown, ""), is("WorkloadsAvailable", no, "Progressing"), nil},
		"arrived":                     {is("WorkloadsAvailable", no, "Progressing"), is("WorkloadsAvailable", yes, "AsDeclared"), nil},
		"ready after a while":         {is("Ready", no, "Progressing"), is("Ready", yes, "AsDeclared"), []string{"Normal AsDeclared"}},
		"a region's gateways fail":    {is("GatewayReady", yes, "AsDeclared"), is("GatewayReady", no, "CrashLoop"), []string{"Warning CrashLoop"}},
		"a region's links recover":    {is("LinksHealthy", no, "Lagging"), is("LinksHealthy", yes, "Streaming"), []string{"Normal Streaming"}},
		"a repair of what is good":    {is("TopicsReady", yes, "AsDeclared"), is("TopicsReady", yes, "TopicRepaired"), []string{"Normal TopicRepaired"}},
		"the same repair":             {is("TopicsReady", yes, "TopicRepaired"), is("TopicsReady", yes, "TopicRepaired"), nil},
		"another good reason":         {is("TopicsReady", yes, "TopicRepaired"), is("TopicsReady", yes, "AsDeclared"), nil},
		"a type that is not notable":  {is("SpecInSync", yes, "A"), is("SpecInSync", no, "B"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, e := range events.Transitions(c.before, c.after) {
				got = append(got, e.Type+" "+e.Reason)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestOfSlice: that a region has its part of a service is what the service tells; that it has it again is told.
func TestOfSlice(t *testing.T) {
	t.Parallel()
	is := func(kind string, status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: status, Reason: reason, Message: reason}}
	}
	ready := is("Ready", metav1.ConditionTrue, "AsDeclared")
	for name, c := range map[string]struct {
		before, after []metav1.Condition
		want          int
	}{
		"the first observation":     {nil, ready, 0},
		"it was on its way":         {is("Ready", metav1.ConditionFalse, "Progressing"), ready, 0},
		"the regions have agreed":   {is("Ready", metav1.ConditionFalse, "OwnershipChangePending"), ready, 0},
		"something was wrong":       {is("Ready", metav1.ConditionFalse, "ImagePull"), ready, 1},
		"a slice is refused":        {ready, is("Ready", metav1.ConditionFalse, "StaleSlice"), 1},
		"something else goes wrong": {nil, is("GatewayReady", metav1.ConditionFalse, "CrashLoop"), 1},
	} {
		if got := events.OfSlice(c.before, c.after); len(got) != c.want {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
	}
}

// The API server refuses events with longer notes, whatever the language.
func TestNotesAreShortEnough(t *testing.T) {
	t.Parallel()
	for _, letter := range []string{"a", "é", "京", "🏙"} {
		message := strings.Repeat(letter, 2000)
		got := events.Transitions(nil, []metav1.Condition{{Type: "Degraded", Status: metav1.ConditionTrue, Reason: "X", Message: message}})
		if len(got) != 1 || len(got[0].Note) > 1024 || len(got[0].Note) < 900 || !utf8.ValidString(got[0].Note) {
			t.Errorf("%s: %d bytes are not a note", letter, len(got[0].Note))
		}
	}
}

// A recorder folds events of one object that share reason and action.
func TestFlowsAreNotFoldedIntoOne(t *testing.T) {
	if a, b := events.FlowDegraded("register", "Reject"), events.FlowDegraded("profile", "ReadOnly"); a.Action == b.Action {
		t.Errorf("both have the action %q: only one would be kept", a.Action)
	}
}

func TestFlows(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]events.Event{
		"Warning FlowDegraded flow register cannot be served for some keys, which meet Reject": events.FlowDegraded("register", "Reject"),
		"Normal FlowRestored flow register is served as declared":                              events.FlowRestored("register"),
	} {
		if text := got.Type + " " + got.Reason + " " + got.Note; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]events.Event{
		"Warning IncidentOpen most other regions cannot reach region north; they go on without it once its lease has run out": events.IncidentOpened("north"),
		"Normal IncidentClosed region north serves again":                                                                     events.IncidentClosed("north"),
		"Normal FalseAlarm region north answers again and was never lost; nothing was changed":                                events.FalseAlarm("north"),
	} {
		if text := got.Type + " " + got.Reason + " " + got.Note; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	is := func(state v1alpha1.OperationState, reason string) v1alpha1.OperationStatus {
		return v1alpha1.OperationStatus{State: state, Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionComplete, Reason: reason, Message: strings.Repeat("é", 1000)},
		}}
	}
	for name, c := range map[string]struct {
		before, after v1alpha1.OperationStatus
		want          string
	}{
		"seen":                      {after: is("Pending", "OrderPending")},
		"taken up":                  {is("Pending", "OrderPending"), is("Running", "OrderRunning"), "Normal OrderRunning"},
		"taken up at once":          {after: is("Running", "Announced"), want: "Normal Announced"},
		"waits for something else":  {before: is("Running", "CapacityAwaited"), after: is("Running", "OrderRunning")},
		"done":                      {is("Running", "OrderRunning"), is("Succeeded", "OrderSucceeded"), "Normal OrderSucceeded"},
		"refused":                   {after: is("Refused", "OrderInvalid"), want: "Warning OrderInvalid"},
		"given up":                  {is("Running", "OrderRunning"), is("Failed", "OrderFailed"), "Warning OrderFailed"},
		"a drill that is aborted":   {is("Running", "OrderRunning"), is("Failed", "DrillAborted"), "Warning DrillAborted"},
		"nothing is said of it yet": {after: v1alpha1.OperationStatus{State: "Running"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if e := events.Order(v1alpha1.OperationDrill, c.before, c.after); e != nil {
				got = e.Type + " " + e.Reason
				if e.Action != "Drill" || len(e.Note) > 1024 || !utf8.ValidString(e.Note) {
					t.Errorf("action %q, a note of %d bytes", e.Action, len(e.Note))
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
