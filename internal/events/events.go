// Package events constructs the events that the operator emits. Events tell transitions, with the
// reason of the condition that changed; they never repeat a state. It is pure: it emits nothing.
package events

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// Event is one event to emit.
type Event struct {
	// Type is Normal or Warning.
	Type string
	// Reason is the condition's, in CamelCase.
	Reason string
	// Action says what the operator was doing. Recorders fold events of one object with the same
	// reason and action into one, whatever their notes: what differs must be in here.
	Action string
	// Note is for people, and short enough for the API server.
	Note string
}

// notable are the conditions whose transitions are told, and the status that is good.
var notable = []struct {
	condition string
	good      metav1.ConditionStatus
}{
	{v1alpha1.ConditionReady, metav1.ConditionTrue},
	{v1alpha1.ConditionClusterReachable, metav1.ConditionTrue},
	{v1alpha1.ConditionServing, metav1.ConditionTrue},
	{v1alpha1.ConditionCoreAvailable, metav1.ConditionTrue},
	{v1alpha1.ConditionDegraded, metav1.ConditionFalse},
	{v1alpha1.ConditionWorkloadsAvailable, metav1.ConditionTrue},
	{v1alpha1.ConditionTopicsReady, metav1.ConditionTrue},
	{v1alpha1.ConditionStoresReady, metav1.ConditionTrue},
	{v1alpha1.ConditionRoutingReady, metav1.ConditionTrue},
	{v1alpha1.ConditionDesignSound, metav1.ConditionTrue},
	{v1alpha1.ConditionWorkloadAvailable, metav1.ConditionTrue},
	{v1alpha1.ConditionGatewayReady, metav1.ConditionTrue},
	{v1alpha1.ConditionLinksHealthy, metav1.ConditionTrue},
	{v1alpha1.ConditionFieldsActedOn, metav1.ConditionTrue},
	{v1alpha1.ConditionDNSReady, metav1.ConditionTrue},
}

// Transitions returns an event for each notable condition that became bad, or good after it was
// bad. What was Unknown, or on its way, and is good is no news: so it was meant. A repair is told although the
// condition stays good. Ready is told when it becomes True, for the first time too, and left to the
// other conditions when it does not, but for a refused slice, of which no other speaks.
func Transitions(before, after []metav1.Condition) []Event {
	var out []Event
	for _, n := range notable {
		now := meta.FindStatusCondition(after, n.condition)
		if now == nil {
			continue
		}
		was, reason := told(before, n.condition)
		isReady := n.condition == v1alpha1.ConditionReady
		good := now.Status == n.good
		switch {
		case good && was != n.good && (isReady || amiss(was, reason)),
			good && now.Reason != reason && now.Reason == v1alpha1.ReasonTopicRepaired:
			out = append(out, Event{Type: corev1.EventTypeNormal, Reason: now.Reason, Action: n.condition, Note: clip(now.Message)})
		case !good && now.Status != metav1.ConditionUnknown && now.Reason != reason && !Passing(now.Reason) &&
			(!isReady || now.Reason == v1alpha1.ReasonStaleSlice):
			out = append(out, Event{Type: corev1.EventTypeWarning, Reason: now.Reason, Action: n.condition, Note: clip(now.Message)})
		}
	}
	return out
}

// OfSlice returns the transitions of a region's part of a service: when all goes well, the service alone tells that it is
// Ready.
func OfSlice(before, after []metav1.Condition) []Event {
	out := Transitions(before, after)
	was, reason := told(before, v1alpha1.ConditionReady)
	if amiss(was, reason) && reason != v1alpha1.ReasonOwnershipChangePending { // a new service, whose slices come first
		return out
	}
	return slices.DeleteFunc(out, func(e Event) bool { return e.Action == v1alpha1.ConditionReady && e.Type == corev1.EventTypeNormal })
}

// told returns a condition's status and reason, Unknown without one when it is not there.
func told(conditions []metav1.Condition, kind string) (status metav1.ConditionStatus, reason string) {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Status, c.Reason
	}
	return metav1.ConditionUnknown, ""
}

// amiss reports whether something was wrong with a condition that was not good, rather than not known or on its way.
func amiss(was metav1.ConditionStatus, reason string) bool {
	return was != metav1.ConditionUnknown && !Passing(reason)
}

// Passing reports whether a reason needs nobody's attention: gateways are behind for a moment after each epoch, and one
// that stays behind shows in its condition.
func Passing(reason string) bool {
	switch reason {
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonNotYetObserved, v1alpha1.ReasonDeleting, v1alpha1.ReasonGatewaysBehind:
		return true
	default:
		return false
	}
}

// maxNote is how many bytes of a note are kept; the API server takes 1024.
const maxNote = 1000

// clip cuts a note between two characters.
func clip(note string) string {
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote], "") + "…"
}

// serve is the action of a flow's events.
func serve(flow string) string { return "Serve:" + flow }

// FlowDegraded tells that a flow cannot be served for some keys, and what these meet.
func FlowDegraded(flow string, action v1alpha1.HomeLossAction) Event {
	return Event{
		Type: corev1.EventTypeWarning, Reason: "FlowDegraded", Action: serve(flow),
		Note: "flow " + flow + " cannot be served for some keys, which meet " + string(action),
	}
}

// FlowRestored tells that a flow is served as declared again.
func FlowRestored(flow string) Event {
	return Event{Type: corev1.EventTypeNormal, Reason: "FlowRestored", Action: serve(flow), Note: "flow " + flow + " is served as declared"}
}

// IncidentOpened tells that a majority cannot reach a region. Whether it is lost shows only when its
// lease has run out: the incident closes before that when the region answers again.
func IncidentOpened(region string) Event {
	return Event{
		Type: corev1.EventTypeWarning, Reason: v1alpha1.ReasonIncidentOpen, Action: "Failover",
		Note: "most other regions cannot reach region " + region + "; they go on without it once its lease has run out",
	}
}

// FalseAlarm tells that a region answered again before it was declared lost.
func FalseAlarm(region string) Event {
	return Event{
		Type: corev1.EventTypeNormal, Reason: v1alpha1.ReasonFalseAlarm, Action: "Failover",
		Note: "region " + region + " answers again and was never lost; nothing was changed",
	}
}

// IncidentClosed tells that a region serves again.
func IncidentClosed(region string) Event {
	return Event{
		Type: corev1.EventTypeNormal, Reason: v1alpha1.ReasonIncidentClosed, Action: "Failover",
		Note: "region " + region + " serves again",
	}
}

// Order returns an event for an order that was taken up, or has ended: by the reason of its condition Complete, a Warning
// unless it goes as it was meant. nil when it is as far as it was, or waits to be taken up.
func Order(kind v1alpha1.OperationType, before, after v1alpha1.OperationStatus) *Event {
	complete := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionComplete)
	if before.State == after.State || complete == nil {
		return nil
	}
	e := &Event{Type: corev1.EventTypeNormal, Reason: complete.Reason, Action: string(kind), Note: clip(complete.Message)}
	switch after.State {
	case v1alpha1.OperationPending:
		return nil
	case v1alpha1.OperationFailed, v1alpha1.OperationRefused:
		e.Type = corev1.EventTypeWarning
	case v1alpha1.OperationRunning, v1alpha1.OperationSucceeded:
	}
	return e
}
