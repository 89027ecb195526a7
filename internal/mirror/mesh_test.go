package mirror

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// engine runs a mirror in this process until the end of the test.
func engine(t *testing.T, c Config, s Settings) *Engine {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := New(c, s, clock.RealClock{}, log, NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx := t.Context() // ends before the cleanups run
	go func() { defer close(done); _ = e.Run(ctx) }()
	t.Cleanup(func() { <-done })
	return e
}

// Three regions mirror each other. Every region gets every other's records
// once, nothing goes round, and the clusters hold no other topics than these.
func TestMeshHasNoLoops(t *testing.T) {
	regions := []string{"beijing", "shanghai", "shenzhen"}
	addr := map[string]string{}
	for _, r := range regions {
		addr[r] = inside(t, r)
		topic(t, addr[r], "a.t", 3)
	}
	for _, from := range regions {
		for _, to := range regions {
			if from != to {
				engine(t, config(from, addr[from], addr[to], "a.t"), fast)
			}
		}
	}
	writers := map[string]*writer{}
	for _, r := range regions {
		writers[r] = &writer{topic: "a.t", partitions: 3}
		writers[r].write(t, addr[r], 500)
		// The application puts a record of another region into its own topic
		// with the headers it came with: it must not travel on.
		kafkatest.Produce(t, []string{addr[r]}, &kgo.Record{Topic: "a.t", Value: []byte("stray"), Headers: []kgo.RecordHeader{{Key: HeaderOrigin, Value: []byte("elsewhere")}}})
		writers[r].write(t, addr[r], 500)
	}
	for _, from := range regions {
		for _, to := range regions {
			if from == to {
				continue
			}
			if n := arrived(t, addr[to], from, writers[from]); n > 0 {
				t.Errorf("%s to %s: %d records repeated", from, to, n)
			}
		}
	}
	for _, r := range regions {
		if n := len(read(t, addr[r], "a.t")); n != 1001 {
			t.Errorf("%s: its own topic holds %d records, want 1001", r, n)
		}
		for name := range topicsOf(t, addr[r]) {
			if strings.Count(name, "beijing.")+strings.Count(name, "shanghai.")+strings.Count(name, "shenzhen.") > 1 {
				t.Errorf("%s: topic %s is a copy of a copy", r, name)
			}
		}
	}
}

func topicsOf(t *testing.T, addr string) kadm.TopicDetails {
	t.Helper()
	all, err := administrator(t, addr).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// administrator can do what the port must not, such as deleting topics.
func administrator(t *testing.T, addr string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// A source topic that is deleted and made again is mirrored from its start,
// also when the new one is longer than the old one was; so is everything when
// the copy is deleted.
func TestTopicsMadeAnew(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 2)
	w := &writer{topic: "a.t", partitions: 2}
	e := engine(t, config("beijing", source, target, "a.t"), fast)
	w.write(t, source, 100)
	arrived(t, target, "beijing", w)

	for _, at := range []struct{ addr, name string }{{target, "beijing.a.t"}, {source, "a.t"}} {
		if _, err := administrator(t, at.addr).DeleteTopics(t.Context(), at.name); err != nil {
			t.Fatal(err)
		}
		if at.addr == source {
			topic(t, source, "a.t", 2)
			w.write(t, source, 400) // numbers go on; the old ones are at the target
		}
		arrived(t, target, "beijing", w)
		if lost := e.Losses(); (len(lost) > 0) != (at.addr == source) {
			t.Errorf("with %s made anew there is lost: %q", at.name, lost)
		}
	}
	said(t, e, "a.t: partition 0: the source began again at offset 0", "a.t: partition 1: the source began again")
}

// A source topic that is away for a while, so that the mirror sees it missing, is
// mirrored again when it is back.
func TestTopicComesBack(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 2)
	w := &writer{topic: "a.t", partitions: 2}
	e := engine(t, config("beijing", source, target, "a.t"), fast)
	w.write(t, source, 100)
	arrived(t, target, "beijing", w)
	if _, err := administrator(t, source).DeleteTopics(t.Context(), "a.t"); err != nil {
		t.Fatal(err)
	}
	kafkatest.Eventually(t, "the mirror to see it missing", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for tp, p := range e.partitions {
			if !p.leaving {
				return fmt.Errorf("partition %d is read still", tp.partition)
			}
		}
		return nil
	})
	topic(t, source, "a.t", 2)
	w.write(t, source, 100)
	arrived(t, target, "beijing", w)
}

