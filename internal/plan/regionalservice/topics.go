package regionalservice

import (
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/plan/topic"
)

// Topics is what the background work on a service's topics has found.
type Topics struct {
	// Known is false until the present declaration was looked at.
	Known bool
	// Unavailable says why nothing could be looked at; nil when it could.
	Unavailable *Problem
	// Results by topic.
	Results map[string]TopicResult
	// Deleted is true when all topics that were to be deleted are.
	Deleted bool
}

// TopicResult is the state of one topic.
type TopicResult struct {
	// Ready is true when the topic is as declared, or as near as the brokers allow.
	Ready bool
	// Reason is one of the API's; empty for a topic that is simply as declared.
	Reason  string
	Message string
}

// reasonsOf maps the reasons of a topic's plan to those of the API.
var reasonsOf = map[topic.Reason]string{
	topic.ReasonCreating:           v1alpha1.ReasonProgressing,
	topic.ReasonRemade:             v1alpha1.ReasonTopicRepaired,
	topic.ReasonDriftRepaired:      v1alpha1.ReasonTopicRepaired,
	topic.ReasonReplicationLowered: v1alpha1.ReasonReplicationFactorLowered,
	topic.ReasonConflict:           v1alpha1.ReasonTopicConflict,
	topic.ReasonNotOurs:            v1alpha1.ReasonTopicNotOurs,
	topic.ReasonPartitionsLowered:  v1alpha1.ReasonPartitionsLowered,
	topic.ReasonPartitionsOrdered:  v1alpha1.ReasonTopicDrifted,
	topic.ReasonMissing:            v1alpha1.ReasonNotFound,
	topic.ReasonDiffers:            v1alpha1.ReasonTopicDrifted,
	topic.ReasonInvalid:            v1alpha1.ReasonInvalidObject,
}

// TopicResultOf sums a topic's plan up after its steps were carried out.
func TopicResultOf(p topic.Plan) TopicResult {
	if p.Refused != nil {
		return TopicResult{Reason: reasonsOf[p.Refused.Reason], Message: p.Refused.Message}
	}
	for _, n := range p.Notes {
		if n.Reason == topic.ReasonReplicationLowered {
			return TopicResult{Ready: true, Reason: reasonsOf[n.Reason], Message: n.Message}
		}
	}
	return TopicResult{Ready: len(p.Steps) == 0, Reason: "", Message: ""}
}

// topicsCondition sums the topics up: the first in declared order that is not as declared gives
// the reason, all of them the message.
func topicsCondition(rs *v1alpha1.RegionalService, seen Seen) (status, reason, message string) {
	const isTrue, isFalse, unknown = "True", "False", "Unknown"
	kafka, topics := rs.Spec.Kafka, regional.KeptTopics(rs)
	switch {
	case rs.DeletionTimestamp != nil && seen.Topics.Unavailable == nil:
		return unknown, v1alpha1.ReasonDeleting, deleting(rs, seen)
	case len(topics) == 0:
		return isTrue, v1alpha1.ReasonNoTopics, "the service declares no topic"
	case kafka == nil:
		return isFalse, v1alpha1.ReasonNoKafka, "topics or deferred requests are declared and the Region has no kafka; add spec.kafka to Region " + rs.Spec.Region
	case !seen.Topics.Known:
		return unknown, v1alpha1.ReasonNotYetObserved, "the topics have not been looked at yet"
	case seen.Topics.Unavailable != nil:
		return isFalse, seen.Topics.Unavailable.Reason, seen.Topics.Unavailable.Message
	}
	var notes, faults []string
	var noteReason, faultReason string
	for _, t := range topics {
		r := seen.Topics.Results[t.Name]
		switch {
		case !r.Ready:
			faults = append(faults, orElse(r.Message, "topic "+t.Name+" is being set up"))
			faultReason = orElse(faultReason, orElse(r.Reason, v1alpha1.ReasonProgressing))
		case r.Reason != "":
			notes = append(notes, r.Message)
			noteReason = orElse(noteReason, r.Reason)
		}
	}
	if len(faults) > 0 {
		return isFalse, faultReason, strings.Join(faults, "; ")
	}
	if len(notes) > 0 {
		return isTrue, noteReason, strings.Join(notes, "; ")
	}
	return isTrue, v1alpha1.ReasonAsDeclared, "all topics are as declared"
}

func orElse(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// Doomed returns the topics that are deleted with the service.
func Doomed(rs *v1alpha1.RegionalService) []v1alpha1.TopicSlice {
	if rs.Spec.Kafka == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(rs.Spec.Topics), func(t v1alpha1.TopicSlice) bool {
		return t.DeletionPolicy != v1alpha1.DeletionDelete || t.Adoption == v1alpha1.TopicObserve
	})
}

// deleting says what a service that is being deleted waits for.
func deleting(rs *v1alpha1.RegionalService, seen Seen) string {
	const what = "routing has stopped; workload and gateway are being removed, "
	switch {
	case len(Doomed(rs)) == 0:
		return what + "topics and data stay"
	case len(seen.Receiving) > 0:
		return what + "and topics with deletionPolicy Delete when no mirror carries them any more: " + strings.Join(seen.Receiving, ", ")
	case seen.Topics.Unavailable != nil:
		return what + "topics with deletionPolicy Delete cannot be deleted yet: " + seen.Topics.Unavailable.Message
	}
	return what + "then topics with deletionPolicy Delete"
}
