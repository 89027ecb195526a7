package regionalservice

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/port/kafka"
)

const good, bad = "a.good", "a.bad"

// keptKafka is a Kafka with topics of one service, which a keeper keeps.
type keptKafka struct {
	t       *testing.T
	cluster *kfake.Cluster
	admin   *kafka.Client
	keeper  *TopicKeeper
	owner   topic.Owner
}

func keepKafka(t *testing.T, opts ...kfake.Opt) *keptKafka {
	t.Helper()
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"default.replication.factor": "1"}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	options := kafka.Options{Brokers: cluster.ListenAddrs()}
	k := &keptKafka{t: t, cluster: cluster, owner: topic.Owner{Namespace: "a", Name: "user", UID: "u-1"}}
	if k.admin, err = kafka.NewClient(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.admin.Close)
	k.keeper = NewTopicKeeper(func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error) { return options, nil },
		clocktesting.NewFakeClock(time.Now()), logr.Discard())
	t.Cleanup(k.keeper.kept.Close)
	return k
}

// keep has a service's topics kept once, and returns their results.
func (k *keptKafka) keep(owner topic.Owner, topics ...topic.Desired) plan.Topics {
	k.t.Helper()
	for i := range topics {
		topics[i].Owner = owner
	}
	want := WantedTopics{Kafka: v1alpha1.RegionKafka{BootstrapServers: k.cluster.ListenAddrs()}, Topics: topics}
	found, _, err := k.keeper.work(k.t.Context(), []job{{entry: &topicEntry{want: want}}})
	if err != nil {
		k.t.Fatal(err)
	}
	return found[0]
}

func (k *keptKafka) describe(name string) kafka.Topic {
	k.t.Helper()
	all, err := k.admin.Describe(k.t.Context(), name)
	if err != nil {
		k.t.Fatal(err)
	}
	return all[name]
}

// refuse has the brokers refuse a request about the bad topic, as they do for want of a right or by a policy.
func (k *keptKafka) refuse(key kmsg.Key, code *kerr.Error) {
	k.cluster.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
		k.cluster.KeepControl()
		switch r := r.(type) {
		case *kmsg.CreateTopicsRequest:
			if !slices.ContainsFunc(r.Topics, func(t kmsg.CreateTopicsRequestTopic) bool { return t.Topic == bad }) {
				return nil, nil, false
			}
			resp, _ := r.ResponseKind().(*kmsg.CreateTopicsResponse)
			for _, t := range r.Topics {
				answer := kmsg.NewCreateTopicsResponseTopic()
				if answer.Topic = t.Topic; t.Topic == bad {
					answer.ErrorCode = code.Code
				}
				resp.Topics = append(resp.Topics, answer)
			}
			return resp, nil, true
		case *kmsg.IncrementalAlterConfigsRequest:
			if r.Resources[0].ResourceName != bad {
				return nil, nil, false
			}
			resp, _ := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
			answer := kmsg.NewIncrementalAlterConfigsResponseResource()
			answer.ResourceType, answer.ResourceName, answer.ErrorCode = r.Resources[0].ResourceType, bad, code.Code
			resp.Resources = append(resp.Resources, answer)
			return resp, nil, true
		}
		return nil, nil, false
	})
}

