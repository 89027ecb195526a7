package replicationlink

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// stages are the parts of the retention after which somebody is told that a link is about to outlive it. A status
// says which has been reached, so that it is written once for each.
var stages = []struct {
	hundredths int64
	reason     string
	of         string
}{
	{100, v1alpha1.ReasonResyncRequired, "records from %[1]s that are older than the topic's retention of %[2]s have not arrived: Kafka deletes them there, and the link " +
		"goes on with the oldest that is left. Compare the data of both regions before anything is handed back"},
	{75, v1alpha1.ReasonResyncForecast, "three quarters of the topic's retention of %[2]s have passed since the newest record that has arrived from %[1]s: " +
		"mend the link or raise the retention there, or records are deleted before they have arrived"},
	{50, v1alpha1.ReasonResyncForecast, "half of the topic's retention of %[2]s has passed since the newest record that has arrived from %[1]s: " +
		"mend the link or raise the retention there, or records are deleted before they have arrived"},
}

func part(of time.Duration, hundredths int64) time.Duration {
	return time.Duration(of.Nanoseconds() / 100 * hundredths)
}

// retained tells whether records that have not arrived are still at the source.
func (r reporter) retained(seen Seen, retention time.Duration) {
	const condition = v1alpha1.ConditionRetained
	var lost []string
	for _, l := range seen.Losses {
		if what, of := strings.CutPrefix(l, r.link.Spec.Topic+": "); of {
			lost = append(lost, what)
		}
	}
	switch {
	case len(lost) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonRecordsLost, truncate(strings.Join(lost, "; ")+
			". Compare the data of both regions before anything is handed back; this is told for a day"))
		return
	case Paused(r.link):
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonPaused, "the link is paused: since when records have not arrived is not known here")
		return
	case retention <= 0:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonNotDeclared, "no retention is declared for the topic: brokers have a default")
		return
	case !seen.Lag.Known:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, "the lag is not known")
		return
	}
	for _, s := range stages {
		if seen.Lag.Age >= part(retention, s.hundredths) {
			r.set(condition, metav1.ConditionFalse, s.reason, fmt.Sprintf(s.of, r.link.Spec.From, retention))
			return
		}
	}
	r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "the lag is well below the topic's retention of "+retention.String())
}

// Outlives returns how long it takes until a link reaches the next part of its retention if nothing arrives; 0 if
// there is none.
func (p *Plan) Outlives(lag Lag) time.Duration {
	var soonest time.Duration
	for _, retention := range p.Retentions {
		for _, s := range stages {
			if left := part(retention, s.hundredths) - lag.Age; lag.Known && left > 0 && (soonest == 0 || left < soonest) {
				soonest = left
			}
		}
	}
	return soonest
}

// retention keeps the shortest retention of a link's topic; one that declares none has none.
func (p *Plan) retention(topic *v1alpha1.TopicSlice, from string) {
	link, within := regional.LinkName(topic.Name, from), topic.Retention.Duration
	if known, ok := p.Retentions[link]; within > 0 && (!ok || within < known) {
		p.Retentions[link] = within
	}
}
