package regionalservice

import (
	"context"
	"errors"
	"maps"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/port/kafka"
)

// keeping is one topic of a service in a round.
type keeping struct {
	want topic.Desired
	plan topic.Plan
	// repaired is what was set right on the way.
	repaired string
	// made is true once it was made in this round: brokers may not show it yet.
	made bool
	// result is nil until it is known.
	result *plan.TopicResult
}

func (k *keeping) is(r plan.TopicResult) { k.result = &r }

// settles finds the result of a topic about which nothing can be decided: it cannot be read, or is not shown yet.
func (k *keeping) settles(seen kafka.Topic) bool {
	switch {
	case seen.Err != nil:
		k.fails(seen.Err)
	case k.made && !seen.Exists:
		k.isBeingSetUp()
	}
	return k.result != nil
}

func (k *keeping) isBeingSetUp() {
	k.is(plan.TopicResult{Reason: v1alpha1.ReasonProgressing, Message: "topic " + k.want.Name + " is being set up"})
}

// fails has the topic alone fail, with what there is to mend.
func (k *keeping) fails(err error) {
	p := unavailable(err)
	k.is(plan.TopicResult{Reason: p.Reason, Message: p.Message})
}

// keep brings topics to what is wanted: claims and what is to be made with one request each, however many they are.
// What changed is looked at again. Of two services that want one topic the first in order is decided first. What is
// wrong with a topic alone is its result; an error says that the Kafka cannot be used.
func (c *kafkaCluster) keep(ctx context.Context, all []*keeping) error {
	for range maxTopicRounds {
		changed, err := c.round(ctx, all)
		if err != nil || len(changed) == 0 {
			return err
		}
		again, err := c.client.Describe(ctx, changed...)
		if err != nil {
			return err
		}
		maps.Copy(c.topics, again)
	}
	for _, k := range all {
		if k.result == nil {
			k.isBeingSetUp()
		}
	}
	return nil
}

// round decides about every topic whose result is not known, and carries the steps out. It returns the topics that
// were changed.
func (c *kafkaCluster) round(ctx context.Context, all []*keeping) (changed []string, err error) {
	claims := map[string]kafka.Claim{}
	var pending []*keeping
	for _, k := range all {
		if k.result != nil {
			continue
		}
		if err := c.decide(ctx, k); err != nil {
			return nil, err
		}
		if k.result != nil {
			continue
		}
		if k.plan.Claims() {
			claims[k.want.Name] = c.claim(k.want)
		}
		pending = append(pending, k)
	}
	if len(claims) > 0 {
		if err := c.putClaims(ctx, claims); err != nil {
			return nil, err
		}
	}
	if err := c.create(ctx, pending); err != nil {
		return nil, err
	}
	for _, k := range pending {
		if err := c.change(ctx, k); err != nil {
			return nil, err
		}
		if k.result == nil {
			changed = append(changed, k.want.Name)
		}
	}
	return changed, nil
}

// decide plans a topic's steps, or finds its result.
func (c *kafkaCluster) decide(ctx context.Context, k *keeping) error {
	if k.settles(c.topics[k.want.Name]) {
		return nil
	}
	k.plan = topic.Decide(k.want, c.observed(k.want.Name))
	if c.strimzi != nil {
		result, err := c.throughStrimzi(ctx, k.want, k.plan)
		switch {
		case err == nil:
			k.is(result)
		case !alone(err):
			return err
		default:
			k.fails(err)
		}
		return nil
	}
	if len(k.plan.Steps) == 0 {
		result := plan.TopicResultOf(k.plan)
		if result.Ready && k.repaired != "" {
			result.Reason, result.Message = v1alpha1.ReasonTopicRepaired, k.repaired
		}
		k.is(result)
		return nil
	}
	for _, n := range k.plan.Notes {
		if n.Reason == topic.ReasonDriftRepaired || n.Reason == topic.ReasonRemade {
			k.repaired = n.Message
		}
	}
	return nil
}

// create makes the topics that are to be made.
func (c *kafkaCluster) create(ctx context.Context, pending []*keeping) error {
	var topics []kafka.NewTopic
	for _, k := range pending {
		for _, step := range k.plan.Steps {
			if step.Kind == topic.StepCreate {
				topics = append(topics, kafka.NewTopic{
					Name: k.want.Name, Partitions: step.Partitions, ReplicationFactor: step.ReplicationFactor, Configs: step.Configs,
				})
			}
		}
	}
	failures, err := c.client.CreateAll(ctx, topics...)
	if err != nil {
		return err
	}
	for _, k := range pending {
		switch err := failures[k.want.Name]; {
		case err == nil:
			k.made = true // or it was there already
		case errors.Is(err, kafka.ErrTopicExists):
			// Somebody else made it since it was looked at: the claim was wrong.
			delete(c.claimed, k.want.Name)
			if err := c.claims.Release(ctx, k.want.Name); err != nil {
				return err
			}
		default:
			k.fails(err)
		}
	}
	return nil
}

// change carries out the steps about a topic that exists.
func (c *kafkaCluster) change(ctx context.Context, k *keeping) error {
	for _, step := range k.plan.Steps {
		var err error
		switch step.Kind {
		case topic.StepRaisePartitions:
			err = c.client.CreatePartitions(ctx, k.want.Name, step.Partitions)
		case topic.StepAlterConfig:
			err = c.client.AlterConfigs(ctx, k.want.Name, step.Configs)
		case topic.StepClaim, topic.StepCreate: // done for all together
		}
		if err != nil && !alone(err) {
			return err
		}
		if err != nil {
			k.fails(err)
		}
	}
	return nil
}

// claim takes a topic for its owner in what was read, for the decisions that follow.
func (c *kafkaCluster) claim(want topic.Desired) kafka.Claim {
	claim := kafka.Claim{Namespace: want.Owner.Namespace, Name: want.Owner.Name, UID: want.Owner.UID, CreatedAt: want.Owner.CreatedAt}
	if before, claimed := c.claimed[want.Name]; claimed && before.UID != claim.UID {
		c.taken[want.Name] = before.UID
	}
	if len(c.claimed) == 0 {
		c.unclaimed = true
	}
	c.claimed[want.Name] = claim
	return claim
}

// putClaims records claims, in a topic that is made with the first of them.
func (c *kafkaCluster) putClaims(ctx context.Context, claims map[string]kafka.Claim) error {
	if c.unclaimed {
		if err := c.claims.Ensure(ctx, min(topic.DefaultReplicationFactor, c.brokers)); err != nil {
			return err
		}
		c.unclaimed = false
	}
	return c.claims.PutAll(ctx, claims)
}

// alone reports whether a failure is about one topic: the Kafka answers, and the others may be as they should.
func alone(err error) bool {
	if mend, is := errors.AsType[*problemError](err); is {
		return mend.reason == v1alpha1.ReasonInvalidObject
	}
	var known *kafka.Error
	return errors.As(err, &known) && !slices.ContainsFunc([]error{kafka.ErrUnreachable, kafka.ErrAuthentication, kafka.ErrCertificate},
		func(whole error) bool { return errors.Is(err, whole) })
}
