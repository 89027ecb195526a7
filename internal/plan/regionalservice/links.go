package regionalservice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
)

// DefaultObjective is the staleness objective of a topic that declares none.
const DefaultObjective = 5 * time.Minute

// sources are the regions that data arrives from, in declared order.
func sources(rs *v1alpha1.RegionalService) []string {
	var names []string
	if rs.Spec.Kafka == nil {
		return nil
	}
	for _, p := range rs.Spec.Peers {
		if p.Name != rs.Spec.Region && p.Kafka != nil {
			names = append(names, p.Name)
		}
	}
	return names
}

func objective(t v1alpha1.TopicSlice) time.Duration {
	if t.Objective == nil {
		return DefaultObjective
	}
	return t.Objective.Duration
}

func (s Seen) lost(region string) bool {
	return s.Configuration.View.Regions[region].State == ownership.RegionLost
}

// links tells whether data arrives from every other region within its objective.
func (r reporter) links(seen Seen) {
	const condition = v1alpha1.ConditionLinksHealthy
	from := sources(r.rs)
	if len(r.rs.Spec.Topics) == 0 || len(from) == 0 {
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonNoLinks, "nothing is replicated to this region")
		return
	}
	var lost, unknown, lagging, paused []string
	for _, name := range from {
		link := seen.Links[name]
		for _, t := range r.rs.Spec.Topics {
			if slices.Contains(link.Paused, t.Name) {
				paused = append(paused, regional.LinkName(t.Name, name))
			}
		}
		switch {
		case seen.lost(name):
			lost = append(lost, name)
		case !link.Known:
			unknown = append(unknown, name)
		case slices.ContainsFunc(r.rs.Spec.Topics, func(t v1alpha1.TopicSlice) bool { return link.Age > objective(t) }):
			lagging = append(lagging, name)
		}
	}
	switch {
	case len(paused) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonPaused, fmt.Sprintf(
			"somebody has paused %s: nothing of it arrives; see kubectl get replicationlinks", strings.Join(paused, ", ")))
	case len(lagging) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, fmt.Sprintf(
			"data from %s arrives later than the staleness objective; look at kubectl get replicationlinks", strings.Join(lagging, ", ")))
	case len(lost) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonSourceLost, fmt.Sprintf(
			"nothing arrives from %s, which is lost; it goes on when the region is back", strings.Join(lost, ", ")))
	case len(unknown) > 0:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, fmt.Sprintf(
			"nothing has arrived from %s yet; look at kubectl get replicationlinks", strings.Join(unknown, ", ")))
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "data arrives from every other region within its objective")
	}
}

// lags are the data classes' lags: of each, the worst of its incoming links.
func lags(rs *v1alpha1.RegionalService, seen Seen) []v1alpha1.DataClassStatus {
	var out []v1alpha1.DataClassStatus
	from := sources(rs)
	for _, t := range rs.Spec.Topics {
		within := objective(t)
		status := v1alpha1.DataClassStatus{Name: t.DataClass, Objective: &metav1.Duration{Duration: within}, Lag: v1alpha1.LagNotReplicated}
		if len(from) > 0 {
			status.Lag = v1alpha1.LagWithinObjective
		}
		for _, name := range from {
			link := seen.Links[name]
			switch {
			case link.Known && link.Age > within:
				status.Lag = v1alpha1.LagBeyondObjective
			case (!link.Known || slices.Contains(link.Paused, t.Name)) && status.Lag == v1alpha1.LagWithinObjective:
				status.Lag = v1alpha1.LagUnknown
			}
		}
		if !slices.ContainsFunc(out, func(s v1alpha1.DataClassStatus) bool { return s.Name == t.DataClass }) {
			out = append(out, status)
		}
	}
	return out
}

// dataAtRisk latches, when a source is lost, how old its newest data here was at that moment. It
// stays until the region serves again: what had not been shipped may arrive late or conflict.
func dataAtRisk(now time.Time, rs *v1alpha1.RegionalService, seen Seen) []v1alpha1.DataAtRisk {
	var out []v1alpha1.DataAtRisk
	for _, t := range rs.Spec.Topics {
		for _, from := range sources(rs) {
			name := regional.LinkName(t.Name, from)
			record, ok := seen.Configuration.View.Regions[from]
			if !ok || record.State == ownership.RegionServing || record.State == ownership.RegionDrained {
				continue
			}
			kept := slices.IndexFunc(rs.Status.DataAtRisk, func(d v1alpha1.DataAtRisk) bool { return d.Name == name })
			switch {
			case kept >= 0:
				out = append(out, rs.Status.DataAtRisk[kept])
			case record.State == ownership.RegionLost:
				out = append(out, v1alpha1.DataAtRisk{Name: name, Lag: lagAtLoss(now, record, seen.Links[from])})
			}
		}
	}
	return out
}

// lagAtLoss is how old the newest canary was when the region was judged lost, in whole tenths of a
// second; nil when none had arrived.
func lagAtLoss(now time.Time, record ownership.RegionRecord, link Link) *metav1.Duration {
	if !link.Known {
		return nil
	}
	age := link.Age
	if record.LostAt != nil && record.LostAt.Before(now) {
		age -= now.Sub(*record.LostAt)
	}
	return &metav1.Duration{Duration: max(age, 0).Round(100 * time.Millisecond)}
}
