// Package regionalservice decides what a region's member does for one RegionalService, and fills
// in its status. It is pure: what was seen comes in, steps and conditions go out.
//
// It must never plan to change an object that the operator did not make, or a topic's data.
package regionalservice

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
)

// Finalizer keeps a RegionalService until the member has taken down what it made.
const Finalizer = desired.Finalizer

// Seen is everything that a decision depends on besides the RegionalService.
type Seen struct {
	// Complete is false when reading failed midway: nothing is then concluded from what is absent.
	Complete bool
	// Configuration is the agreed one, valid if HasConfiguration.
	Configuration    ownership.Configuration
	HasConfiguration bool
	// LeaseHeld tells whether the region holds its lease. It means nothing before LeaseSettled:
	// a member that has just started does not have one yet.
	LeaseHeld, LeaseSettled bool
	// Quiet asks to leave alone what nobody's routing depends on: a region is being lost, and flags and more
	// replicas come when the others' gateways act on that.
	Quiet bool
	// Owned are the objects with the operator's labels for this service.
	Owned []regional.Object
	// Deployment and Service are the referenced ones; nil when there is none.
	Deployment *appsv1.Deployment
	Service    *corev1.Service
	// Pods of all the service's Deployments.
	Pods []corev1.Pod
	// Acknowledged is the epoch that each gateway Pod acts on, by its name.
	Acknowledged map[string]int64
	// ActsOn is the highest epoch that a gateway acts on, and ActsSince when the first began to.
	ActsOn    int64
	ActsSince time.Time
	// Refused is why gateways cannot use the present routing, by their names.
	Refused map[string]string
	// TakesPeers are the regions whose gateways each gateway Pod takes requests from over mutual TLS, by its name.
	TakesPeers map[string][]string
	// Deferred is how many requests wait to be carried out, as each gateway Pod says (routing.ParseBacklogs), by its name.
	Deferred map[string]string
	Topics   Topics
	// PeerProblem is what keeps the gateways' certificates from being as they should, for people; empty
	// when nothing does, and for services that have none.
	PeerProblem string
	// Links are the measured incoming links by source region.
	Links map[string]Link
	// Stores are the region's servers, by the names of the stores.
	Stores map[string]Store
	// Receiving are the names of the ReplicationLinks that carry the service's topics here.
	Receiving []string
}

// Link is what is known of the data that arrives from a region.
type Link struct {
	// Known is false while nothing has arrived; Age then means nothing.
	Known bool
	// Age of the newest canary.
	Age time.Duration
	// Paused are the topics, or the store, whose links somebody has paused, which the canary does not tell of.
	Paused []string
	// Denied are the topics that access control keeps from arriving, which the canary does not tell of.
	Denied []string
}

// Store is what is known of the region's server of a store.
type Store struct {
	// Status as it is told.
	Status v1alpha1.StoreStatus
	// Links by source region: those that there are to be.
	Links map[string]Link
}

// StepKind names a step.
type StepKind string

// The steps.
const (
	// StepRecordStamp notes in the status that the slice is acted on, before it is: from then on no
	// earlier one is.
	StepRecordStamp StepKind = "RecordStamp"
	// StepAddFinalizer comes before anything is made.
	StepAddFinalizer StepKind = "AddFinalizer"
	// StepApply writes Object as the account As, or as the member itself when that is empty.
	StepApply StepKind = "Apply"
	// StepDelete removes Object, which the operator made.
	StepDelete StepKind = "Delete"
	// StepPublish hands the gateways their routing, to the application at Upstream.
	StepPublish StepKind = "Publish"
	// StepWithdraw ends the routing.
	StepWithdraw StepKind = "Withdraw"
	// StepTopics has the declared topics kept in the background.
	StepTopics StepKind = "Topics"
	// StepForgetTopics ends that; the topics stay.
	StepForgetTopics StepKind = "ForgetTopics"
	// StepDeleteTopics has those deleted in the background that are declared to go with the service.
	StepDeleteTopics StepKind = "DeleteTopics"
	// StepRemoveFinalizer comes when nothing is left.
	StepRemoveFinalizer StepKind = "RemoveFinalizer"
)

// Step is one idempotent change. Only the fields of its kind are set.
type Step struct {
	Kind   StepKind
	Object regional.Object
	As     string
	// Condition is the type of the condition that tells of the step's failure.
	Condition string
	Upstream  string
	// Reason says why, for logs.
	Reason string
}

// Problem is something that keeps a condition from being True until a person acts.
type Problem struct {
	// Condition is its type.
	Condition string
	Reason    string
	// Message says what is wrong and what to do, without anything that changes by itself.
	Message string
}

// Plan is the outcome of Decide. The controller adds the problems that it met.
type Plan struct {
	Steps    []Step
	Problems []Problem
	// Flows are the states of all flows; nil without a configuration.
	Flows []flows.State
	// Upstream is the application's base URL; empty while it is not known.
	Upstream string
	// RecheckAfter is when to look again although nothing was seen to change; 0: never.
	RecheckAfter time.Duration
}
