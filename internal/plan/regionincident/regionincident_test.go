package regionincident_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionincident"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func agreed(steps ...string) *ownership.Incident {
	i := &ownership.Incident{Name: "beijing-7", Region: "beijing"}
	for n, step := range steps {
		since := time.Duration(n) * 1500 * time.Millisecond
		i.Timeline = append(i.Timeline, ownership.IncidentStep{Step: step, At: start.Add(since), SinceSuspected: since})
		switch step {
		case ownership.StepCommitted:
			i.Epoch = 8
		case ownership.StepServing, ownership.StepFalseAlarm:
			i.Closed = true
		}
	}
	return i
}

// acted are epochs that regions tell without since when.
func acted(epochs ...int64) []plan.ActedEpoch {
	var out []plan.ActedEpoch
	for _, e := range epochs {
		out = append(out, plan.ActedEpoch{Epoch: e})
	}
	return out
}

func lag(name string, d time.Duration) v1alpha1.DataAtRisk {
	return v1alpha1.DataAtRisk{Name: name, Lag: &metav1.Duration{Duration: d}}
}

// TestOutage follows one outage from its confirmation until the store has forgotten it.
func TestOutage(t *testing.T) {
	t.Parallel()
	incident := &v1alpha1.RegionIncident{Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"}}
	view := func(state ownership.RegionState) ownership.View {
		return ownership.View{Epoch: 8, Regions: map[string]ownership.RegionRecord{"beijing": {State: state}}}
	}
	report := func(after time.Duration, seen plan.Seen, state v1alpha1.IncidentState, resolved metav1.ConditionStatus) {
		t.Helper()
		plan.Report(start.Add(after), incident, seen)
		if incident.Status.State != state {
			t.Errorf("state %s, want %s", incident.Status.State, state)
		}
		if !meta.IsStatusConditionPresentAndEqual(incident.Status.Conditions, v1alpha1.ConditionResolved, resolved) {
			t.Errorf("conditions %v, want Resolved %s", incident.Status.Conditions, resolved)
		}
	}
	steps := []string{ownership.StepSuspected, ownership.StepConfirmed}
	report(2*time.Second, plan.Seen{Agreed: agreed(steps...), View: view(ownership.RegionServing)}, v1alpha1.IncidentConfirmed, metav1.ConditionFalse)

	steps = append(steps, ownership.StepCommitted)
	behind := plan.ServiceSeen{Namespace: "accounts", Name: "user", Epochs: acted(7, 7)}
	report(3*time.Second, plan.Seen{
		Agreed: agreed(steps...), View: view(ownership.RegionLost), Services: []plan.ServiceSeen{behind},
	}, v1alpha1.IncidentLost, metav1.ConditionFalse)
	if incident.Status.Recovery != "3.0s" {
		t.Errorf("recovery %q before anybody routed, want the time of the commit", incident.Status.Recovery)
	}

	routed := plan.ServiceSeen{
		Namespace: "accounts", Name: "user", Epochs: acted(7, 8), Degraded: []string{"register", "profile"}, Deferred: "<1000",
		Risks: []v1alpha1.DataAtRisk{lag("account", 700*time.Millisecond), lag("account", 2*time.Second)},
	}
	quiet := plan.ServiceSeen{Namespace: "shop", Name: "cart", Epochs: acted(8)}
	report(4*time.Second, plan.Seen{
		Agreed: agreed(steps...), View: view(ownership.RegionLost), Services: []plan.ServiceSeen{routed, quiet},
	}, v1alpha1.IncidentLost, metav1.ConditionFalse)
	if incident.Status.Recovery != "~4.0s" || incident.Status.DataAtRiskSummary != "2.0s" || *incident.Status.Services != 2 {
		t.Errorf("recovery %s, data at risk %s, services %d", incident.Status.Recovery, incident.Status.DataAtRiskSummary, *incident.Status.Services)
	}

	// On the way back fewer flows are degraded and risks are gone: what was worst stays.
	routed.Degraded, routed.Risks, routed.Deferred = routed.Degraded[:1], nil, "<10"
	steps = append(steps, ownership.StepReturned)
	report(time.Minute, plan.Seen{
		Agreed: agreed(steps...), View: view(ownership.RegionReturning), Services: []plan.ServiceSeen{routed},
	}, v1alpha1.IncidentReturning, metav1.ConditionFalse)
	steps = append(steps, ownership.StepServing)
	report(time.Hour, plan.Seen{Agreed: agreed(steps...), View: view(ownership.RegionServing)}, v1alpha1.IncidentClosed, metav1.ConditionTrue)
	closed := incident.Status.DeepCopy()
	report(2*time.Hour, plan.Seen{}, v1alpha1.IncidentClosed, metav1.ConditionTrue)

	want := []v1alpha1.IncidentService{{Namespace: "accounts", Name: "user", DegradedFlows: []string{"register", "profile"}, Deferred: "<1000"}}
	if diff := cmp.Diff(want, incident.Status.WorstServices); diff != "" {
		t.Errorf("worst services (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(closed.Timeline, incident.Status.Timeline); diff != "" {
		t.Errorf("the timeline was forgotten (-want +got)\n%s", diff)
	}
	var order []string
	for _, at := range incident.Status.Timeline {
		order = append(order, at.Step+" "+at.SinceStart)
	}
	if diff := cmp.Diff([]string{
		"Suspected 0.0s", "Confirmed 1.5s", "ViewCommitted 3.0s", "FirstSurvivorRouted ~4.0s", "Returned 4.5s", "ServingAgain 6.0s",
	}, order); diff != "" {
		t.Errorf("timeline (-want +got)\n%s", diff)
	}
	if incident.Status.StartedAt == nil || incident.Status.EndedAt == nil {
		t.Errorf("from %v to %v, want both", incident.Status.StartedAt, incident.Status.EndedAt)
	}
}

// TestRoutedIsTakenFromTheRegions: a leader without gateways knows not when owners were acted on. The regions do, and tell of it later;
// a clock of theirs that is behind or before the others' does not put it before the commit, nor after now.
func TestRoutedIsTakenFromTheRegions(t *testing.T) {
	t.Parallel()
	told := agreed(ownership.StepSuspected, ownership.StepConfirmed, ownership.StepCommitted) // after 3 s
	at := func(after time.Duration) plan.ActedEpoch { return plan.ActedEpoch{Epoch: 8, Since: start.Add(after)} }
	for name, c := range map[string]struct {
		epochs []plan.ActedEpoch
		want   string
	}{
		"nobody said when":   {acted(8), "~6.0s"},
		"a region said when": {[]plan.ActedEpoch{at(3200 * time.Millisecond)}, "~3.2s"},
		"the first of two":   {[]plan.ActedEpoch{at(4 * time.Second), at(3200 * time.Millisecond)}, "~3.2s"},
		"of another epoch":   {[]plan.ActedEpoch{{Epoch: 7, Since: start}, at(4 * time.Second)}, "~4.0s"},
		"a clock is behind":  {[]plan.ActedEpoch{at(time.Second)}, "~3.0s"},
		"a clock is before":  {[]plan.ActedEpoch{at(time.Hour)}, "~6.0s"},
		"nobody acts on it":  {acted(7), "3.0s"},
	} {
		incident := &v1alpha1.RegionIncident{Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"}}
		plan.Report(start.Add(6*time.Second), incident, plan.Seen{
			Agreed: told, View: ownership.View{Epoch: 8, Regions: map[string]ownership.RegionRecord{"beijing": {State: ownership.RegionLost}}},
			Services: []plan.ServiceSeen{{Namespace: "shop", Name: "cart", Epochs: c.epochs}},
		})
		if got := incident.Status.Recovery; got != c.want {
			t.Errorf("%s: recovery %s, want %s", name, got, c.want)
		}
	}
}

// TestFalseAlarm follows an incident whose region was never lost: it says so, also when the store has
// forgotten it, and there is nothing that recovered.
func TestFalseAlarm(t *testing.T) {
	t.Parallel()
	incident := &v1alpha1.RegionIncident{Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"}}
	serving := ownership.View{Epoch: 8, Regions: map[string]ownership.RegionRecord{"beijing": {State: ownership.RegionServing}}}
	services := []plan.ServiceSeen{{Namespace: "accounts", Name: "user", Epochs: acted(8), Degraded: []string{"register"}}}
	steps := []string{ownership.StepSuspected, ownership.StepConfirmed}
	for _, c := range []struct {
		seen   plan.Seen
		state  v1alpha1.IncidentState
		reason string
		ended  bool
	}{
		{
			plan.Seen{Agreed: agreed(steps...), View: serving, Services: services},
			v1alpha1.IncidentConfirmed, v1alpha1.ReasonIncidentOpen, false,
		},
		{
			plan.Seen{Agreed: agreed(append(steps, ownership.StepFalseAlarm)...), View: serving},
			v1alpha1.IncidentFalseAlarm, v1alpha1.ReasonFalseAlarm, true,
		},
		{plan.Seen{View: serving}, v1alpha1.IncidentFalseAlarm, v1alpha1.ReasonFalseAlarm, true},
	} {
		plan.Report(start.Add(time.Minute), incident, c.seen)
		status := incident.Status
		resolved := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionResolved)
		if status.State != c.state || resolved.Reason != c.reason || (resolved.Status == metav1.ConditionTrue) != c.ended {
			t.Errorf("state %s, %+v, want %s and %s", status.State, resolved, c.state, c.reason)
		}
		if status.Recovery != "" || status.Services != nil || len(status.WorstServices) > 0 || (status.EndedAt != nil) != c.ended {
			t.Errorf("a region that was not lost: recovery %q, services %v %v, ended at %v",
				status.Recovery, status.Services, status.WorstServices, status.EndedAt)
		}
	}
}

func TestUnknownRiskIsTheWorst(t *testing.T) {
	t.Parallel()
	incident := &v1alpha1.RegionIncident{Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"}}
	plan.Report(start, incident, plan.Seen{
		Agreed: agreed(ownership.StepSuspected, ownership.StepCommitted),
		Services: []plan.ServiceSeen{{Namespace: "a", Name: "b", Risks: []v1alpha1.DataAtRisk{
			lag("known", time.Hour), {Name: "unknown"},
		}}},
	})
	if incident.Status.DataAtRiskSummary != "unknown" {
		t.Errorf("summary %q: what is unknown must not look like what is known", incident.Status.DataAtRiskSummary)
	}
}

func TestSurplus(t *testing.T) {
	t.Parallel()
	var all []v1alpha1.RegionIncident
	for n := range plan.History + 3 {
		i := v1alpha1.RegionIncident{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("i", n), CreationTimestamp: metav1.NewTime(start.Add(time.Duration(n) * time.Minute)),
		}}
		i.Status.State = v1alpha1.IncidentClosed
		all = append(all, i)
	}
	all[0].Status.State = v1alpha1.IncidentLost // open ones are never surplus
	all[1].Status.State = v1alpha1.IncidentFalseAlarm
	if diff := cmp.Diff([]string{"i2", "i1"}, plan.Surplus(all)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
