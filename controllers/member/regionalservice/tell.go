package regionalservice

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/events"
	"multiactive.dev/operator/internal/metrics"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
)

// tellConditions emits events for conditions that changed.
func (r *Reconciler) tellConditions(rs *v1alpha1.RegionalService, before []metav1.Condition) {
	r.emit(rs, events.OfSlice(before, rs.Status.Conditions))
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
			list = append(list, events.FlowDegraded(f.Name, f.Action))
		case !degraded[f.Name] && was[f.Name]:
			list = append(list, events.FlowRestored(f.Name))
		}
	}
	r.emit(rs, list)
}

func (r *Reconciler) emit(rs *v1alpha1.RegionalService, list []events.Event) {
	for _, e := range list {
		r.Recorder.Eventf(rs, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
	}
}
