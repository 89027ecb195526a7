package main

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/operation"
)

// minDrill and maxDrill are what the API takes.
const minDrill, maxDrill = time.Minute, 4 * time.Hour

// drill is how a drill goes, nil for other orders.
func (o *orderOptions) drill() *v1alpha1.DrillSpec {
	if o.verb.kind != v1alpha1.OperationDrill {
		return nil
	}
	d := &v1alpha1.DrillSpec{Mode: v1alpha1.DrillMode(o.mode)}
	if o.lasts > 0 {
		d.Duration = &metav1.Duration{Duration: o.lasts}
	}
	return d
}

// goesOn says what becomes of an order that nobody waits for any more.
func (o *orderOptions) goesOn(op *v1alpha1.Operation) string {
	if o.verb.kind != v1alpha1.OperationDrill {
		return "the order goes on: kubectl get mop " + op.Name + " -o wide"
	}
	ends := "once the region has been out for " + plan.DrillDuration(op.Spec.Drill).String()
	if d := op.Status.Drill; d != nil && d.EndsAt != nil {
		ends = "at " + d.EndsAt.UTC().Format(time.TimeOnly) + " UTC"
	}
	return fmt.Sprintf("the drill goes on and ends by itself %s. To end it now: %s. How it goes: kubectl get mop %s -o wide", ends, o.takesBack(op), op.Name)
}

// afterDeletion says what a deletion means for what was deleted.
func (o *orderOptions) afterDeletion() string {
	if o.verb.kind == v1alpha1.OperationDrill {
		return "; region " + o.region + " is brought back"
	}
	return ""
}

// wanted reports whether an order is where this command wanted it, though it was not carried out.
func (o *orderOptions) wanted(op *v1alpha1.Operation) bool {
	d := op.Status.Drill
	return announced(op) || o.abort && op.Status.State == v1alpha1.OperationFailed && d != nil && d.Ended == v1alpha1.DrillEndOrdered
}

// aborts is how the drills of the region are ended that have not ended, of which there is one at most but for those that wait.
func (o *orderOptions) aborts() ending {
	return ending{
		about: func(op *v1alpha1.Operation) bool { return op.Spec.Region == o.region }, none: "no drill of region " + o.region + " is under way",
		patch: `{"spec":{"drill":{"course":"Abort"}}}`, verb: "abort", verbed: "aborted", after: "Region " + o.region + " is brought back.",
	}
}

// degradedSoFar says how many flows a drill has degraded; nothing of other orders.
func degradedSoFar(op *v1alpha1.Operation) string {
	d := op.Status.Drill
	if d == nil || plan.Ended(op.Status.State) {
		return ""
	}
	flows, services := 0, 0
	for _, s := range d.Services {
		if n := len(s.Flows) + int(s.OtherFlows); n > 0 {
			flows, services = flows+n, services+1
		}
	}
	if flows == 0 {
		return ""
	}
	return fmt.Sprintf("; degraded so far: %d flows of %d services", flows, services)
}

// drillReport writes how a drill went that is over; nothing of other orders.
func (t *terminal) drillReport(op *v1alpha1.Operation) {
	d := op.Status.Drill
	if d == nil {
		return
	}
	c := yellow
	if d.Verdict == v1alpha1.DrillPassed {
		c = green
	}
	t.say("")
	t.say("%s", t.tint(bold, "Drill of region "+op.Spec.Region+": "+t.tint(c, string(d.Verdict))))
	for _, at := range []struct {
		what string
		at   *metav1.Time
	}{{"taken up", d.StartedAt}, {"out", d.OutAt}, {"ended", d.EndedAt}, {"back", d.BackAt}} {
		if at.at != nil {
			t.say("  %-9s %s%s", at.what, at.at.UTC().Format(time.DateTime), after(d.StartedAt, at.at))
		}
	}
	if d.Ended != "" {
		t.say("  %-9s %s: %s", "ended by", d.Ended, d.Because)
	}
	for _, s := range d.Services {
		t.say("  %s", drillLine(s))
	}
	if d.OtherServices > 0 {
		t.say("  and %d services more that nothing happened to, or less", d.OtherServices)
	}
	if d.OutAt != nil {
		t.say("Whom it hit, and what was refused: kubectl multiactive compensation")
	}
}

func after(began, at *metav1.Time) string {
	if began == nil || at == began {
		return ""
	}
	return fmt.Sprintf("  (+%s)", at.Sub(began.Time))
}

func drillLine(s v1alpha1.DrillService) string {
	line := fmt.Sprintf("%s/%s: core %s, lag before %s", s.Namespace, s.Name, served(s.CoreAvailable), orElse(s.LagBefore, "unknown"))
	var flows []string
	for _, f := range s.Flows {
		flows = append(flows, fmt.Sprintf("%s (%s for %d %% of the keys)", f.Name, orElse(string(f.Action), string(f.State)), ptr.Deref(f.AffectedKeysPercent, 0)))
	}
	if s.OtherFlows > 0 {
		flows = append(flows, fmt.Sprintf("%d more", s.OtherFlows))
	}
	return line + "; degraded: " + orElse(strings.Join(flows, ", "), "nothing")
}

func served(core v1alpha1.WorkState) string {
	if core == v1alpha1.No {
		return "NOT served for every key"
	}
	return "served"
}
