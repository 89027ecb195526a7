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

// incoming is one data class that arrives by one link.
type incoming struct {
	// class is the data class's name, of what a topic or else a store carries.
	class, topic, store, from string
	// within is the staleness objective.
	within time.Duration
	// paused: somebody has paused the link. denied: Kafka does not let the topic be mirrored.
	paused, denied bool
	Link
}

// link is the ReplicationLink's name.
func (in *incoming) link() string {
	if in.store != "" {
		return regional.StoreLinkName(in.store, in.from)
	}
	return regional.LinkName(in.topic, in.from)
}

// incoming returns what is replicated to this region, topics first, each from the service's regions in declared order.
func (s Seen) incoming(rs *v1alpha1.RegionalService) []incoming {
	var out []incoming
	for _, t := range rs.Spec.Topics {
		for _, from := range sources(rs) {
			l := s.Links[from]
			out = append(out, incoming{
				topic: t.Name, class: t.DataClass, from: from, within: objective(t),
				paused: slices.Contains(l.Paused, t.Name), denied: slices.Contains(l.Denied, t.Name), Link: l,
			})
		}
	}
	for _, store := range rs.Spec.Stores {
		for _, p := range rs.Spec.Peers {
			l, replicated := s.Stores[store.Name].Links[p.Name]
			if !replicated || p.Name == rs.Spec.Region {
				continue
			}
			for _, c := range store.Classes {
				in := incoming{store: store.Name, class: c.Name, from: p.Name, within: DefaultObjective, paused: l.Paused != nil, Link: l}
				if c.Objective != nil {
					in.within = c.Objective.Duration
				}
				out = append(out, in)
			}
		}
	}
	return out
}

// links tells whether data arrives from every other region within its objective.
func (r reporter) links(seen Seen) {
	const condition = v1alpha1.ConditionLinksHealthy
	all := seen.incoming(r.rs)
	if len(all) == 0 {
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonNoLinks, "nothing is replicated to this region")
		return
	}
	var lost, unknown, lagging, paused, denied []string
	for _, in := range all {
		if in.denied {
			denied = append(denied, in.link())
		}
		if in.paused {
			paused = append(paused, in.link())
		}
		switch {
		case seen.lost(in.from):
			lost = append(lost, in.from)
		case !in.Known:
			unknown = append(unknown, in.from)
		case in.Age > in.within:
			lagging = append(lagging, in.from)
		}
	}
	switch {
	case len(denied) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonKafkaUnauthorized, fmt.Sprintf(
			"Kafka does not let %s be mirrored: nothing of it arrives; the links' condition Configured says what to allow", once(denied)))
	case len(paused) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonPaused, fmt.Sprintf(
			"somebody has paused %s: nothing of it arrives; see kubectl get replicationlinks", once(paused)))
	case len(lagging) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, fmt.Sprintf(
			"data from %s arrives later than the staleness objective; look at kubectl get replicationlinks", once(lagging)))
	case len(lost) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonSourceLost, fmt.Sprintf(
			"nothing arrives from %s, which is lost; it goes on when the region is back", once(lost)))
	case len(unknown) > 0:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, fmt.Sprintf(
			"nothing has arrived from %s yet; look at kubectl get replicationlinks", once(unknown)))
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "data arrives from every other region within its objective")
	}
}

// once lists names, each where it comes first.
func once(names []string) string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return strings.Join(out, ", ")
}

// lags are the data classes' lags: of each, the worst of its incoming links. A class that several topics carry, or
// a store too, goes by the first of them.
func lags(rs *v1alpha1.RegionalService, seen Seen) []v1alpha1.DataClassStatus {
	all := seen.incoming(rs)
	var out []v1alpha1.DataClassStatus
	of := func(class string, within time.Duration) {
		if slices.ContainsFunc(out, func(s v1alpha1.DataClassStatus) bool { return s.Name == class }) {
			return
		}
		out = append(out, v1alpha1.DataClassStatus{Name: class, Objective: &metav1.Duration{Duration: within}, Lag: worstLag(all, class)})
	}
	for _, t := range rs.Spec.Topics {
		of(t.DataClass, objective(t))
	}
	for _, s := range rs.Spec.Stores {
		for _, c := range s.Classes {
			within := DefaultObjective
			if c.Objective != nil {
				within = c.Objective.Duration
			}
			of(c.Name, within)
		}
	}
	return out
}

// worstLag is that of all links that a class arrives by.
func worstLag(all []incoming, class string) v1alpha1.LagState {
	worst := v1alpha1.LagNotReplicated
	for _, in := range all {
		if in.class != class {
			continue
		}
		switch {
		case in.Known && in.Age > in.within:
			return v1alpha1.LagBeyondObjective
		case !in.Known || in.paused || in.denied:
			worst = v1alpha1.LagUnknown
		case worst == v1alpha1.LagNotReplicated:
			worst = v1alpha1.LagWithinObjective
		}
	}
	return worst
}

// dataAtRisk latches, when a source is lost, how old its newest data here was when it fell silent, and when it
// was judged lost. It stays until the region serves again: what had not been shipped may arrive late or conflict.
func dataAtRisk(now time.Time, rs *v1alpha1.RegionalService, seen Seen) []v1alpha1.DataAtRisk {
	var out []v1alpha1.DataAtRisk
	for _, in := range seen.incoming(rs) {
		record, ok := seen.Configuration.View.Regions[in.from]
		if !ok || record.State == ownership.RegionServing || record.State == ownership.RegionDrained {
			continue
		}
		link := in.link()
		named := func(d v1alpha1.DataAtRisk) bool { return d.Name == link }
		if slices.ContainsFunc(out, named) {
			continue
		}
		kept := slices.IndexFunc(rs.Status.DataAtRisk, named)
		switch {
		case kept >= 0:
			out = append(out, rs.Status.DataAtRisk[kept])
		case record.State == ownership.RegionLost:
			out = append(out, riskOf(now, link, record, in.Link))
		}
	}
	return out
}

// riskOf is how old the newest canary was when the region fell silent, and when it was judged lost. A leader that did
// not see the first knows the second alone. Nothing is known of a link by which no canary has arrived.
func riskOf(now time.Time, name string, record ownership.RegionRecord, link Link) v1alpha1.DataAtRisk {
	risk := v1alpha1.DataAtRisk{Name: name}
	if !link.Known {
		return risk
	}
	risk.AtMost = ageAt(now, record.LostAt, link)
	risk.Lag = risk.AtMost
	if record.SilentAt != nil {
		risk.Lag = ageAt(now, record.SilentAt, link)
	}
	return risk
}

// ageAt is how old the newest canary was at an earlier moment, in whole tenths of a second. Nil: now.
func ageAt(now time.Time, then *time.Time, link Link) *metav1.Duration {
	age := link.Age
	if then != nil && then.Before(now) {
		age -= now.Sub(*then)
	}
	return &metav1.Duration{Duration: max(age, 0).Round(100 * time.Millisecond)}
}
