package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
)

// BrokersVariable names a real Kafka (host:port, comma separated) to hold to
// the contract as well.
const BrokersVariable = "MULTIACTIVE_KAFKA_BROKERS"

// RealBrokers are the addresses in BrokersVariable, or nil.
func RealBrokers() []string {
	if v := os.Getenv(BrokersVariable); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

// Contract checks what the project expects of a Kafka. Topic names are unique
// to the run, so that it may be repeated against a cluster that keeps data.
func Contract(t *testing.T, o kafka.Options) {
	prefix := fmt.Sprintf("contract-%d-%d", os.Getpid(), time.Now().UnixNano())
	c := contract{admin: NewAdminWith(t, o), options: o, prefix: prefix}
	t.Run("a missing topic is reported as missing", c.missing)
	t.Run("create, describe, create again", c.create)
	t.Run("several are created at once, and each that is not says why", c.createAll)
	t.Run("who may do everything is told so, and nothing of a topic that is missing", c.rights)
	t.Run("partitions are raised, never lowered", c.partitions)
	t.Run("configurations are altered one by one", c.configs)
	t.Run("offsets grow with records and missing topics are absent", c.offsets)
	t.Run("a group's offsets and metadata are kept", c.groups)
	t.Run("a consumer group gets every record and resumes", c.consumers)
	t.Run("claims are recorded, replaced and released", c.claims)
}

type contract struct {
	admin   *kafka.Client
	options kafka.Options
	prefix  string
}

func (c contract) topic(t *testing.T, name string, partitions int, configs map[string]string) string {
	t.Helper()
	full := c.prefix + "." + name
	if err := c.admin.Create(t.Context(), kafka.NewTopic{Name: full, Partitions: partitions, ReplicationFactor: 1, Configs: configs}); err != nil {
		t.Fatal(err)
	}
	c.eventually(t, full, func(got kafka.Topic) bool { return got.Exists && got.Partitions == partitions })
	return full
}

// eventually waits until the brokers' metadata says so: Kafka's own answers
// trail a change by a moment.
func (c contract) eventually(t *testing.T, topic string, ok func(kafka.Topic) bool) kafka.Topic {
	t.Helper()
	var got kafka.Topic
	Eventually(t, "topic "+topic, func() error {
		all, err := c.admin.Describe(t.Context(), topic)
		if err != nil {
			return err
		}
		if got = all[topic]; !ok(got) {
			return fmt.Errorf("is %+v", got)
		}
		return nil
	})
	return got
}

func (c contract) missing(t *testing.T) {
	name := c.prefix + ".missing"
	got, err := c.admin.Describe(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]kafka.Topic{name: {}}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n, err := c.admin.Brokers(t.Context()); err != nil || n < 1 {
		t.Errorf("Brokers() = %d, %v; want at least 1", n, err)
	}
}

func (c contract) create(t *testing.T) {
	name := c.topic(t, "create", 3, map[string]string{"retention.ms": "604800000", "cleanup.policy": "compact"})
	got := c.eventually(t, name, func(k kafka.Topic) bool { return k.Configs["retention.ms"] == "604800000" })
	if got.ReplicationFactor != 1 || got.ID == [16]byte{} || got.Configs["cleanup.policy"] != "compact" {
		t.Errorf("got %+v", got)
	}
	if got.Configs["max.message.bytes"] == "" {
		t.Error("inherited values are missing")
	}
	err := c.admin.Create(t.Context(), kafka.NewTopic{Name: name, Partitions: 3, ReplicationFactor: 1})
	if !errors.Is(err, kafka.ErrTopicExists) || !strings.Contains(err.Error(), name) {
		t.Errorf("creating it again: %v; want ErrTopicExists that names it", err)
	}
}

func (c contract) createAll(t *testing.T) {
	taken := c.topic(t, "taken", 1, nil)
	failures, err := c.admin.CreateAll(t.Context(),
		kafka.NewTopic{Name: c.prefix + ".one", Partitions: 1, ReplicationFactor: 1},
		kafka.NewTopic{Name: taken, Partitions: 1, ReplicationFactor: 1},
		kafka.NewTopic{Name: c.prefix + ".two", Partitions: 2, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "5000000"}},
	)
	if err != nil || len(failures) != 1 || !errors.Is(failures[taken], kafka.ErrTopicExists) || !strings.Contains(failures[taken].Error(), taken) {
		t.Errorf("failures are %v, %v; want ErrTopicExists of %s alone", failures, err, taken)
	}
	c.eventually(t, c.prefix+".one", func(got kafka.Topic) bool { return got.Partitions == 1 })
	c.eventually(t, c.prefix+".two", func(got kafka.Topic) bool { return got.Partitions == 2 && got.Configs["retention.ms"] == "5000000" })
}

