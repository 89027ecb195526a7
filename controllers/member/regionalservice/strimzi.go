package regionalservice

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
)

// +kubebuilder:rbac:groups=kafka.strimzi.io,resources=kafkatopics,verbs=get;list;create;patch;delete

// strimziTopics are the KafkaTopics of one Kafka object as they were read at the beginning of a round. What
// the brokers have is read from them and decided as for any Kafka; these objects are how it is carried out.
// They are read with every round, not watched: a watch could not begin before Strimzi is installed.
type strimziTopics struct {
	kafka  v1alpha1.StrimziKafka
	writer client.Client
	// found are the KafkaTopics of the Kafka object, by the topic's name in Kafka.
	found map[string]*unstructured.Unstructured
}

func readStrimzi(ctx context.Context, live client.Reader, writer client.Client, k v1alpha1.StrimziKafka) (*strimziTopics, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(strimzi.Version.WithKind(strimzi.KindTopic + "List"))
	if err := live.List(ctx, list, client.InNamespace(k.Namespace)); err != nil {
		return nil, explainStrimzi(err, k)
	}
	s := &strimziTopics{kafka: k, writer: writer, found: map[string]*unstructured.Unstructured{}}
	for i := range list.Items {
		// The operator's own is the one that counts, should somebody have made a second one for the topic.
		if obj := &list.Items[i]; obj.GetLabels()[strimzi.LabelCluster] == k.Cluster || regional.Made(obj) {
			name := strimzi.TopicOf(obj)
			if before := s.found[name]; before == nil || regional.Made(obj) {
				s.found[name] = obj
			}
		}
	}
	return s, nil
}

// keep writes the topic's KafkaTopic, if it is not as it should be, and says how far Strimzi is. A topic that
// is not the service's, or is only observed, has been told from the others before.
func (s *strimziTopics) keep(ctx context.Context, want topic.Desired, seen topic.Observed, decided topic.Plan) (plan.TopicResult, error) {
	live := s.found[want.Name]
	if live != nil && !regional.Made(live) && want.Adoption != topic.AdoptionAdopt {
		return plan.TopicResult{Reason: v1alpha1.ReasonTopicNotOurs, Message: fmt.Sprintf(
			"KafkaTopic %s/%s has topic %s and was not made by this operator; set adoption: Adopt to have it managed here, or adoption: Observe to use the topic as it is",
			live.GetNamespace(), live.GetName(), want.Name)}, nil
	}
	shape := topic.ShapeOf(want, seen)
	if live != nil && strimzi.Replicas(live) > 0 {
		shape.ReplicationFactor = strimzi.Replicas(live) // moving replicas is the platform team's work
	}
	obj := strimzi.Topic(s.kafka, want.Name, shape)
	if live != nil {
		obj.SetName(live.GetName()) // an adopted one may be named otherwise
	}
	if err := s.apply(ctx, obj, live); err != nil {
		return plan.TopicResult{}, err
	}
	return result(want, s.found[want.Name], decided), nil
}

func (s *strimziTopics) apply(ctx context.Context, obj, live *unstructured.Unstructured) error {
	if err := regional.Stamp(obj); err != nil {
		return err
	}
	if live != nil {
		if same, err := regional.UpToDate(obj, live); err != nil || same {
			return err
		}
	}
	name := strimzi.TopicOf(obj)
	if err := s.writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(obj), FieldOwner, client.ForceOwnership); err != nil {
		return explainStrimzi(err, s.kafka)
	}
	s.found[name] = obj // as the API server answered
	return nil
}

// result joins what was decided of the topic as the brokers have it, and what Strimzi says of its object.
func result(want topic.Desired, obj *unstructured.Unstructured, decided topic.Plan) plan.TopicResult {
	at := "KafkaTopic " + obj.GetNamespace() + "/" + obj.GetName()
	state := strimzi.StateOf(obj)
	switch {
	case decided.Refused != nil:
		return plan.TopicResultOf(decided)
	case state.Known && !state.Ready:
		return plan.TopicResult{Reason: v1alpha1.ReasonStrimziRefused, Message: fmt.Sprintf(
			"%s: Strimzi says %s: %s; mend what it names, it tries again by itself", at, state.Reason, state.Message)}
	case !state.Known:
		return plan.TopicResult{Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf(
			"%s waits for Strimzi's Topic Operator; if it stays so, see that the Kafka object has spec.entityOperator.topicOperator and that the operator watches the namespace", at)}
	case len(decided.Steps) > 0:
		return plan.TopicResult{Reason: v1alpha1.ReasonProgressing, Message: "topic " + want.Name + " is being set up by Strimzi"}
	}
	return plan.TopicResultOf(decided)
}

// explainStrimzi turns what a person has to mend into a problem.
func explainStrimzi(err error, k v1alpha1.StrimziKafka) error {
	switch {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return &problemError{v1alpha1.ReasonStrimziMissing, fmt.Sprintf(
			"the cluster has no %s of version %s: install Strimzi 0.49 or newer, or set kafka.management.type: Admin in the Region; namespace %s must exist. It is looked for again by itself",
			strimzi.ResourceTopic, strimzi.Version.Version, k.Namespace)}
	case apierrors.IsForbidden(err):
		return &problemError{v1alpha1.ReasonForbidden, fmt.Sprintf(
			"the member may not use KafkaTopics in namespace %s: apply the operator's ClusterRole again: %s", k.Namespace, statusMessage(err))}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &problemError{v1alpha1.ReasonInvalidObject, "the API server refuses a KafkaTopic: " + statusMessage(err)}
	}
	return fmt.Errorf("KafkaTopics in namespace %s: %w", k.Namespace, err)
}
