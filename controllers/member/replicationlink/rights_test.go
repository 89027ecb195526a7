package replicationlink

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"

	plan "multiactive.dev/operator/internal/plan/replicationlink"
)

// Rights are asked for at once when something else is carried, often while something is denied, and seldom when nothing
// is.
func TestRightsAreAskedForWhenItMatters(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	r := NewRights(nil, c, logr.Discard())
	first, second := &plan.Carries{From: "beijing"}, &plan.Carries{From: "beijing", Topics: []string{"a.t"}}
	if !r.due("beijing", first) {
		t.Error("what was never asked for is not due")
	}
	r.asked["beijing"] = asked{first, c.Now()}
	c.Step(rightsEvery)
	if r.due("beijing", first) {
		t.Error("nothing is denied, and it is due with the next tick")
	}
	if !r.due("beijing", second) {
		t.Error("what else is carried is not due")
	}
	r.denied["beijing"] = map[string]string{"a.t": "no"}
	if !r.due("beijing", first) {
		t.Error("something is denied, and it is not due")
	}
	delete(r.denied, "beijing")
	c.Step(rightsCalm)
	if !r.due("beijing", first) {
		t.Error("it is never due again")
	}
}
