// Package kafka is the port to a region's Kafka: what the member's topic
// controller, the built-in mirror and the canary need from brokers, and no
// more. It describes, creates, grows and configures topics, and keeps the
// record of which service claims which topic.
//
// It must never delete a topic or records of its own accord: the data outlives
// the service that declared it, unless that says otherwise. It never decides anything (internal/plan/topic does), and never
// puts a credential into an error or a log line.
package kafka

import (
	"context"
	"time"
)

// Admin is one Kafka cluster as the topic controller sees it. Every call is
// bounded by Options.Timeout as well as by its context, so that a dead cluster
// costs one timeout and never blocks the work for other regions.
//
// Errors of every method: ErrUnreachable when no broker answered in time,
// ErrAuthentication and ErrAuthorization when the credentials were refused,
// ErrCertificate when TLS was; match them with errors.Is.
type Admin interface {
	// Describe observes the named topics. The result has an entry for each
	// name; a topic that does not exist has Exists false. A topic that alone
	// cannot be read has Err set and does not fail the others.
	Describe(ctx context.Context, topics ...string) (map[string]Topic, error)
	// Create makes a topic. ErrTopicExists when there already is one.
	Create(ctx context.Context, topic NewTopic) error
	// CreatePartitions raises a topic to total partitions. Kafka refuses a
	// lower number; the present number is no error.
	CreatePartitions(ctx context.Context, topic string, total int) error
	// AlterConfigs sets the given topic configs and leaves all others alone.
	AlterConfigs(ctx context.Context, topic string, set map[string]string) error
	// Brokers counts the brokers that are up.
	Brokers(ctx context.Context) (int, error)
	// EndOffsets gives, by topic and partition, the offset that the next
	// record will get. Topics that do not exist are absent.
	EndOffsets(ctx context.Context, topics ...string) (map[string]map[int32]int64, error)
	// StartOffsets gives the same for the oldest record that is still there.
	StartOffsets(ctx context.Context, topics ...string) (map[string]map[int32]int64, error)
	// GroupOffsets gives what a group has committed. A group that committed
	// nothing, or does not exist, has none.
	GroupOffsets(ctx context.Context, group string) ([]GroupOffset, error)
	// CommitOffsets stores positions for a group that has no live members.
	CommitOffsets(ctx context.Context, group string, offsets []GroupOffset) error
	// Close releases the connections. Calls after it fail.
	Close()
}

// Topic is what a broker says about one topic.
type Topic struct {
	Exists bool
	// ID changes when a topic is deleted and made again under the same name.
	// It is zero with brokers older than 2.8.
	ID         [16]byte
	Partitions int
	// ReplicationFactor is that of the partition with the fewest replicas.
	ReplicationFactor int
	// Configs holds the effective values, inherited ones included, without
	// sensitive ones.
	Configs map[string]string
	// Err says why this topic alone could not be read, ErrAuthorization for
	// one; the other fields then mean nothing.
	Err error
}

// NewTopic is a topic to create.
type NewTopic struct {
	Name       string
	Partitions int
	// ReplicationFactor 0 means the broker's default.
	ReplicationFactor int
	Configs           map[string]string
}

// GroupOffset is one committed position of a consumer group.
type GroupOffset struct {
	Topic     string
	Partition int32
	// Offset is that of the next record to process.
	Offset int64
	// Epoch is the leader epoch of the record before; nil when it is not known.
	Epoch *int32
	// Metadata is free text of the committer.
	Metadata string
}

// DefaultTimeout bounds a call when Options.Timeout is zero.
const DefaultTimeout = 10 * time.Second
