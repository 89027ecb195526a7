// Package regionincident turns the agreed record of an outage, and what the regions and services
// say of it, into a RegionIncident's status: values in, values out. It must never forget what was
// recorded once: the store and the regions do.
package regionincident

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/condition"
	"multiactive.dev/operator/internal/routing"
)

// History is how many closed incidents are kept.
const History = 50

// worstServices is how many services an incident lists.
const worstServices = 20

// maxRisks is how many links an incident lists.
const maxRisks = 64

// ServiceSeen is one service that declares the region.
type ServiceSeen struct {
	Namespace, Name string
	// Degraded flows now.
	Degraded []string
	// Deferred is how many requests wait, as the service's summary has it.
	Deferred string
	// Risks by link, as the survivors report them.
	Risks []v1alpha1.DataAtRisk
	// Late changes by store, as the survivors report them.
	Late map[string][]v1alpha1.LateChanges
	// Epochs that the survivors' gateways act on.
	Epochs []ActedEpoch
}

// ActedEpoch is an epoch that the gateways of a region act on.
type ActedEpoch struct {
	Epoch int64
	// Since is when the first did so, by that region's clock; zero when it did not say.
	Since time.Time
}

// Seen is all that was read for one pass.
type Seen struct {
	// Agreed is the store's record; nil once the store has forgotten it.
	Agreed *ownership.Incident
	// View is the agreed view now.
	View     ownership.View
	Services []ServiceSeen
	// AwaitHandback and AwaitApproval name the services that wait for an order about the region.
	AwaitHandback, AwaitApproval []string
}

// Report fills the incident's status.
func Report(now time.Time, i *v1alpha1.RegionIncident, seen Seen) {
	set := condition.Set{List: &i.Status.Conditions, Generation: i.Generation, Now: now}
	if seen.Agreed == nil {
		forgotten(i, seen, set)
		return
	}
	timeline(i, seen.Agreed)
	i.Status.Epoch = seen.Agreed.Epoch
	if !seen.Agreed.Closed {
		routed(now, i, seen)
		services(i, seen)
		risks(i, seen)
	}
	lateChanges(i, seen)
	recovery(i)
	i.Status.State = stateOf(seen)
	resolved(i, seen, set)
}

// forgotten reports an incident that the store has forgotten. What it was found to be stays.
func forgotten(i *v1alpha1.RegionIncident, seen Seen, set condition.Set) {
	if Over(i.Status.State) {
		resolved(i, seen, set)
		return
	}
	i.Status.State = v1alpha1.IncidentClosed
	set.True(v1alpha1.ConditionResolved, v1alpha1.ReasonIncidentClosed, "the coordination store has closed the incident")
}

func resolved(i *v1alpha1.RegionIncident, seen Seen, set condition.Set) {
	switch i.Status.State {
	case v1alpha1.IncidentClosed:
		set.True(v1alpha1.ConditionResolved, v1alpha1.ReasonIncidentClosed, "region %s serves again", i.Spec.Region)
	case v1alpha1.IncidentFalseAlarm:
		set.True(v1alpha1.ConditionResolved, v1alpha1.ReasonFalseAlarm,
			"most other regions could not reach region %s for a while; it answered again before it was lost, and nothing was changed. "+
				"Look for overload, or a link that failed for seconds", i.Spec.Region)
	case v1alpha1.IncidentConfirmed, v1alpha1.IncidentSuspected:
		set.False(v1alpha1.ConditionResolved, v1alpha1.ReasonIncidentOpen,
			"most other regions cannot reach region %s; they go on without it once its lease has run out", i.Spec.Region)
	default:
		reason, message := open(i.Spec.Region, seen)
		set.False(v1alpha1.ConditionResolved, reason, "%s", message)
	}
}

// Over reports whether an incident of the state has ended.
func Over(s v1alpha1.IncidentState) bool {
	return s == v1alpha1.IncidentClosed || s == v1alpha1.IncidentFalseAlarm
}

