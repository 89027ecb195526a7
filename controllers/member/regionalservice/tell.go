package regionalservice

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/events"
	"multiactive.dev/operator/internal/metrics"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
)

// regionalConditions are told besides those that every kind's events tell.
var regionalConditions = []string{v1alpha1.ConditionWorkloadAvailable, v1alpha1.ConditionGatewayReady, v1alpha1.ConditionLinksHealthy}

// tellConditions emits events for conditions that changed.
func (r *Reconciler) tellConditions(rs *v1alpha1.RegionalService, before []metav1.Condition) {
	list := events.Transitions(before, rs.Status.Conditions)
	for _, name := range regionalConditions {
		was, now := meta.FindStatusCondition(before, name), meta.FindStatusCondition(rs.Status.Conditions, name)
		switch {
		case was == nil || now == nil || was.Reason == now.Reason || now.Reason == v1alpha1.ReasonProgressing:
		case now.Status == metav1.ConditionFalse:
			list = append(list, events.Event{Type: corev1.EventTypeWarning, Reason: now.Reason, Action: name, Note: now.Message})
		case now.Status == metav1.ConditionTrue && was.Status == metav1.ConditionFalse:
			list = append(list, events.Event{Type: corev1.EventTypeNormal, Reason: now.Reason, Action: name, Note: now.Message})
		}
	}
	topics, were := meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionTopicsReady), meta.FindStatusCondition(before, v1alpha1.ConditionTopicsReady)
	if topics != nil && topics.Reason == v1alpha1.ReasonTopicRepaired && (were == nil || were.Reason != topics.Reason) {
		list = append(list, events.Event{Type: corev1.EventTypeNormal, Reason: topics.Reason, Action: "Topics", Note: topics.Message})
	}
	r.emit(rs, list)
}

// tellFlows emits an event for every flow that became degraded or is served as declared again, and
// sets the metric. What was told last is in the flags that were there before this pass.
func (r *Reconciler) tellFlows(rs *v1alpha1.RegionalService, seen plan.Seen, todo plan.Plan) {
	if todo.Flows == nil || rs.DeletionTimestamp != nil {
		return
	}
	degraded := make(map[string]bool, len(todo.Flows))
	for _, f := range todo.Flows {
		degraded[f.Name] = f.State != v1alpha1.FlowAvailable
	}
	metrics.SetFlows(rs.Namespace, rs.Name, degraded)
	var was map[string]bool
	for _, obj := range seen.Owned {
		if c, ok := obj.(*corev1.ConfigMap); ok && c.Name == regional.FlagsName(rs.Name) {
			was = regional.DegradedFlows(c)
		}
	}
	if was == nil {
		return
	}
	var list []events.Event
	for _, f := range todo.Flows {
		switch {
		case degraded[f.Name] && !was[f.Name]:
			list = append(list, flowDegraded(f.Name, f.Action))
		case !degraded[f.Name] && was[f.Name]:
			list = append(list, flowRestored(f.Name))
		}
	}
	r.emit(rs, list)
}

func (r *Reconciler) emit(rs *v1alpha1.RegionalService, list []events.Event) {
	for _, e := range list {
		r.Recorder.Eventf(rs, nil, e.Type, e.Reason, e.Action, "%s", clip(e.Note))
	}
}

// clip keeps a note within what the API takes.
func clip(note string) string {
	const most = 1000
	if len(note) > most {
		return note[:most]
	}
	return note
}

func flowDegraded(name string, action v1alpha1.HomeLossAction) events.Event {
	return events.Event{
		Type: corev1.EventTypeWarning, Reason: "FlowDegraded", Action: "Degrade",
		Note: "flow " + name + " cannot be served for some keys, which meet " + string(action),
	}
}

func flowRestored(name string) events.Event {
	return events.Event{Type: corev1.EventTypeNormal, Reason: "FlowRestored", Action: "Degrade", Note: "flow " + name + " is served as declared"}
}
