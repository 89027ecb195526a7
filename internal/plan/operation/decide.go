// Package operation decides what becomes of an Operation: values in, values out. It hands orders to the
// coordination store's leader, and reports what that makes of them. It must never let an order stand
// without an answer, and never hand one over again that has ended.
package operation

import (
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
	"multiactive.dev/operator/internal/plan/order"
)

// Finalizer keeps an Operation until its order is withdrawn.
const Finalizer = "multiactive.dev/order"

// DefaultTimeout is how long an order may take when it does not say.
const DefaultTimeout = 10 * time.Minute

// recheck is when to look again at what nothing announces.
const recheck = 5 * time.Second

// Seen is all that was read for one pass.
type Seen struct {
	// StoreKnown is true once the coordination store was read, StoreConnected while it answers.
	StoreKnown, StoreConnected bool
	// StoreProblem is what is known of why it does not answer.
	StoreProblem  string
	Configuration ownership.Configuration
	// Regions by name.
	Regions map[string]*v1alpha1.Region
	// Service that the order names; nil when it names none, or there is none.
	Service *v1alpha1.MultiActiveService
	// Services that the order is about, with what runs in their regions.
	Services []capacity.Service
	// Orders are all Operations, for an announcement, which a later one may end; in peer mode those of every cluster that
	// can be read.
	Orders []v1alpha1.Operation
	// Peer is the region that this hub runs in, in peer mode; empty with one hub.
	Peer string
}

// name returns what the coordination store calls the order.
func (s Seen) name(o *v1alpha1.Operation) string {
	if s.Peer != "" {
		return order.SharedName(o)
	}
	return order.Name(o)
}

// given reports whether the store has the order in the name of this Operation.
func (s Seen) given(o *v1alpha1.Operation) bool {
	intent, proposed := s.Configuration.OrderIntents[s.name(o)]
	return proposed && (s.Peer == "" || intent.Copies[s.Peer] == string(o.UID))
}

// StepKind names a step.
type StepKind string

// The steps.
const (
	// StepAddFinalizer adds Finalizer.
	StepAddFinalizer StepKind = "AddFinalizer"
	// StepPropose writes Intent, unless the order has ended meanwhile.
	StepPropose StepKind = "Propose"
	// StepWithdraw deletes the intent.
	StepWithdraw StepKind = "Withdraw"
	// StepRemoveFinalizer removes Finalizer.
	StepRemoveFinalizer StepKind = "RemoveFinalizer"
	// StepAbandon notes at the service that its deletion does not wait for Regions any more.
	StepAbandon StepKind = "Abandon"
)

// Step is one idempotent step. Only the fields of its kind are set.
type Step struct {
	Kind    StepKind
	Intent  ownership.OrderIntent
	Regions []string
}

// Answer is what to tell of an order.
type Answer struct {
	State v1alpha1.OperationState
	// Reason and Message of condition Complete.
	Reason, Message string
}

// Plan is what to do now.
type Plan struct {
	Steps []Step
	// Answer is nil when what stands in the status stays.
	Answer *Answer
	// RecheckAfter is when to look again though nothing is announced; 0: need not.
	RecheckAfter time.Duration
	// survivors of a drain that is not with the leader yet; nil for other orders.
	survivors *survivors
	// shownIn are the regions whose gateways have the text of an announcement.
	shownIn []string
}

func answered(state v1alpha1.OperationState, reason, message string) Plan {
	return Plan{Answer: &Answer{State: state, Reason: reason, Message: message}}
}

// Ended reports whether an order of the state has ended.
func Ended(s v1alpha1.OperationState) bool {
	switch s {
	case v1alpha1.OperationSucceeded, v1alpha1.OperationFailed, v1alpha1.OperationRefused:
		return true
	case v1alpha1.OperationPending, v1alpha1.OperationRunning:
	}
	return false
}

// Decide returns what to do for the order now.
func Decide(now time.Time, o *v1alpha1.Operation, seen Seen) Plan {
	proposed := seen.given(o)
	switch {
	case !o.DeletionTimestamp.IsZero():
		return decideDeletion(o, seen)
	case Ended(o.Status.State) && seen.Peer != "":
		return decideEndAsPeer(o, seen)
	case Ended(o.Status.State):
		return decideEnd(o, proposed)
	}
	switch o.Spec.Type {
	case v1alpha1.OperationDrain, v1alpha1.OperationUndrain, v1alpha1.OperationHandback,
		v1alpha1.OperationApproveFailover, v1alpha1.OperationDeclareLost, v1alpha1.OperationDrill:
		return decideOrder(now, o, seen)
	case v1alpha1.OperationAbandon:
		return decideAbandon(now, o, seen)
	case v1alpha1.OperationAnnounce:
		return decideAnnounce(now, o, seen)
	}
	return answered(v1alpha1.OperationRefused, v1alpha1.ReasonNotSupportedYet,
		"refused, nothing was done: "+string(o.Spec.Type)+" is not in this version. See the API reference for the types that it knows")
}

// decideEnd takes an order back whose end stands in the status: the store need not know it any more.
func decideEnd(o *v1alpha1.Operation, proposed bool) Plan {
	switch {
	case hasFinalizer(o): // whatever this hub has seen of the store, nothing of the order may stay there
		return Plan{Steps: []Step{{Kind: StepWithdraw}, {Kind: StepRemoveFinalizer}}}
	case proposed:
		return Plan{Steps: []Step{{Kind: StepWithdraw}}}
	}
	return Plan{}
}

