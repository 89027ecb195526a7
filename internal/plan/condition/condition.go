// Package condition sets conditions with the time and generation of one pass, so that reports stay
// pure. It must never read a clock.
package condition

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// maxMessage is what the API server takes; longer messages are cut.
const maxMessage = 32000

// Set is one object's conditions during one pass.
type Set struct {
	// List is the object's status.conditions.
	List *[]metav1.Condition
	// Generation that the pass has seen.
	Generation int64
	// Now is the time of the pass; a condition takes it over when its status changes.
	Now time.Time
}

// Put sets a condition.
func (s Set) Put(kind string, status metav1.ConditionStatus, reason, message string) {
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	meta.SetStatusCondition(s.List, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: s.Generation, LastTransitionTime: metav1.NewTime(s.Now.UTC().Truncate(time.Second)),
	})
}

// True sets a condition to True.
func (s Set) True(kind, reason, format string, args ...any) {
	s.Put(kind, metav1.ConditionTrue, reason, fmt.Sprintf(format, args...))
}

// False sets a condition to False.
func (s Set) False(kind, reason, format string, args ...any) {
	s.Put(kind, metav1.ConditionFalse, reason, fmt.Sprintf(format, args...))
}

// Unknown sets a condition to Unknown.
func (s Set) Unknown(kind, reason, format string, args ...any) {
	s.Put(kind, metav1.ConditionUnknown, reason, fmt.Sprintf(format, args...))
}

// Fill sets the kinds that are absent to Unknown/NotYetObserved.
func (s Set) Fill(kinds ...string) {
	for _, kind := range kinds {
		if meta.FindStatusCondition(*s.List, kind) == nil {
			s.Unknown(kind, v1alpha1.ReasonNotYetObserved, "not read yet")
		}
	}
}

// Get returns a condition, or the zero value, whose status is none.
func (s Set) Get(kind string) metav1.Condition {
	if c := meta.FindStatusCondition(*s.List, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// StoreUnread says that the hub cannot read the coordination store, and what is known of why.
func StoreUnread(problem string) string {
	if problem == "" {
		return "the hub cannot read the coordination store; the regions go on without it. See the store's members and the manager's log"
	}
	return "the hub cannot use the coordination store: " + problem + ". What the regions make of it: kubectl multiactive coordination status"
}
