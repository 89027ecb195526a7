package mirrormaker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/mirrormaker"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

const from, to = "beijing", "shanghai"

func broker(t *testing.T) kafka.Options {
	t.Helper()
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return kafka.Options{Brokers: []string{b.Addr()}}
}

func offsets(t *testing.T, o kafka.Options) *mirrormaker.Offsets {
	t.Helper()
	out, err := mirrormaker.NewOffsets(from, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	return out
}

func ask(t *testing.T, o *mirrormaker.Offsets, want mirrormaker.Positions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := o.Positions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("positions (-want +got):\n%s", d)
	}
}

// MirrorMaker writes, by the hand of the test; the other's records are left alone.
func write(t *testing.T, o kafka.Options, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		r := &kgo.Record{Topic: mirrormaker.OffsetsTopic(from), Partition: int32(i) % 3, Key: []byte(pairs[i])}
		if pairs[i+1] != "" {
			r.Value = []byte(pairs[i+1])
		}
		kafkatest.Produce(t, o.Brokers, r)
	}
}

func TestPositions(t *testing.T) {
	o := broker(t)
	f := offsets(t, o)
	ask(t, f, mirrormaker.Positions{})
	create := func() {
		err := kafkatest.NewAdmin(t, o.Brokers...).Create(t.Context(), kafka.NewTopic{Name: mirrormaker.OffsetsTopic(from), Partitions: 3})
		if err != nil {
			t.Fatal(err)
		}
	}
	create()
	ask(t, f, mirrormaker.Positions{})
	write(t, o,
		`["MirrorSourceConnector",{"cluster":"beijing","partition":0,"topic":"a.b"}]`, `{"offset":41}`,
		`["beijing->shanghai.MirrorSourceConnector",{"topic":"a.b","partition":1,"cluster":"beijing"}]`, `{"offset":6}`,
		`["MirrorSourceConnector",{"cluster":"shenzhen","partition":0,"topic":"a.b"}]`, `{"offset":99}`,
		`["MirrorCheckpointConnector",{"cluster":"beijing","partition":0,"topic":"a.b"}]`, `{"offset":99}`,
		`["shenzhen->shanghai.MirrorSourceConnector",{"cluster":"beijing","partition":0,"topic":"a.b"}]`, `{"offset":99}`,
		`not JSON`, `{"offset":99}`,
		`["MirrorSourceConnector",{"cluster":"beijing","partition":5,"topic":"a.b"}]`, `not JSON`,
	)
	ask(t, f, mirrormaker.Positions{"a.b": {0: 42, 1: 7}})
	write(t, o,
		`["beijing->shanghai.MirrorSourceConnector",{"cluster":"beijing","partition":0,"topic":"a.b"}]`, `{"offset":12}`,
		`["beijing->shanghai.MirrorSourceConnector",{"topic":"a.b","partition":1,"cluster":"beijing"}]`, ``,
	)
	ask(t, f, mirrormaker.Positions{"a.b": {0: 42}})
	ask(t, offsets(t, o), mirrormaker.Positions{"a.b": {0: 42}})
}

func TestStore(t *testing.T) {
	o := broker(t)
	f := offsets(t, o)
	store := func(wanted []string, p mirrormaker.Positions) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Store(ctx, to, wanted, p, 1); err != nil {
			t.Fatal(err)
		}
	}
	store([]string{"a.b", "a.c", "a.d"}, mirrormaker.Positions{"a.b": {0: 42, 1: 7}, "a.c": {0: 3}})
	ask(t, f, mirrormaker.Positions{"a.b": {0: 42, 1: 7}, "a.c": {0: 3}})
	topics, err := kafkatest.NewAdmin(t, o.Brokers...).Describe(t.Context(), mirrormaker.OffsetsTopic(from))
	if err != nil || topics[mirrormaker.OffsetsTopic(from)].Configs["cleanup.policy"] != "compact" {
		t.Errorf("the topic is %+v, %v; Connect wants it compacted", topics, err)
	}
	// The same again writes nothing; lower ones, and none, count as well.
	before := end(t, o)
	store([]string{"a.b", "a.c"}, mirrormaker.Positions{"a.b": {0: 42, 1: 7}, "a.c": {0: 3}})
	if after := end(t, o); after != before {
		t.Errorf("what is there already was written again: %d records, then %d", before, after)
	}
	store([]string{"a.b"}, mirrormaker.Positions{"a.b": {0: 5}})
	ask(t, f, mirrormaker.Positions{"a.b": {0: 5}, "a.c": {0: 3}})
	ask(t, offsets(t, o), mirrormaker.Positions{"a.b": {0: 5}, "a.c": {0: 3}})
	for _, key := range []string{
		`["MirrorSourceConnector",{"cluster":"beijing","partition":0,"topic":"a.b"}]`,
		`["beijing->shanghai.MirrorSourceConnector",{"cluster":"beijing","partition":0,"topic":"a.b"}]`,
	} {
		if keys := keys(t, o, before); !strings.Contains(keys, key+"\n") {
			t.Errorf("no record has the key %s; there are\n%s", key, keys)
		}
	}
}

func end(t *testing.T, o kafka.Options) int64 {
	t.Helper()
	ends, err := kafkatest.NewAdmin(t, o.Brokers...).EndOffsets(t.Context(), mirrormaker.OffsetsTopic(from))
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, offset := range ends[mirrormaker.OffsetsTopic(from)] {
		n += offset
	}
	return n
}

func keys(t *testing.T, o kafka.Options, n int64) string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.ConsumeTopics(mirrormaker.OffsetsTopic(from)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out strings.Builder
	for seen := int64(0); seen < n; {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			fmt.Fprintf(&out, "%s\n", r.Key)
			seen++
		}
	}
	return out.String()
}

// A topic that was made anew is read anew, and one that cannot be read is an error, not an empty answer.
func TestAnotherTopicOfTheName(t *testing.T) {
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	o := kafka.Options{Brokers: []string{b.Addr()}, Timeout: 2 * time.Second}
	f := offsets(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Store(ctx, to, []string{"a.b"}, mirrormaker.Positions{"a.b": {0: 42}}, 1); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got, err := f.Positions(ctx); err == nil {
		t.Errorf("without a broker the positions are %v", got)
	}
	if b, err = embedded.Start(embedded.Options{Listen: b.Addr()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ask(t, f, mirrormaker.Positions{})
}