func stateOf(seen Seen) v1alpha1.IncidentState {
	rec := seen.View.Regions[seen.Agreed.Region]
	switch {
	case reached(seen.Agreed, ownership.StepFalseAlarm):
		return v1alpha1.IncidentFalseAlarm
	case seen.Agreed.Closed:
		return v1alpha1.IncidentClosed
	case rec.State == ownership.RegionReturning:
		return v1alpha1.IncidentReturning
	case rec.State == ownership.RegionLost, seen.Agreed.Epoch > 0:
		return v1alpha1.IncidentLost
	case reached(seen.Agreed, ownership.StepConfirmed):
		return v1alpha1.IncidentConfirmed
	default:
		return v1alpha1.IncidentSuspected
	}
}

func reached(i *ownership.Incident, step string) bool {
	return slices.ContainsFunc(i.Timeline, func(s ownership.IncidentStep) bool { return s.Step == step })
}

// timeline takes over the agreed steps; FirstSurvivorRouted may be the hub's own.
func timeline(i *v1alpha1.RegionIncident, agreed *ownership.Incident) {
	for _, step := range agreed.Timeline {
		at := metav1.NewMicroTime(step.At.UTC().Truncate(time.Microsecond))
		entry := v1alpha1.IncidentTime{Step: step.Step, At: &at, SinceStart: since(step)}
		if have := find(i, step.Step); have != nil {
			if step.Step != ownership.StepRouted {
				*have = entry
			}
			continue
		}
		i.Status.Timeline = append(i.Status.Timeline, entry)
		second := metav1.NewTime(step.At.UTC().Truncate(time.Second))
		switch step.Step {
		case ownership.StepSuspected:
			i.Status.StartedAt = &second
		case ownership.StepServing, ownership.StepFalseAlarm:
			i.Status.EndedAt = &second
		}
	}
	slices.SortStableFunc(i.Status.Timeline, func(a, b v1alpha1.IncidentTime) int { return a.At.Compare(b.At.Time) })
}

func since(step ownership.IncidentStep) string {
	if step.Approximate {
		return ""
	}
	return tenths(step.SinceSuspected)
}

func find(i *v1alpha1.RegionIncident, step string) *v1alpha1.IncidentTime {
	for n := range i.Status.Timeline {
		if i.Status.Timeline[n].Step == step {
			return &i.Status.Timeline[n]
		}
	}
	return nil
}

// routed notes when a survivor's gateways acted on the view that declared the region lost, as the first regions that tell of it have
// it, or else when the hub first saw it. That is another clock against the leader's: marked "~".
func routed(now time.Time, i *v1alpha1.RegionIncident, seen Seen) {
	if seen.Agreed.Epoch == 0 || find(i, ownership.StepRouted) != nil || len(seen.Agreed.Timeline) == 0 {
		return
	}
	var first time.Time
	for _, s := range seen.Services {
		for _, acted := range s.Epochs {
			if acted.Epoch < seen.Agreed.Epoch {
				continue
			}
			if first.IsZero() {
				first = now
			}
			if since := acted.Since; !since.IsZero() && since.Before(first) {
				first = since
			}
		}
	}
	if first.IsZero() {
		return
	}
	// It followed the commit, whatever another region's clock says.
	if committed := find(i, ownership.StepCommitted); committed != nil && first.Before(committed.At.Time) {
		first = committed.At.Time
	}
	at := metav1.NewMicroTime(first.UTC().Truncate(time.Microsecond))
	i.Status.Timeline = append(i.Status.Timeline, v1alpha1.IncidentTime{
		Step: ownership.StepRouted, At: &at, SinceStart: "~" + tenths(max(0, first.Sub(seen.Agreed.Timeline[0].At))),
	})
}

