// Package topic decides what to do with one Kafka topic of one service in one
// region: make it, raise its partitions, repair its configuration, or leave it
// alone and say why. It is pure: observations in, steps and reasons out.
//
// It must never plan to delete a topic, to lower partitions, to shorten the
// key order of data that depends on it, or to touch a topic that belongs to
// someone else.
package topic

import (
	"cmp"
	"slices"
	"time"
)

// Adoption says what may happen to a topic that exists already and that no
// service has claimed.
type Adoption string

const (
	// AdoptionCreate leaves such a topic alone and reports it (the default).
	AdoptionCreate Adoption = "Create"
	// AdoptionAdopt claims it and from then on manages it.
	AdoptionAdopt Adoption = "Adopt"
	// AdoptionObserve never changes anything, whoever made the topic.
	AdoptionObserve Adoption = "Observe"
)

// DefaultReplicationFactor is asked for when Desired names none.
const DefaultReplicationFactor = 3

// MinRetention is the shortest retention that is acted on.
const MinRetention = time.Second

// Desired is the topic as its service declares it.
type Desired struct {
	// Name is the full name, <namespace>.<topic>.
	Name       string
	Partitions int
	// ReplicationFactor 0 means DefaultReplicationFactor. It acts at creation
	// only: moving replicas is the platform team's work.
	ReplicationFactor int
	// Retention is how long records stay. It must exceed the longest outage
	// objective. 0 leaves the broker's default, negative means for ever.
	Retention time.Duration
	// Compact keeps the last record of every key (a class that is a table).
	Compact bool
	// OrderedByKey classes keep their partition count: more partitions would
	// move keys, and a key's later records could overtake its earlier ones.
	OrderedByKey bool
	Adoption     Adoption
	// Owner is the service that declares the topic.
	Owner Owner
}

// Owner identifies a service. Namespace and name outlive a deletion and a new
// creation of the object; the UID does not.
type Owner struct {
	Namespace, Name, UID string
	CreatedAt            time.Time
}

func (o Owner) sameService(p Owner) bool { return o.Namespace == p.Namespace && o.Name == p.Name }

// before orders services that claim one topic: older first, then by UID, so
// that every region decides alike whatever it saw first.
func (o Owner) before(p Owner) bool {
	return cmp.Or(o.CreatedAt.Compare(p.CreatedAt), cmp.Compare(o.UID, p.UID)) < 0
}

// Observed is what the brokers and the record of claims say.
type Observed struct {
	Exists            bool
	Partitions        int
	ReplicationFactor int
	// Configs holds effective values.
	Configs map[string]string
	// Brokers is how many brokers are up; at least 1.
	Brokers int
	// Claim is nil when no service has claimed the topic.
	Claim *Owner
}

// StepKind names a step.
type StepKind string

// The steps, in the order in which they are carried out.
const (
	// StepClaim records the owner's claim. It comes first: a crash between
	// the two must leave a claim without a topic, not a topic nobody owns.
	StepClaim StepKind = "Claim"
	// StepCreate makes the topic. When it turns out to exist by then, someone
	// else made it since the observation: release the claim and decide anew.
	StepCreate StepKind = "Create"
	// StepRaisePartitions raises the topic to Partitions.
	StepRaisePartitions StepKind = "RaisePartitions"
	// StepAlterConfig sets Configs.
	StepAlterConfig StepKind = "AlterConfig"
)

// Step is one idempotent change. Only the fields of its kind are set.
type Step struct {
	Kind StepKind
	// Partitions is the total (Create, RaisePartitions).
	Partitions int
	// ReplicationFactor is set by Create.
	ReplicationFactor int
	// Configs are the values to set (Create: all, AlterConfig: those that differ).
	Configs map[string]string
}

// Reason is a machine-readable word for a condition.
type Reason string

const (
	// ReasonReady: the topic is as declared once the steps are done.
	ReasonReady Reason = "TopicReady"
	// ReasonCreating: the topic is missing and will be made.
	ReasonCreating Reason = "TopicCreating"
	// ReasonRemade: the service had claimed the topic, and it is missing; it is made again, empty.
	ReasonRemade Reason = "TopicRemade"
	// ReasonDriftRepaired: someone changed the configuration; it is set back.
	ReasonDriftRepaired Reason = "DriftRepaired"
	// ReasonObserved: an observed topic is as declared.
	ReasonObserved Reason = "TopicObserved"
	// ReasonReplicationLowered: fewer brokers than the replication factor.
	ReasonReplicationLowered Reason = "ReplicationFactorLowered"
	// ReasonConflict: another, older service has the topic.
	ReasonConflict Reason = "TopicConflict"
	// ReasonNotOurs: the topic exists and no service claimed it.
	ReasonNotOurs Reason = "TopicNotOurs"
	// ReasonPartitionsLowered: fewer partitions are declared than exist.
	ReasonPartitionsLowered Reason = "PartitionsLowered"
	// ReasonPartitionsOrdered: more partitions would break the order of keys.
	ReasonPartitionsOrdered Reason = "PartitionsOrderedByKey"
	// ReasonMissing: an observed topic does not exist.
	ReasonMissing Reason = "TopicMissing"
	// ReasonDiffers: an observed topic is not as declared.
	ReasonDiffers Reason = "TopicDiffers"
	// ReasonInvalid: the declaration or the observation cannot be acted on.
	ReasonInvalid Reason = "TopicInvalid"
)

// Note is one finding for a condition: a reason and a sentence that says what
// is the matter and what to do.
type Note struct {
	Reason  Reason
	Message string
}

// Plan is the outcome.
type Plan struct {
	// Steps in order; empty when there is nothing to do or nothing allowed.
	Steps []Step
	// Refused is set when the declaration cannot be met as it stands: the
	// topic is not ready until a person acts. Steps may still be present: a
	// refused partition count does not stop the repair of the retention.
	Refused *Note
	// Notes tell what is done or was lowered; none of them needs a person.
	Notes []Note
}

// Ready says whether the topic is, before any step, as declared.
func (p Plan) Ready() bool { return p.Refused == nil && len(p.Steps) == 0 }

// Claims says whether a step of it is to claim the topic.
func (p Plan) Claims() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == StepClaim })
}

// Managed says whether the topic is the owner's to manage: not another's, not only observed, and declared in
// a way that can be acted on.
func (p Plan) Managed(want Desired) bool {
	if want.Adoption == AdoptionObserve {
		return false
	}
	if p.Refused == nil {
		return true
	}
	switch p.Refused.Reason {
	case ReasonConflict, ReasonNotOurs, ReasonInvalid:
		return false
	default:
		return true
	}
}
