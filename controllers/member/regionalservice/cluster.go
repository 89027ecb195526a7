package regionalservice

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/port/kafka"
)

// kafkaCluster is one Kafka as it was read at the beginning of a round, and kept up to date with
// what the round does.
type kafkaCluster struct {
	client  *kafka.Client
	claims  *kafka.Claims
	claimed map[string]kafka.Claim
	topics  map[string]kafka.Topic
	brokers int
	// taken has the topics that were claimed over another's claim, with its UID.
	taken map[string]string
	// strimzi makes and changes the topics; nil: the admin protocol does.
	strimzi *strimziTopics
}

func readCluster(ctx context.Context, client *kafka.Client, jobs []job) (*kafkaCluster, error) {
	c := &kafkaCluster{client: client, claims: kafka.NewClaims(client), taken: map[string]string{}}
	var err error
	if c.brokers, err = client.Brokers(ctx); err != nil {
		return nil, err
	}
	if c.claimed, err = c.claims.Load(ctx); err != nil {
		return nil, err
	}
	var names []string
	for _, j := range jobs {
		for _, t := range j.entry.want.Topics {
			names = append(names, t.Name)
		}
	}
	c.topics, err = client.Describe(ctx, names...)
	return c, err
}

// keep brings one topic to what is wanted, and looks again after each change.
func (c *kafkaCluster) keep(ctx context.Context, want topic.Desired) (plan.TopicResult, error) {
	var repaired string
	for range maxTopicRounds {
		if err := c.topics[want.Name].Err; err != nil {
			return plan.TopicResult{}, err
		}
		p := topic.Decide(want, c.observed(want.Name))
		if c.strimzi != nil {
			return c.throughStrimzi(ctx, want, p)
		}
		if len(p.Steps) == 0 {
			result := plan.TopicResultOf(p)
			if result.Ready && result.Reason == "" && repaired != "" {
				result.Reason, result.Message = v1alpha1.ReasonTopicRepaired, repaired
			}
			return result, nil
		}
		for _, n := range p.Notes {
			if n.Reason == topic.ReasonDriftRepaired {
				repaired = n.Message
			}
		}
		for _, step := range p.Steps {
			if err := c.step(ctx, want, step); err != nil {
				return plan.TopicResult{}, err
			}
		}
		again, err := c.client.Describe(ctx, want.Name)
		if err != nil {
			return plan.TopicResult{}, err
		}
		c.topics[want.Name] = again[want.Name]
	}
	return plan.TopicResult{Reason: v1alpha1.ReasonProgressing, Message: "topic " + want.Name + " is being set up"}, nil
}

// throughStrimzi claims the topic and leaves the other steps to Strimzi, whose object it keeps as it should
// be whether or not there are any.
func (c *kafkaCluster) throughStrimzi(ctx context.Context, want topic.Desired, p topic.Plan) (plan.TopicResult, error) {
	if !p.Managed(want) {
		return plan.TopicResultOf(p), nil
	}
	for _, step := range p.Steps {
		if step.Kind == topic.StepClaim {
			if err := c.claim(ctx, want); err != nil {
				return plan.TopicResult{}, err
			}
		}
	}
	seen := c.observed(want.Name)
	return c.strimzi.keep(ctx, want, seen, topic.Decide(want, seen))
}

func (c *kafkaCluster) observed(name string) topic.Observed {
	t := c.topics[name]
	seen := topic.Observed{
		Exists: t.Exists, Partitions: t.Partitions, ReplicationFactor: t.ReplicationFactor, Configs: t.Configs, Brokers: c.brokers,
	}
	if claim, ok := c.claimed[name]; ok {
		seen.Claim = &topic.Owner{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, CreatedAt: claim.CreatedAt.UTC()}
	}
	return seen
}

func (c *kafkaCluster) step(ctx context.Context, want topic.Desired, step topic.Step) error {
	switch step.Kind {
	case topic.StepClaim:
		return c.claim(ctx, want)
	case topic.StepCreate:
		err := c.client.Create(ctx, kafka.NewTopic{
			Name: want.Name, Partitions: step.Partitions, ReplicationFactor: step.ReplicationFactor, Configs: step.Configs,
		})
		if errors.Is(err, kafka.ErrTopicExists) {
			// Somebody else made it since it was looked at: the claim was wrong.
			delete(c.claimed, want.Name)
			return c.claims.Release(ctx, want.Name)
		}
		return err
	case topic.StepRaisePartitions:
		return c.client.CreatePartitions(ctx, want.Name, step.Partitions)
	case topic.StepAlterConfig:
		return c.client.AlterConfigs(ctx, want.Name, step.Configs)
	}
	return fmt.Errorf("topic %s: step %s is unknown", want.Name, step.Kind)
}

func (c *kafkaCluster) claim(ctx context.Context, want topic.Desired) error {
	if len(c.claimed) == 0 {
		if err := c.claims.Ensure(ctx, min(topic.DefaultReplicationFactor, c.brokers)); err != nil {
			return err
		}
	}
	claim := kafka.Claim{Namespace: want.Owner.Namespace, Name: want.Owner.Name, UID: want.Owner.UID, CreatedAt: want.Owner.CreatedAt}
	if err := c.claims.Put(ctx, want.Name, claim); err != nil {
		return err
	}
	if before, claimed := c.claimed[want.Name]; claimed && before.UID != claim.UID {
		c.taken[want.Name] = before.UID
	}
	c.claimed[want.Name] = claim
	return nil
}

func join(addresses []string) string { return strings.Join(addresses, ", ") }