// decideDeletion takes an order back that somebody deletes: what has not begun of it never will.
func decideDeletion(o *v1alpha1.Operation, seen Seen) Plan {
	if !hasFinalizer(o) {
		return Plan{}
	}
	plan := Plan{Steps: []Step{{Kind: StepWithdraw}, {Kind: StepRemoveFinalizer}}}
	if !seen.StoreConnected && !Ended(o.Status.State) {
		plan.Answer = &Answer{State: o.Status.State, Reason: v1alpha1.ReasonStoreUnreachable, Message: "it is being deleted, and the coordination " +
			"store, which has the order, does not answer: see the store's members"}
	}
	return plan
}

// decideOrder hands an order to the leader, or tells what the leader has made of it.
func decideOrder(now time.Time, o *v1alpha1.Operation, seen Seen) Plan {
	record, taken := seen.Configuration.Orders[seen.name(o)]
	proposed := seen.given(o)
	left := o.CreationTimestamp.Add(timeout(o)).Sub(now)
	switch {
	case !seen.StoreKnown:
		return withoutStore(seen)
	case seen.Peer != "" && !proposed:
		if plan, joins := join(o, seen, record, taken); joins {
			return plan
		}
	}
	switch {
	case taken && (proposed || record.State != ownership.OrderRunning):
		return followed(o, seen, record)
	case proposed && left > 0:
		return Plan{Answer: untaken(o, seen), RecheckAfter: left}
	case proposed:
		return Plan{Steps: []Step{{Kind: StepWithdraw}}, Answer: untaken(o, seen)}
	case left <= 0:
		return timedOut(o, seen)
	}
	return handOver(o, seen, left)
}

// handOver proposes an order that can be carried out.
func handOver(o *v1alpha1.Operation, seen Seen, left time.Duration) Plan {
	if reason, message := refusal(o.Spec, seen); reason != "" {
		return answered(v1alpha1.OperationRefused, reason, "refused, nothing was done: "+message)
	}
	if reason, message := refuseDrill(o, seen); reason != "" {
		return answered(v1alpha1.OperationRefused, reason, "refused, nothing was done: "+message)
	}
	if !seen.StoreConnected {
		return withoutStore(seen)
	}
	intent := intended(o, seen)
	if seen.Service != nil {
		if seen.Configuration.Services[intent.Service].UID == "" {
			plan := answered(v1alpha1.OperationPending, v1alpha1.ReasonOrderPending, "waits until the regions have agreed on MultiActiveService "+
				key(o.Spec.Service)+": see its condition RoutingReady")
			plan.RecheckAfter = min(recheck, left)
			return plan
		}
	}
	if _, joins := seen.Configuration.OrderIntents[intent.Name]; joins { // another region's hub has not held it back, or not any more
		return Plan{Answer: untaken(o, seen), RecheckAfter: left, Steps: give(o, intent)}
	}
	s := prepared(o, seen)
	switch names := idle(o, seen); {
	case names != "":
		plan := answered(v1alpha1.OperationPending, v1alpha1.ReasonCapacityAwaited, "waits for a ready replica of "+names)
		plan.RecheckAfter = min(recheck, left)
		return plan
	case s != nil && s.waits:
		return awaitsCapacity(s, left)
	}
	return Plan{Answer: untaken(o, seen), RecheckAfter: left, Steps: give(o, intent), survivors: s}
}

// intended returns what the store is told of the order.
func intended(o *v1alpha1.Operation, seen Seen) ownership.OrderIntent {
	intent := ownership.OrderIntent{
		Name: seen.name(o), Type: string(o.Spec.Type), Region: o.Spec.Region,
		ExpectedEpoch: o.Spec.ExpectedEpoch, Timeout: timeout(o),
	}
	if seen.Service != nil {
		intent.Service = string(seen.Service.UID)
	}
	if o.Spec.Type == v1alpha1.OperationDrill {
		intent.Duration, intent.Mode = DrillDuration(o.Spec.Drill), string(DrillMode(o.Spec.Drill))
	}
	return intent
}

// give proposes the order, and first makes sure that it can be taken back.
func give(o *v1alpha1.Operation, intent ownership.OrderIntent) []Step {
	var steps []Step
	if !hasFinalizer(o) {
		steps = append(steps, Step{Kind: StepAddFinalizer})
	}
	return append(steps, Step{Kind: StepPropose, Intent: intent})
}

func withoutStore(seen Seen) Plan {
	message := "waits for the coordination store, which does not answer: see the store's members and the manager's log"
	if seen.StoreProblem != "" {
		message = "waits for the coordination store: " + seen.StoreProblem
	}
	return answered(v1alpha1.OperationPending, v1alpha1.ReasonStoreUnreachable, message)
}

// untaken is told of an order that the leader has not answered.
func untaken(o *v1alpha1.Operation, seen Seen) *Answer {
	a := &Answer{State: v1alpha1.OperationPending, Reason: v1alpha1.ReasonOrderPending, Message: "waits for the leader of the regions to take it up"}
	if seen.Configuration.Leader == "" {
		a.Message = noLeader
	}
	if o.Status.State == v1alpha1.OperationRunning { // its survivors were prepared: it is under way
		a.State, a.Reason = v1alpha1.OperationRunning, v1alpha1.ReasonOrderRunning
	}
	return a
}

const noLeader = "waits until the regions' agents have elected a leader: see condition LeaseHeld of the Regions"

func timeout(o *v1alpha1.Operation) time.Duration {
	if o.Spec.Timeout == nil || o.Spec.Timeout.Duration <= 0 {
		return DefaultTimeout
	}
	return o.Spec.Timeout.Duration
}