func (c contract) rights(t *testing.T) {
	name, missing := c.topic(t, "rights", 1, nil), c.prefix+".missing"
	got, err := c.admin.Rights(t.Context(), name, missing)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]kafka.Rights{name: {Known: true, Read: true, Write: true}, missing: {}}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func (c contract) partitions(t *testing.T) {
	name := c.topic(t, "partitions", 2, nil)
	for range 2 { // the second time nothing is left to do
		if err := c.admin.CreatePartitions(t.Context(), name, 5); err != nil {
			t.Fatal(err)
		}
		c.eventually(t, name, func(k kafka.Topic) bool { return k.Partitions == 5 })
	}
	if err := c.admin.CreatePartitions(t.Context(), name, 1); err == nil {
		t.Error("lowering the partitions was not refused")
	}
	c.eventually(t, name, func(k kafka.Topic) bool { return k.Partitions == 5 })
}

func (c contract) configs(t *testing.T) {
	name := c.topic(t, "configs", 1, map[string]string{"retention.ms": "1000000", "cleanup.policy": "compact"})
	if err := c.admin.AlterConfigs(t.Context(), name, map[string]string{"retention.ms": "2000000"}); err != nil {
		t.Fatal(err)
	}
	got := c.eventually(t, name, func(k kafka.Topic) bool { return k.Configs["retention.ms"] == "2000000" })
	if got.Configs["cleanup.policy"] != "compact" {
		t.Errorf("cleanup.policy is %q: an unnamed configuration was changed", got.Configs["cleanup.policy"])
	}
}

func (c contract) offsets(t *testing.T) {
	name := c.topic(t, "offsets", 2, nil)
	produce(t, c.options, &kgo.Record{Topic: name, Partition: 1, Value: []byte("a")}, &kgo.Record{Topic: name, Partition: 1, Value: []byte("b")})
	ends, err := c.admin.EndOffsets(t.Context(), name, c.prefix+".missing")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]map[int32]int64{name: {0: 0, 1: 2}}, ends); d != "" {
		t.Errorf("end offsets (-want +got):\n%s", d)
	}
	starts, err := c.admin.StartOffsets(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]map[int32]int64{name: {0: 0, 1: 0}}, starts); d != "" {
		t.Errorf("start offsets (-want +got):\n%s", d)
	}
}

