package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Client is the Admin that speaks Kafka's own protocol.
type Client struct {
	opts Options
	kgo  *kgo.Client
	adm  *kadm.Client
}

var _ Admin = (*Client)(nil)

// metadataAge is how old the metadata may be from which the library answers.
const metadataAge = 50 * time.Millisecond

// described are the configurations of a topic that are asked for. A topic has three dozen, and with a thousand
// topics to say and to read them all is most of the work of a look.
var described = []string{
	"cleanup.policy", "retention.ms", "retention.bytes", "delete.retention.ms", "message.timestamp.type",
	"max.message.bytes", "min.insync.replicas",
}

// NewClient checks the options and prepares a client. It does not connect:
// brokers that are down show in the first call, not here.
func NewClient(o Options) (*Client, error) {
	opts, err := ClientOptions(o)
	if err != nil {
		return nil, fmt.Errorf("kafka options: %w", err)
	}
	// A controller must see what it did a moment ago; the default is seconds.
	cl, err := kgo.NewClient(append(opts, kgo.MetadataMinAge(metadataAge))...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	adm := kadm.NewClient(cl)
	c := &Client{opts: o, kgo: cl, adm: adm}
	adm.SetTimeoutMillis(c.brokersTimeout())
	return c, nil
}

// brokersTimeout is for how long brokers may work on a change, in milliseconds.
func (c *Client) brokersTimeout() int32 {
	return int32(min(c.opts.timeout(), time.Minute) / time.Millisecond) //nolint:gosec // at most 60,000
}

// Close implements Admin.
func (c *Client) Close() { c.kgo.Close() }

// call bounds one operation and classifies its error.
func (c *Client) call(ctx context.Context, op string, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, c.opts.timeout())
	defer cancel()
	return wrap(ctx, op, c.opts.Brokers, do(bounded))
}