// One topic that cannot be as it is declared says why and what to do, and the service's other topic is as declared.
func TestOneBadTopic(t *testing.T) {
	fine := topic.Desired{Name: good, Partitions: 2, ReplicationFactor: 1, Retention: time.Hour}
	as := func(change func(*topic.Desired)) topic.Desired {
		d := topic.Desired{Name: bad, Partitions: 2, ReplicationFactor: 1, Retention: time.Hour}
		change(&d)
		return d
	}
	for name, test := range map[string]struct {
		// before is what was kept before the bad declaration, and happens what somebody does then.
		before  *topic.Desired
		happens func(*keptKafka)
		want    topic.Desired
		ready   bool
		reason  string
		says    []string
	}{
		"partitions are lowered": {
			before: &topic.Desired{Name: bad, Partitions: 4, ReplicationFactor: 1}, want: as(func(d *topic.Desired) { d.Partitions = 2 }),
			reason: v1alpha1.ReasonPartitionsLowered, says: []string{bad, "has 4 partitions and 2 are declared", "declare 4, or use a new topic"},
		},
		"more copies than brokers": {
			want:  as(func(d *topic.Desired) { d.ReplicationFactor = 3 }),
			ready: true, reason: v1alpha1.ReasonReplicationFactorLowered, says: []string{"replication factor 1 instead of 3", "reassign its replicas"},
		},
		"a retention of nothing": {
			want:   as(func(d *topic.Desired) { d.Retention = time.Microsecond }),
			reason: v1alpha1.ReasonInvalidObject, says: []string{"retention 1µs", "declare at least 1s"},
		},
		"the user may not make it": {
			happens: func(k *keptKafka) { k.refuse(kmsg.CreateTopics, kerr.TopicAuthorizationFailed) },
			want:    as(func(*topic.Desired) {}),
			reason:  v1alpha1.ReasonKafkaUnauthorized, says: []string{bad, "grant the user the ACL"},
		},
		"the brokers have a policy against it": {
			happens: func(k *keptKafka) { k.refuse(kmsg.CreateTopics, kerr.PolicyViolation) },
			want:    as(func(*topic.Desired) {}),
			reason:  v1alpha1.ReasonInvalidObject, says: []string{bad, "POLICY_VIOLATION"},
		},
		"the brokers refuse the retention": {
			before:  &topic.Desired{Name: bad, Partitions: 2, ReplicationFactor: 1, Retention: 2 * time.Hour},
			happens: func(k *keptKafka) { k.refuse(kmsg.IncrementalAlterConfigs, kerr.InvalidConfig) },
			want:    as(func(*topic.Desired) {}),
			reason:  v1alpha1.ReasonInvalidObject, says: []string{bad, "INVALID_CONFIG"},
		},
		"somebody has deleted it": {
			before: &topic.Desired{Name: bad, Partitions: 2, ReplicationFactor: 1, Retention: time.Hour},
			happens: func(k *keptKafka) {
				if err := k.admin.Delete(k.t.Context(), bad); err != nil {
					k.t.Fatal(err)
				}
			},
			want:  as(func(*topic.Desired) {}),
			ready: true, reason: v1alpha1.ReasonTopicRepaired, says: []string{"was missing", "made again, empty"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := keepKafka(t)
			if test.before != nil {
				if found := k.keep(k.owner, *test.before); !found.Results[bad].Ready {
					t.Fatalf("before, it is %+v", found)
				}
			}
			if test.happens != nil {
				test.happens(k)
			}
			found := k.keep(k.owner, test.want, fine)
			got := found.Results[bad]
			if found.Unavailable != nil || got.Ready != test.ready || got.Reason != test.reason {
				t.Errorf("it is %+v (%+v); want ready %t, %s", got, found.Unavailable, test.ready, test.reason)
			}
			for _, words := range test.says {
				if !strings.Contains(got.Message, words) {
					t.Errorf("message %q does not say %q", got.Message, words)
				}
			}
			// What refuses the bad one makes nothing in this test, so that the other is only said to be made.
			if other := found.Results[good]; other.Reason != "" && other.Reason != v1alpha1.ReasonProgressing {
				t.Errorf("the other topic is %+v", other)
			}
			if test.ready && !k.describe(bad).Exists {
				t.Error("it is not there")
			}
		})
	}
}

// A Kafka that cannot be used at all is told once, of no topic.
func TestUnreachableIsNoTopics(t *testing.T) {
	err := &kafka.Error{Kind: kafka.ErrUnreachable, Err: errors.New("no")}
	if alone(err) || alone(errors.New("a Secret is missing")) || !alone(&kafka.Error{Kind: kafka.ErrAuthorization, Err: err.Err}) {
		t.Error("a failure of all counts as one topic's, or one topic's as that of all")
	}
}

// The topic that a newer service names is the older one's; the newer one's other topic is kept.
func TestTwoServicesOneTopic(t *testing.T) {
	k := keepKafka(t)
	older := topic.Owner{Namespace: "a", Name: "older", UID: "u-0", CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	newer := topic.Owner{Namespace: "a", Name: "newer", UID: "u-2", CreatedAt: older.CreatedAt.Add(time.Hour)}
	k.keep(older, topic.Desired{Name: bad, Partitions: 1, ReplicationFactor: 1})
	found := k.keep(newer, topic.Desired{Name: bad, Partitions: 3}, topic.Desired{Name: good, Partitions: 1, ReplicationFactor: 1})
	if got := found.Results[bad]; got.Ready || got.Reason != v1alpha1.ReasonTopicConflict || !strings.Contains(got.Message, "a/older") {
		t.Errorf("the newer one's is %+v", got)
	}
	if !found.Results[good].Ready || k.describe(bad).Partitions != 1 {
		t.Errorf("the other topic is %+v, the older one's %+v", found.Results[good], k.describe(bad))
	}
}

// A Kafka whose services want to be looked at again and again does not keep another from its turn.
func TestKafkasTakeTurns(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k := NewTopicKeeper(nil, clocktesting.NewFakeClock(now), logr.Discard())
	add := func(name, address string, in time.Duration, age time.Duration) {
		k.entries[types.NamespacedName{Namespace: "a", Name: name}] = &topicEntry{due: now.Add(in), want: WantedTopics{
			Kafka:  v1alpha1.RegionKafka{BootstrapServers: []string{address}},
			Topics: []topic.Desired{{Name: name, Owner: topic.Owner{CreatedAt: now.Add(-age)}}},
		}}
	}
	names := func() (out []string) {
		for _, j := range k.due() {
			out = append(out, j.service.Name)
		}
		return out
	}
	add("retried", "one:1", topicsRetry, 3*time.Hour)
	add("later", "one:1", topicsEvery, 2*time.Hour)
	if got := names(); got != nil {
		t.Errorf("nothing is due, and %v are looked at", got)
	}
	add("waits", "two:1", 0, time.Hour)
	if got := names(); !slices.Equal(got, []string{"waits"}) {
		t.Errorf("%v are looked at, want the one that is due", got)
	}
	delete(k.entries, types.NamespacedName{Namespace: "a", Name: "waits"})
	add("new", "one:1", 0, time.Minute)
	if got := names(); !slices.Equal(got, []string{"retried", "new"}) {
		t.Errorf("%v are looked at, want those of the Kafka that are due or soon will be, the oldest first", got)
	}
}
