package operation

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/condition"
	"multiactive.dev/operator/internal/plan/order"
)

// Names of the steps in the status.
const (
	// PrepareSurvivors is, before a drain, until the regions that are to own its keys have the replicas
	// for them. It is left out where there is nothing to say of them.
	PrepareSurvivors = "PrepareSurvivors"
	// HandOver is until the leader has taken the order up.
	HandOver = "HandOver"
	// CarryOut is from then until the order has ended, waiting included.
	CarryOut = "CarryOut"
	// ChangeOwners is the part of CarryOut in which keys have no owner, as the hub saw it.
	ChangeOwners = "ChangeOwners"
)

// maxStepMessage is the bound of OperationStep.Message.
const maxStepMessage = 1000

// Report fills the status in from what was decided. An order that has ended stays as it is.
func Report(now time.Time, o *v1alpha1.Operation, seen Seen, plan Plan) {
	if plan.Answer == nil || Ended(o.Status.State) {
		return
	}
	o.Status.State = plan.Answer.State
	set := condition.Set{List: &o.Status.Conditions, Generation: o.Generation, Now: now}
	if Ended(plan.Answer.State) {
		set.True(v1alpha1.ConditionComplete, plan.Answer.Reason, "%s", plan.Answer.Message)
	} else {
		set.False(v1alpha1.ConditionComplete, plan.Answer.Reason, "%s", plan.Answer.Message)
	}
	prepare(now, o, seen, plan.survivors)
	steps(now, o, seen)
	shown(now, o, plan)
	reportDrill(o, seen)
}

// mirrored tells what the leader has made of an order.
func mirrored(o *v1alpha1.Operation, seen Seen, record ownership.OrderRecord) Plan {
	said := names(seen.Configuration, record.Message)
	if o.Spec.Type == v1alpha1.OperationDrill && record.Drill != nil && record.Drill.Ending != "" && record.State != ownership.OrderRunning {
		return drilled(o, seen, record)
	}
	switch record.State {
	case ownership.OrderSucceeded:
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, done(o.Spec)+afterDrain(o, seen))
	case ownership.OrderFailed:
		return answered(v1alpha1.OperationFailed, v1alpha1.ReasonOrderFailed, said+". Order it anew once that is mended")
	case ownership.OrderRefused:
		return answered(v1alpha1.OperationRefused, v1alpha1.ReasonOrderRefused, "refused, nothing was done: "+said)
	case ownership.OrderRunning:
	}
	if seen.Configuration.Leader == "" {
		said = noLeader
	}
	return answered(v1alpha1.OperationRunning, v1alpha1.ReasonOrderRunning, said+whatElse(o, seen, record))
}

// names puts the services' names in the place of their UIDs, which say nothing to a person.
func names(c ownership.Configuration, message string) string {
	for uid, s := range c.Services {
		message = strings.ReplaceAll(message, uid, s.Namespace+"/"+s.Name)
	}
	return message
}

// done says what a carried out order has changed, and how it is undone.
func done(spec v1alpha1.OperationSpec) string {
	of := "any service"
	if spec.Service != nil {
		of = "MultiActiveService " + key(spec.Service)
	}
	switch spec.Type { //nolint:exhaustive // the others are not the leader's
	case v1alpha1.OperationDrain:
		return fmt.Sprintf("region %s owns no keys of %s, and will not before this is ordered: %s",
			spec.Region, of, order.Command(v1alpha1.OperationUndrain, spec.Region, spec.Service))
	case v1alpha1.OperationUndrain, v1alpha1.OperationHandback:
		if spec.Service != nil {
			return fmt.Sprintf("region %s may own keys of %s again", spec.Region, of)
		}
		return fmt.Sprintf("region %s serves and owns its keys again", spec.Region)
	case v1alpha1.OperationApproveFailover:
		return fmt.Sprintf("others may take over the keys of region %s for as long as it is lost this time", spec.Region)
	case v1alpha1.OperationDeclareLost:
		return fmt.Sprintf("region %s is given up for good: take it out of spec.regions of the services that name it, then delete its Region", spec.Region)
	}
	return "done"
}

// prepare notes how the survivors of a drain get what they need.
func prepare(now time.Time, o *v1alpha1.Operation, seen Seen, s *survivors) {
	_, proposed := seen.Configuration.OrderIntents[seen.name(o)]
	over := Ended(o.Status.State) || proposed
	if s != nil && (s.message != "" || has(o, PrepareSurvivors)) {
		p := step(o, PrepareSurvivors)
		if p.StartedAt == nil {
			p.StartedAt = second(now)
		}
		p.Message, over = cut(s.message), over || !s.waits
	}
	switch {
	case !has(o, PrepareSurvivors):
	case !over:
		step(o, PrepareSurvivors).EndedAt = nil
	case held(o):
		p := step(o, PrepareSurvivors)
		p.EndedAt = second(now)
		if s == nil && proposed { // by a pass that could not say so
			p.Message = "scaled up"
		}
	}
}

// steps notes the times of what is known of an order's course.
func steps(now time.Time, o *v1alpha1.Operation, seen Seen) {
	name := seen.name(o)
	record, taken := seen.Configuration.Orders[name]
	_, proposed := seen.Configuration.OrderIntents[name]
	if proposed || taken {
		begun := &o.CreationTimestamp
		if has(o, PrepareSurvivors) && step(o, PrepareSurvivors).EndedAt != nil {
			begun = step(o, PrepareSurvivors).EndedAt
		}
		s := step(o, HandOver)
		s.StartedAt = begun.DeepCopy()
		if taken {
			s.EndedAt = second(record.StartedAt)
		}
	}
	if taken {
		s := step(o, CarryOut)
		s.StartedAt, s.Message = second(record.StartedAt), cut(names(seen.Configuration, record.Message))
		if record.EndedAt != nil {
			s.EndedAt = second(*record.EndedAt)
		}
	}
	change := seen.Configuration.View.Change
	switch changing := change != nil && change.Order == name; {
	case changing:
		s := step(o, ChangeOwners)
		if s.StartedAt == nil {
			s.StartedAt = second(now)
		}
		s.EndedAt = nil
	case has(o, ChangeOwners):
		if s := step(o, ChangeOwners); s.EndedAt == nil {
			s.EndedAt = second(now)
		}
	}
}

// step returns the step of that name, a new one if there is none.
func step(o *v1alpha1.Operation, name string) *v1alpha1.OperationStep {
	if !has(o, name) {
		o.Status.Steps = append(o.Status.Steps, v1alpha1.OperationStep{Name: name})
	}
	for i := range o.Status.Steps {
		if o.Status.Steps[i].Name == name {
			return &o.Status.Steps[i]
		}
	}
	panic("operation: a step that was added is there")
}

func has(o *v1alpha1.Operation, name string) bool {
	for _, s := range o.Status.Steps {
		if s.Name == name {
			return true
		}
	}
	return false
}

func second(t time.Time) *metav1.Time {
	at := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &at
}

func cut(s string) string {
	if len(s) <= maxStepMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxStepMessage], "") + "…"
}