// Describe implements Admin.
func (c *Client) Describe(ctx context.Context, topics ...string) (map[string]Topic, error) {
	out, err := c.Outline(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var existing []string
	for name, t := range out {
		if t.Exists {
			existing = append(existing, name)
		}
	}
	err = c.call(ctx, "describing topics", func(ctx context.Context) error { return c.describeConfigs(ctx, existing, out) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Outline is Describe without configurations, for who looks often.
func (c *Client) Outline(ctx context.Context, topics ...string) (map[string]Topic, error) {
	if len(topics) == 0 {
		return map[string]Topic{}, nil // an empty list would mean every topic to the broker
	}
	out := make(map[string]Topic, len(topics))
	err := c.call(ctx, "describing topics", func(ctx context.Context) error {
		md, err := c.metadata(ctx, topics)
		if err != nil {
			return err
		}
		for _, t := range md.Topics {
			if t.Topic != nil {
				out[*t.Topic] = c.describe(*t.Topic, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// metadata asks a broker. The library's own helpers answer from a cache, which
// would show a topic as missing for seconds after it was made.
func (c *Client) metadata(ctx context.Context, topics []string) (*kmsg.MetadataResponse, error) {
	return request(topics).RequestWith(ctx, c.kgo)
}

// request asks for the metadata of topics.
func request(topics []string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would mean all
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func (c *Client) describe(name string, m kmsg.MetadataResponseTopic) Topic {
	err := kerr.ErrorForCode(m.ErrorCode)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return Topic{}
	case err != nil:
		return Topic{Err: c.unreadable(name, err)}
	case len(m.Partitions) == 0:
		return Topic{}
	}
	t := Topic{Exists: true, ID: m.TopicID, Partitions: len(m.Partitions), Configs: map[string]string{}}
	for _, p := range m.Partitions {
		if n := len(p.Replicas); t.ReplicationFactor == 0 || n < t.ReplicationFactor {
			t.ReplicationFactor = n
		}
	}
	return t
}

// unreadable is the error of one topic among others.
func (c *Client) unreadable(topic string, err error) error {
	return &Error{Kind: kind(err), Op: fmt.Sprintf("reading topic %q", topic), Brokers: c.opts.Brokers, Err: err}
}

func (c *Client) describeConfigs(ctx context.Context, topics []string, into map[string]Topic) error {
	if len(topics) == 0 {
		return nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, name, described
		req.Resources = append(req.Resources, r)
	}
	answer, err := req.RequestWith(ctx, c.kgo)
	if err != nil {
		return err
	}
	for _, r := range answer.Resources {
		t := into[r.ResourceName]
		switch err := kerr.ErrorForCode(r.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			t = Topic{} // deleted between the two requests
		case err != nil:
			t.Err = c.unreadable(r.ResourceName, err)
		}
		for _, cfg := range r.Configs {
			if t.Exists && !cfg.IsSensitive && cfg.Value != nil {
				t.Configs[cfg.Name] = *cfg.Value
			}
		}
		into[r.ResourceName] = t
	}
	return nil
}

// Create implements Admin.
func (c *Client) Create(ctx context.Context, t NewTopic) error {
	failures, err := c.CreateAll(ctx, t)
	if err != nil {
		return err
	}
	return failures[t.Name]
}

// CreateAll makes topics with one request. Those that are not made have their error in the result, as Create has it;
// a failure of the request itself is another, and then nothing is known of any.
func (c *Client) CreateAll(ctx context.Context, topics ...NewTopic) (map[string]error, error) {
	failures := map[string]error{}
	if len(topics) == 0 {
		return failures, nil
	}
	op := fmt.Sprintf("creating %d topics", len(topics))
	if len(topics) == 1 {
		op = fmt.Sprintf("creating topic %q", topics[0].Name)
	}
	err := c.call(ctx, op, func(ctx context.Context) error {
		answer, err := c.creation(topics).RequestWith(ctx, c.kgo)
		if err != nil {
			return err
		}
		for _, t := range answer.Topics {
			err := kerr.ErrorForCode(t.ErrorCode)
			if err != nil && t.ErrorMessage != nil {
				err = fmt.Errorf("%w: %s", err, *t.ErrorMessage)
			}
			if err != nil {
				failures[t.Topic] = wrap(ctx, fmt.Sprintf("creating topic %q", t.Topic), c.opts.Brokers, err)
			}
		}
		return nil
	})
	return failures, err
}

func (c *Client) creation(topics []NewTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = c.brokersTimeout()
	for _, t := range topics {
		r := kmsg.NewCreateTopicsRequestTopic()
		r.Topic, r.NumPartitions, r.ReplicationFactor = t.Name, int32(t.Partitions), -1 //nolint:gosec // a partition count
		if t.ReplicationFactor > 0 {
			r.ReplicationFactor = int16(min(t.ReplicationFactor, 1<<15-1))
		}
		for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
			cfg := kmsg.NewCreateTopicsRequestTopicConfig()
			cfg.Name, cfg.Value = k, kmsg.StringPtr(t.Configs[k])
			r.Configs = append(r.Configs, cfg)
		}
		req.Topics = append(req.Topics, r)
	}
	return req
}

// CreatePartitions implements Admin.
func (c *Client) CreatePartitions(ctx context.Context, topic string, total int) error {
	return c.call(ctx, fmt.Sprintf("raising topic %q to %d partitions", topic, total), func(ctx context.Context) error {
		md, err := c.metadata(ctx, []string{topic})
		if err != nil {
			return err
		}
		// Kafka answers InvalidPartitions for the number that it already has,
		// which would turn a repeated call into an error.
		if len(md.Topics) == 1 && len(md.Topics[0].Partitions) == total {
			return nil
		}
		resp, err := c.adm.UpdatePartitions(ctx, total, topic)
		if err != nil {
			return err
		}
		_, err = resp.On(topic, func(r *kadm.CreatePartitionsResponse) error { return r.Err })
		return err
	})
}

// AlterConfigs implements Admin.
func (c *Client) AlterConfigs(ctx context.Context, topic string, set map[string]string) error {
	if len(set) == 0 {
		return nil
	}
	var alter []kadm.AlterConfig
	for _, k := range slices.Sorted(maps.Keys(set)) {
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(set[k])})
	}
	return c.call(ctx, fmt.Sprintf("configuring topic %q", topic), func(ctx context.Context) error {
		resp, err := c.adm.AlterTopicConfigs(ctx, alter, topic)
		if err != nil {
			return err
		}
		_, err = resp.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
		return err
	})
}

// Delete deletes topics and all that is in them; those that do not exist are no error. Whoever calls it carries
// out what somebody has declared.
func (c *Client) Delete(ctx context.Context, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	return c.call(ctx, fmt.Sprintf("deleting topics %q", topics), func(ctx context.Context) error {
		answers, err := c.adm.DeleteTopics(ctx, topics...)
		if err != nil {
			return err
		}
		for _, answer := range answers {
			if answer.Err != nil && !errors.Is(answer.Err, kerr.UnknownTopicOrPartition) {
				return fmt.Errorf("topic %s: %w", answer.Topic, answer.Err)
			}
		}
		return nil
	})
}

// Brokers implements Admin.
func (c *Client) Brokers(ctx context.Context) (int, error) {
	var n int
	err := c.call(ctx, "counting brokers", func(ctx context.Context) error {
		md, err := c.metadata(ctx, nil)
		if err != nil {
			return err
		}
		n = len(md.Brokers)
		return nil
	})
	return n, err
}

// EndOffsets implements Admin.
func (c *Client) EndOffsets(ctx context.Context, topics ...string) (map[string]map[int32]int64, error) {
	return c.offsets(ctx, "reading end offsets", c.adm.ListEndOffsets, topics)
}

// StartOffsets implements Admin.
func (c *Client) StartOffsets(ctx context.Context, topics ...string) (map[string]map[int32]int64, error) {
	return c.offsets(ctx, "reading start offsets", c.adm.ListStartOffsets, topics)
}

type lister func(context.Context, ...string) (kadm.ListedOffsets, error)

func (c *Client) offsets(ctx context.Context, op string, list lister, topics []string) (map[string]map[int32]int64, error) {
	out := make(map[string]map[int32]int64, len(topics))
	if len(topics) == 0 {
		return out, nil // an empty list would mean every topic to the broker
	}
	err := c.call(ctx, op, func(ctx context.Context) error {
		md, err := c.metadata(ctx, topics)
		if err != nil {
			return err
		}
		listed, err := list(ctx, topics...)
		for err == nil && !complete(md, listed) {
			// The library looked into its cache, which does not have what was
			// made a moment ago.
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(metadataAge): //nolint:forbidigo // waits for a cache of the library, whose clock is the system's
			}
			listed, err = list(ctx, topics...)
		}
		if err != nil {
			return err
		}
		return collect(listed, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// complete says whether every partition that exists was listed.
func complete(md *kmsg.MetadataResponse, listed kadm.ListedOffsets) bool {
	for _, t := range md.Topics {
		if t.Topic != nil && t.ErrorCode == 0 && len(listed[*t.Topic]) < len(t.Partitions) {
			return false
		}
	}
	return true
}

func collect(listed kadm.ListedOffsets, out map[string]map[int32]int64) error {
	for topic, partitions := range listed {
		for p, o := range partitions {
			switch {
			case errors.Is(o.Err, kerr.UnknownTopicOrPartition):
				continue
			case o.Err != nil:
				return fmt.Errorf("topic %s partition %d: %w", topic, p, o.Err)
			}
			if out[topic] == nil {
				out[topic] = make(map[int32]int64, len(partitions))
			}
			out[topic][p] = o.Offset
		}
	}
	return nil
}
