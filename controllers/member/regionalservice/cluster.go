package regionalservice

import (
	"context"
	"strings"

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
	// unclaimed is true while there may be no topic for claims yet.
	unclaimed bool
	// taken has the topics that were claimed over another's claim, with its UID.
	taken map[string]string
	// strimzi makes and changes the topics; nil: the admin protocol does.
	strimzi *strimziTopics
}

func readCluster(ctx context.Context, client *kafka.Client, claims *kafka.Claims, jobs []job) (*kafkaCluster, error) {
	c := &kafkaCluster{client: client, claims: claims, taken: map[string]string{}}
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

// throughStrimzi claims the topic and leaves the other steps to Strimzi, whose object it keeps as it should
// be whether or not there are any.
func (c *kafkaCluster) throughStrimzi(ctx context.Context, want topic.Desired, p topic.Plan) (plan.TopicResult, error) {
	if !p.Managed(want) {
		return plan.TopicResultOf(p), nil
	}
	if p.Claims() {
		if err := c.putClaims(ctx, map[string]kafka.Claim{want.Name: c.claim(want)}); err != nil {
			return plan.TopicResult{}, err
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

func join(addresses []string) string { return strings.Join(addresses, ", ") }