// Partitions added at the source are added at the target and mirrored, and the
// positions can be read from the target alone.
func TestPartitionsGrow(t *testing.T) {
	source, target := startKafka(t, "s"), inside(t, "t")
	topic(t, source.Addr, "a.t", 1)
	engine(t, config("beijing", source.Addr, target, "a.t"), fast)
	small := &writer{topic: "a.t", partitions: 1}
	small.write(t, source.Addr, 50)
	arrived(t, target, "beijing", small)
	if err := kafkatest.NewAdmin(t, source.Addr).CreatePartitions(t.Context(), "a.t", 3); err != nil {
		t.Fatal(err)
	}
	kafkatest.Produce(t, []string{source.Addr}, &kgo.Record{Topic: "a.t", Partition: 2, Value: []byte("new")})
	admin := kafkatest.NewAdmin(t, target)
	kafkatest.Eventually(t, "positions", func() error {
		got, err := Positions(t.Context(), admin, "beijing")
		if err != nil {
			return err
		}
		if p := got["a.t"]; len(p) != 3 || p[0] != 50 || p[1] != 0 || p[2] != 1 {
			return fmt.Errorf("are %v", got)
		}
		return nil
	})
	source.Kill()
	if got, err := Positions(t.Context(), admin, "beijing"); err != nil || got["a.t"][0] != 50 {
		t.Errorf("with the source gone: %v, %v", got, err)
	}
}

// A record that the target refuses stops its partition, which says so, and
// nothing else; it goes through once the topic takes it.
func TestRefusedRecord(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 2)
	topic(t, target, "beijing.a.t", 2)
	admin := kafkatest.NewAdmin(t, target)
	if err := admin.AlterConfigs(t.Context(), "beijing.a.t", map[string]string{"max.message.bytes": "2000"}); err != nil {
		t.Fatal(err)
	}
	e := engine(t, config("beijing", source, target, "a.t"), fast)
	record := func(p int32, n int) *kgo.Record {
		return &kgo.Record{Topic: "a.t", Partition: p, Value: []byte(strings.Repeat("x", n))}
	}
	kafkatest.Produce(t, []string{source}, record(0, 10), record(0, 50_000), record(0, 20), record(1, 30))
	kafkatest.Eventually(t, "the other partition and a reason", func() error {
		ends, err := admin.EndOffsets(t.Context(), "beijing.a.t")
		if err != nil {
			return err
		}
		said := strings.Join(e.Status().Problems(), "\n")
		if ends["beijing.a.t"][1] != 1 || !strings.Contains(said, "a.t/0/1 ") || !strings.Contains(said, "max.message.bytes") {
			return fmt.Errorf("end offsets %v, problems %q", ends, said)
		}
		return nil
	})
	if err := admin.AlterConfigs(t.Context(), "beijing.a.t", map[string]string{"max.message.bytes": "1000000"}); err != nil {
		t.Fatal(err)
	}
	kafkatest.Eventually(t, "the refused record and its successor", func() error {
		if p := e.Status().Problems(); len(p) > 0 {
			return fmt.Errorf("problems %q", p)
		}
		var sizes []int
		for _, r := range read(t, target, "beijing.a.t") {
			if r.Partition == 0 {
				sizes = append(sizes, len(r.Value))
			}
		}
		if n := len(sizes); n < 3 || sizes[n-2] != 50_000 || sizes[n-1] != 20 {
			return fmt.Errorf("sizes are %v", sizes)
		}
		return nil
	})
}

