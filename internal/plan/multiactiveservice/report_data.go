package multiactiveservice

import (
	"cmp"
	stdslices "slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/condition"
)

// severity orders lags from good to bad. Unknown is worse than late: late is measured.
var severity = []v1alpha1.LagState{
	v1alpha1.LagNotReplicated, v1alpha1.LagWithinObjective, v1alpha1.LagWithinOutageObjective,
	v1alpha1.LagBeyondObjective, v1alpha1.LagUnknown,
}

func worse(a, b v1alpha1.LagState) v1alpha1.LagState {
	if stdslices.Index(severity, b) > stdslices.Index(severity, a) {
		return b
	}
	return a
}

// dataClasses reports how far each class lags between the regions that the hub reaches, and
// ReplicationHealthy.
func (r reporter) dataClasses() {
	outage := r.seen.openIncident(r.mas) != ""
	statuses := make([]v1alpha1.DataClassStatus, 0, len(r.mas.Spec.DataClasses))
	worst, at := v1alpha1.LagNotReplicated, 0
	var late, unknown []string
	for _, c := range r.mas.Spec.DataClasses {
		s := v1alpha1.DataClassStatus{Name: c.Name, Lag: r.lag(c)}
		if s.Lag != v1alpha1.LagNotReplicated {
			normal, duringOutage := slices.Objectives(c)
			s.Objective = &metav1.Duration{Duration: normal}
			if outage {
				s.Objective.Duration = duringOutage
			}
		}
		switch {
		case s.Lag == v1alpha1.LagUnknown:
			unknown = append(unknown, c.Name)
		case s.Lag == v1alpha1.LagBeyondObjective, s.Lag == v1alpha1.LagWithinOutageObjective && !outage:
			late = append(late, c.Name)
		}
		if worse(worst, s.Lag) != worst {
			worst, at = s.Lag, len(statuses)
		}
		statuses = append(statuses, s)
	}
	r.mas.Status.DataClasses = statuses
	r.summary().Lag = r.lagSummary(worst, at)
	const kind = v1alpha1.ConditionReplicationHealthy
	switch {
	case r.deleting(kind):
	case worst == v1alpha1.LagNotReplicated:
		r.set.True(kind, v1alpha1.ReasonNoLinks, "this version replicates nothing of this service")
	case len(late) > 0:
		r.set.False(kind, v1alpha1.ReasonLagging, "beyond their staleness objective: %s; see the regions' ReplicationLinks", strings.Join(late, ", "))
	case len(unknown) > 0:
		r.set.Unknown(kind, v1alpha1.ReasonLagUnknown, "not measured yet, or not measurable: %s; see the regions' ReplicationLinks", strings.Join(unknown, ", "))
	default:
		r.set.True(kind, v1alpha1.ReasonStreaming, "every data class that is replicated is within its staleness objective")
	}
}

// lag returns the worst that the connected regions report for a class.
func (r reporter) lag(c v1alpha1.DataClass) v1alpha1.LagState {
	if !r.replicated(c) || len(r.mas.Spec.Regions) < 2 {
		return v1alpha1.LagNotReplicated
	}
	out := v1alpha1.LagNotReplicated
	for _, declared := range r.mas.Spec.Regions {
		at := r.seen.region(declared.Name)
		if at.Slice == nil {
			continue
		}
		reported := v1alpha1.LagUnknown
		for _, l := range at.Slice.Status.Lag {
			if l.Name == c.Name {
				reported = cmp.Or(l.Lag, v1alpha1.LagUnknown)
			}
		}
		out = worse(out, reported)
	}
	if out == v1alpha1.LagNotReplicated {
		return v1alpha1.LagUnknown // declared, and nobody says anything
	}
	return out
}

// replicated reports whether the operator has a class carried from region to region.
func (r reporter) replicated(c v1alpha1.DataClass) bool {
	if slices.MessageQueue(c) != nil {
		return true
	}
	s := slices.StorageReplication(c)
	if s == nil {
		return false
	}
	d := r.seen.Stores[s.Store]
	return d != nil && d.Spec.Management != v1alpha1.StoreExternal
}

func (r reporter) lagSummary(worst v1alpha1.LagState, class int) string {
	if worst == v1alpha1.LagNotReplicated {
		return ""
	}
	normal, outage := slices.Objectives(r.mas.Spec.DataClasses[class])
	switch worst {
	case v1alpha1.LagWithinObjective:
		return "<" + condition.Duration(normal)
	case v1alpha1.LagWithinOutageObjective:
		return "<" + condition.Duration(outage)
	case v1alpha1.LagBeyondObjective:
		return ">" + condition.Duration(normal)
	default:
		return "unknown"
	}
}

// lastIncident reports the newest incident of a declared region.
func (r reporter) lastIncident() {
	var newest *ownership.Incident
	for _, i := range r.seen.Configuration.Incidents {
		if declares(r.mas, i.Region) && len(i.Timeline) > 0 &&
			(newest == nil || i.Timeline[0].At.After(newest.Timeline[0].At)) {
			newest = &i
		}
	}
	if newest == nil || newest.Timeline[0].At.Before(r.mas.CreationTimestamp.Time) {
		return // keeps what is there: the store forgets old incidents
	}
	out := &v1alpha1.ServiceIncident{Name: newest.Name}
	for _, step := range newest.Timeline {
		at := metav1.NewTime(step.At.UTC().Truncate(time.Second))
		switch step.Step {
		case ownership.StepSuspected:
			out.StartedAt = &at
		case ownership.StepCommitted, ownership.StepRouted:
			out.RecoverySeconds = ptr.To(seconds(step.At.Sub(newest.Timeline[0].At)))
		case ownership.StepServing, ownership.StepFalseAlarm:
			out.EndedAt = &at
		}
	}
	out.DataAtRisk = r.dataAtRisk(newest.Region)
	if old := r.mas.Status.LastIncident; len(out.DataAtRisk) == 0 && old != nil && old.Name == out.Name {
		out.DataAtRisk = old.DataAtRisk
	}
	r.mas.Status.LastIncident = out
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// dataAtRisk collects, from the other regions, what may not have left the lost one.
func (r reporter) dataAtRisk(lost string) []v1alpha1.DataAtRisk {
	var out []v1alpha1.DataAtRisk
	for _, declared := range r.mas.Spec.Regions {
		at := r.seen.region(declared.Name)
		if declared.Name == lost || at.Slice == nil {
			continue
		}
		for _, risk := range at.Slice.Status.DataAtRisk {
			out = mergeRisk(out, risk)
		}
	}
	return out
}

// mergeRisk adds what one survivor says. What any of them has received is not at risk, so the
// smallest lag counts, and a known one before an unknown.
func mergeRisk(all []v1alpha1.DataAtRisk, risk v1alpha1.DataAtRisk) []v1alpha1.DataAtRisk {
	i := stdslices.IndexFunc(all, func(d v1alpha1.DataAtRisk) bool { return d.Name == risk.Name })
	if i < 0 {
		return append(all, *risk.DeepCopy())
	}
	if risk.Lag != nil && (all[i].Lag == nil || risk.Lag.Duration < all[i].Lag.Duration) {
		all[i] = *risk.DeepCopy()
	}
	return all
}