func (c contract) groups(t *testing.T) {
	name := c.topic(t, "groups", 2, nil)
	group := c.prefix + ".positions"
	if got, err := c.admin.GroupOffsets(t.Context(), group); err != nil || len(got) != 0 {
		t.Errorf("a group that does not exist: %v, %v; want none", got, err)
	}
	epoch := int32(3)
	want := []kafka.GroupOffset{{Topic: name, Partition: 0, Offset: 7, Epoch: &epoch, Metadata: "m"}, {Topic: name, Partition: 1, Offset: 0, Metadata: "n"}}
	if err := c.admin.CommitOffsets(t.Context(), group, want); err != nil {
		t.Fatal(err)
	}
	got, err := c.admin.GroupOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func (c contract) consumers(t *testing.T) {
	name := c.topic(t, "consumers", 3, nil)
	group := c.prefix + ".consumers"
	read := func(n int) map[string]bool {
		cl := newKgo(t, c.options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
		defer cl.Close()
		got := map[string]bool{}
		for len(got) < n {
			fetches := cl.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			for r := range fetches.RecordsAll() {
				got[string(r.Value)] = true
			}
		}
		if err := cl.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Fatal(err)
		}
		return got
	}
	write := func(word string) {
		for p := range int32(3) {
			produce(t, c.options, &kgo.Record{Topic: name, Partition: p, Value: fmt.Appendf(nil, "%s%d", word, p)})
		}
	}
	write("first")
	if d := cmp.Diff(map[string]bool{"first0": true, "first1": true, "first2": true}, read(3)); d != "" {
		t.Errorf("first reader (-want +got):\n%s", d)
	}
	write("second")
	if d := cmp.Diff(map[string]bool{"second0": true, "second1": true, "second2": true}, read(3)); d != "" {
		t.Errorf("second reader (-want +got):\n%s", d)
	}
}

func (c contract) claims(t *testing.T) {
	claims := kafka.NewClaims(c.admin)
	for range 2 {
		if err := claims.Ensure(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	name := c.prefix + ".claimed"
	other := kafka.Claim{Namespace: "shop", Name: "cart", UID: "3", CreatedAt: time.Date(2026, 5, 2, 12, 0, 0, 0, time.UTC)}
	if err := claims.PutAll(t.Context(), map[string]kafka.Claim{c.prefix + ".first": other, c.prefix + ".second": other}); err != nil {
		t.Fatal(err)
	}
	if all, err := claims.Load(t.Context()); err != nil || all[c.prefix+".first"] != other || all[c.prefix+".second"] != other {
		t.Errorf("two claims that were put together are %v, %v", all, err)
	}
	load := func() (kafka.Claim, bool) {
		all, err := claims.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, ok := all[name]
		return got, ok
	}
	born := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, want := range []kafka.Claim{
		{Namespace: "accounts", Name: "user", UID: "1", CreatedAt: born},
		{Namespace: "accounts", Name: "user", UID: "2", CreatedAt: born.Add(time.Hour)},
	} {
		Eventually(t, "claim", func() error { return claims.Put(t.Context(), name, want) })
		if got, _ := load(); got != want {
			t.Errorf("claim is %+v, want %+v", got, want)
		}
	}
	if err := kafka.NewClaims(c.admin).Put(t.Context(), name, other); err != nil {
		t.Fatal(err)
	}
	if got, _ := load(); got != other {
		t.Errorf("a claim that another has put is %+v, want %+v", got, other)
	}
	if err := claims.Release(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if got, ok := load(); ok {
		t.Errorf("released claim is still there: %+v", got)
	}
}

// NewAdmin makes a client that is closed with the test.
func NewAdmin(t testing.TB, brokers ...string) *kafka.Client {
	t.Helper()
	return NewAdminWith(t, kafka.Options{Brokers: brokers})
}

// NewAdminWith makes a client with options that is closed with the test.
func NewAdminWith(t testing.TB, o kafka.Options) *kafka.Client {
	t.Helper()
	cl, err := kafka.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Produce writes records to the partitions that they name and waits for the
// acknowledgement.
func Produce(t testing.TB, brokers []string, records ...*kgo.Record) {
	t.Helper()
	produce(t, kafka.Options{Brokers: brokers}, records...)
}

func produce(t testing.TB, o kafka.Options, records ...*kgo.Record) {
	t.Helper()
	cl := newKgo(t, o, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(20))
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func newKgo(t testing.TB, o kafka.Options, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	base, err := kafka.ClientOptions(o)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(base, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// Eventually repeats a check of another process until it succeeds, and fails
// the test with its last answer after five minutes: a machine may do much else.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-again.C:
		}
	}
}