// The lag is there once it is known, and gone when the source cannot say it.
func TestLagIsNeverInvented(t *testing.T) {
	source, target := startKafka(t, "s"), inside(t, "t")
	topic(t, source.Addr, "a.t", 1)
	w := &writer{topic: "a.t", partitions: 1}
	w.write(t, source.Addr, 10)
	e := engine(t, config("beijing", source.Addr, target, "a.t"), fast)
	kafkatest.Eventually(t, "lag 0", func() error {
		if n := testutil.CollectAndCount(e.metrics.lag); n != 1 { // the canary's topic does not exist
			return fmt.Errorf("%d series", n)
		}
		if lag := testutil.ToFloat64(e.metrics.lag.WithLabelValues("beijing", "a.t")); lag != 0 {
			return fmt.Errorf("lag %v", lag)
		}
		return nil
	})
	source.Kill()
	kafkatest.Eventually(t, "no lag", func() error {
		if n := testutil.CollectAndCount(e.metrics.lag); n != 0 {
			return fmt.Errorf("%d series", n)
		}
		if testutil.ToFloat64(e.metrics.up.WithLabelValues("beijing", "source")) != 0 {
			return fmt.Errorf("source counts as up")
		}
		return nil
	})
}

// The canary's topic travels without being listed.
func TestCanaryTravels(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	opts := func(addr string) kafka.Options { return kafka.Options{Brokers: []string{addr}} }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w, err := canary.NewWriter("beijing", opts(source), clock.RealClock{}, log)
	if err != nil {
		t.Fatal(err)
	}
	r, err := canary.NewReader([]string{"beijing", "nowhere"}, opts(target), clock.RealClock{}, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, known := r.Age("beijing"); known {
		t.Error("the age is known before anything was seen")
	}
	engine(t, config("beijing", source, target), fast)
	ended := make(chan struct{}, 2)
	ctx := t.Context()
	go func() { _ = w.Run(ctx); ended <- struct{}{} }()
	go func() { _ = r.Run(ctx); ended <- struct{}{} }()
	t.Cleanup(func() { <-ended; <-ended })
	kafkatest.Eventually(t, "three canaries without a gap", func() error {
		got := r.Read("beijing")
		if !got.Known || got.Sequence < 3 || got.Missing != 0 {
			return fmt.Errorf("reading %+v", got)
		}
		return nil
	})
	if _, known := r.Age("nowhere"); known {
		t.Error("the age of a region that wrote nothing is known")
	}
}

// While the target is down the mirror reads no more than its buffer takes, and
// goes on where it stopped.
func TestMemoryIsBounded(t *testing.T) {
	source, target := inside(t, "s"), startKafka(t, "t")
	topic(t, source, "a.t", 8)
	set := fast
	set.BufferBytes = 1 << 20
	e := engine(t, config("beijing", source, target.Addr, "a.t"), set)
	put := func(n int) {
		var records []*kgo.Record
		for i := range n {
			records = append(records, &kgo.Record{Topic: "a.t", Partition: int32(i % 8), Value: make([]byte, 10_000)})
		}
		kafkatest.Produce(t, []string{source}, records...)
	}
	inFlight := func() float64 { return testutil.ToFloat64(e.metrics.inFlight.WithLabelValues("beijing")) }
	complete := func(want int64) {
		t.Helper()
		kafkatest.Eventually(t, "the copy", func() error {
			ends, err := kafkatest.NewAdmin(t, target.Addr).EndOffsets(t.Context(), "beijing.a.t")
			if err != nil {
				return err
			}
			var n int64
			for _, end := range ends["beijing.a.t"] {
				n += end
			}
			if n < want {
				return fmt.Errorf("%d of %d", n, want)
			}
			return nil
		})
	}
	put(8)
	complete(8)
	target.Kill()
	put(1000) // ten times the buffer
	kafkatest.Eventually(t, "a full buffer", func() error {
		if n := inFlight(); n < 900_000 {
			return fmt.Errorf("%v bytes on their way", n)
		}
		return nil
	})
	const waiting = 10_100 // the one record that waits to get in
	if n := inFlight(); n > 1<<20+waiting {
		t.Errorf("%v bytes on their way, more than the buffer", n)
	}
	target.Start()
	complete(1008)
}