// recovery is the time until survivors were routed to, or, before anybody saw that, until the view
// was committed.
func recovery(i *v1alpha1.RegionIncident) {
	for _, step := range []string{ownership.StepRouted, ownership.StepCommitted} {
		if t := find(i, step); t != nil && t.SinceStart != "" {
			i.Status.Recovery = t.SinceStart
			return
		}
	}
}

// services keeps, for each service, the most flows that were degraded at once, and the most requests that waited.
func services(i *v1alpha1.RegionIncident, seen Seen) {
	if seen.Agreed.Epoch == 0 {
		return
	}
	i.Status.Services = ptr.To(int32(len(seen.Services))) //nolint:gosec // far below the limit
	for _, s := range seen.Services {
		if len(s.Degraded) == 0 {
			continue
		}
		n := slices.IndexFunc(i.Status.WorstServices, func(w v1alpha1.IncidentService) bool {
			return w.Namespace == s.Namespace && w.Name == s.Name
		})
		if n < 0 {
			n = len(i.Status.WorstServices)
			i.Status.WorstServices = append(i.Status.WorstServices, v1alpha1.IncidentService{Namespace: s.Namespace, Name: s.Name})
		}
		entry := &i.Status.WorstServices[n]
		if len(s.Degraded) > len(entry.DegradedFlows) {
			entry.DegradedFlows = slices.Clone(s.Degraded)
		}
		entry.Deferred = routing.Larger(entry.Deferred, s.Deferred)
	}
	slices.SortStableFunc(i.Status.WorstServices, func(a, b v1alpha1.IncidentService) int {
		return cmp.Or(cmp.Compare(len(b.DegradedFlows), len(a.DegradedFlows)),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	i.Status.WorstServices = i.Status.WorstServices[:min(worstServices, len(i.Status.WorstServices))]
}

// risks keeps, for each link, the lag that its target latched when the region was lost.
func risks(i *v1alpha1.RegionIncident, seen Seen) {
	for _, s := range seen.Services {
		for _, risk := range s.Risks {
			risk = *risk.DeepCopy()
			risk.Name = s.Namespace + "/" + s.Name + "/" + risk.Name
			n := slices.IndexFunc(i.Status.DataAtRisk, func(d v1alpha1.DataAtRisk) bool { return d.Name == risk.Name })
			switch {
			case n < 0:
				i.Status.DataAtRisk = append(i.Status.DataAtRisk, risk)
			case worse(risk, i.Status.DataAtRisk[n]):
				i.Status.DataAtRisk[n] = risk
			}
		}
	}
	slices.SortStableFunc(i.Status.DataAtRisk, func(a, b v1alpha1.DataAtRisk) int {
		switch {
		case worse(a, b):
			return -1
		case worse(b, a):
			return 1
		default:
			return cmp.Compare(a.Name, b.Name)
		}
	})
	i.Status.DataAtRisk = i.Status.DataAtRisk[:min(maxRisks, len(i.Status.DataAtRisk))]
	if len(i.Status.DataAtRisk) == 0 {
		return
	}
	if worst := i.Status.DataAtRisk[0]; worst.Lag == nil {
		i.Status.DataAtRiskSummary = "unknown"
	} else {
		i.Status.DataAtRiskSummary = tenths(worst.Lag.Duration)
	}
}

// worse puts the unknown before the known, and the longer before the shorter.
func worse(a, b v1alpha1.DataAtRisk) bool {
	if a.Lag == nil || b.Lag == nil {
		return a.Lag == nil && b.Lag != nil
	}
	return a.Lag.Duration > b.Lag.Duration
}

func tenths(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Surplus returns the names of the closed incidents beyond the newest History.
func Surplus(all []v1alpha1.RegionIncident) []string {
	var closed []v1alpha1.RegionIncident
	for _, i := range all {
		if Over(i.Status.State) {
			closed = append(closed, i)
		}
	}
	slices.SortFunc(closed, func(a, b v1alpha1.RegionIncident) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var out []string
	for n := History; n < len(closed); n++ {
		out = append(out, closed[n].Name)
	}
	return out
}
