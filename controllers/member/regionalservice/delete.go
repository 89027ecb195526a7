package regionalservice

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/mirrormaker"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/plan/topic"
)

// delete deletes the topics of a service that is declared to take them along. The claim goes last: until then
// whoever tries again knows that they are this service's to delete.
func (k *TopicKeeper) delete(ctx context.Context, cluster *kafkaCluster, want WantedTopics) plan.Topics {
	gone := true
	for _, t := range want.Topics {
		claim, claimed := cluster.claimed[t.Name]
		if !claimed || claim.UID != t.Owner.UID {
			continue // another service's, or nobody's
		}
		left, err := k.deleteTopic(ctx, cluster, t, want)
		if err != nil {
			return plan.Topics{Known: true, Unavailable: unavailable(err)}
		}
		gone = gone && !left
	}
	return plan.Topics{Known: true, Deleted: gone}
}

// deleteTopic deletes one topic with its copies, and reports whether something of it is left.
func (k *TopicKeeper) deleteTopic(ctx context.Context, cluster *kafkaCluster, t topic.Desired, want WantedTopics) (left bool, err error) {
	names := make([]string, 0, 1+len(want.Origins))
	for _, origin := range want.Origins {
		names = append(names, mirror.TargetTopic(origin, t.Name))
	}
	if cluster.strimzi == nil {
		names = append(names, t.Name)
	} else if err := cluster.strimzi.remove(ctx, t.Name); err != nil {
		return true, err
	}
	if err := cluster.client.Delete(ctx, names...); err != nil {
		return true, err
	}
	if err := k.forgetPositions(ctx, t.Name, want); err != nil {
		return true, err
	}
	found, err := cluster.client.Describe(ctx, append(names, t.Name)...)
	if err != nil {
		return true, err
	}
	for _, f := range found {
		left = left || f.Exists || f.Err != nil
	}
	if left {
		return true, nil // Strimzi, or the brokers, are at it
	}
	k.Log.Info("A topic was deleted with its service, and the copies of it.", "topic", t.Name, "service", t.Owner.Namespace+"/"+t.Owner.Name)
	delete(cluster.claimed, t.Name)
	return false, cluster.claims.Release(ctx, t.Name)
}

// forgetPositions takes away how far MirrorMaker has come: it would count for a topic that is made anew under
// the name. The built-in mirror tells the two apart.
func (k *TopicKeeper) forgetPositions(ctx context.Context, name string, want WantedTopics) error {
	if replicationlink.Engine(&want.Kafka) != v1alpha1.LinkMirrorMaker2 {
		return nil
	}
	o, err := k.Credentials(ctx, want.Kafka)
	if err != nil {
		return err
	}
	o.Timeout = kafkaTimeout
	for _, origin := range want.Origins {
		offsets, err := mirrormaker.NewOffsets(origin, o)
		if err != nil {
			return err
		}
		err = offsets.Forget(ctx, want.Region, name)
		offsets.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the topic's KafkaTopic, with which Strimzi deletes the topic.
func (s *strimziTopics) remove(ctx context.Context, name string) error {
	obj := s.found[name]
	if obj == nil {
		return nil
	}
	if !regional.Made(obj) {
		return &problemError{v1alpha1.ReasonTopicNotOurs, fmt.Sprintf("KafkaTopic %s/%s was not made by the operator: delete it to have topic %s deleted", obj.GetNamespace(), obj.GetName(), name)}
	}
	if err := client.IgnoreNotFound(s.writer.Delete(ctx, obj)); err != nil {
		return explainStrimzi(err, s.kafka)
	}
	return nil
}
