package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClaimsTopic is the compacted topic that records which service claims which
// topic. Kafka has no labels, and a claim kept in a Kubernetes status would be
// lost with the object while the topic stays; kept beside the data it lives
// exactly as long as they do.
const ClaimsTopic = "multiactive.claims"

// Claim says that a service made, or adopted, a topic.
type Claim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// CreatedAt is the service's creation time, not the claim's.
	CreatedAt time.Time `json:"createdAt"`
}

// Claims reads and writes the claims of one Kafka cluster. Only the leading
// member process of the region writes, so a read followed by a write races
// with nobody. It keeps what it has read, and reads on from there; it is not
// safe for concurrent use.
type Claims struct {
	client *Client
	// known is what the topic of that identity says below next.
	known map[string]Claim
	id    [16]byte
	next  int64
}

// NewClaims uses the client's connections; closing the client ends it.
func NewClaims(c *Client) *Claims { return &Claims{client: c} }

// Ensure makes the claims topic when it is missing.
func (c *Claims) Ensure(ctx context.Context, replicationFactor int) error {
	err := c.client.Create(ctx, NewTopic{
		Name:              ClaimsTopic,
		Partitions:        1,
		ReplicationFactor: replicationFactor,
		Configs:           map[string]string{"cleanup.policy": "compact"},
	})
	if errors.Is(err, ErrTopicExists) {
		return nil
	}
	return err
}

// Put records a claim on a topic and returns when the brokers have it.
func (c *Claims) Put(ctx context.Context, topic string, claim Claim) error {
	return c.PutAll(ctx, map[string]Claim{topic: claim})
}

// PutAll records claims, by topic, and returns when the brokers have all of them. After an error some may be recorded.
func (c *Claims) PutAll(ctx context.Context, claims map[string]Claim) error {
	records := make([]*kgo.Record, 0, len(claims))
	for _, topic := range slices.Sorted(maps.Keys(claims)) {
		value, err := json.Marshal(claims[topic])
		if err != nil {
			return fmt.Errorf("encoding the claim on topic %q: %w", topic, err)
		}
		records = append(records, &kgo.Record{Topic: ClaimsTopic, Key: []byte(topic), Value: value})
	}
	what := fmt.Sprintf("recording claims on %d topics", len(records))
	if len(records) == 1 {
		what = fmt.Sprintf("recording the claim on topic %q", records[0].Key)
	}
	return c.write(ctx, what, records...)
}

// Release forgets the claim on a topic; without one it is no error.
func (c *Claims) Release(ctx context.Context, topic string) error {
	return c.write(ctx, fmt.Sprintf("recording the claim on topic %q", topic), &kgo.Record{Topic: ClaimsTopic, Key: []byte(topic)})
}

func (c *Claims) write(ctx context.Context, op string, records ...*kgo.Record) error {
	return c.client.call(ctx, op, func(ctx context.Context) error {
		return c.client.kgo.ProduceSync(ctx, records...).FirstErr()
	})
}

// Load reads all claims, by topic. A claims topic that does not exist yet
// holds none. A record that cannot be understood is an error, never skipped:
// taking a claimed topic for a free one would let two services share it.
func (c *Claims) Load(ctx context.Context) (map[string]Claim, error) {
	topics, err := c.client.Outline(ctx, ClaimsTopic)
	if err == nil {
		err = topics[ClaimsTopic].Err
	}
	if err != nil {
		return nil, fmt.Errorf("loading claims: %w", err)
	}
	ends, err := c.client.EndOffsets(ctx, ClaimsTopic)
	if err != nil {
		return nil, fmt.Errorf("loading claims: %w", err)
	}
	end, id := ends[ClaimsTopic][0], topics[ClaimsTopic].ID
	if id != c.id || end < c.next { // another topic, or it has lost records
		c.known, c.next = nil, 0
	}
	known := maps.Clone(c.known)
	if known == nil {
		known = map[string]Claim{}
	}
	if end > c.next {
		err = c.client.call(ctx, "loading claims", func(ctx context.Context) error { return c.read(ctx, c.next, end, known) })
		if err != nil {
			return nil, err
		}
	}
	c.known, c.id, c.next = known, id, end
	return maps.Clone(known), nil
}

// read applies the records from an offset up to an end.
func (c *Claims) read(ctx context.Context, from, end int64, into map[string]Claim) error {
	opts, err := ClientOptions(c.client.opts)
	if err != nil {
		return err
	}
	consumer, err := kgo.NewClient(append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		ClaimsTopic: {0: kgo.NewOffset().At(from)},
	}), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if err := apply(into, r); err != nil {
				return err
			}
			if r.Offset >= end-1 {
				return nil
			}
		}
	}
}

func apply(into map[string]Claim, r *kgo.Record) error {
	if r.Value == nil {
		delete(into, string(r.Key))
		return nil
	}
	var claim Claim
	if err := json.Unmarshal(r.Value, &claim); err != nil {
		return fmt.Errorf("claim on topic %q at offset %d of %s is not understood: %w", r.Key, r.Offset, ClaimsTopic, err)
	}
	into[string(r.Key)] = claim
	return nil
}
