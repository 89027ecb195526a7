package canary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m, nil)) }

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(sequence int64) Record {
	return Record{Region: "beijing", Sequence: sequence, Time: noon.Add(time.Duration(sequence) * time.Second)}
}

func TestTracker(t *testing.T) {
	now := noon.Add(10 * time.Second)
	tests := map[string]struct {
		seen []Record
		want Reading
	}{
		"nothing seen: unknown":        {want: Reading{}},
		"the first sets the age":       {seen: []Record{at(7)}, want: Reading{Known: true, Age: 3 * time.Second, Sequence: 7}},
		"in order":                     {seen: []Record{at(7), at(8)}, want: Reading{Known: true, Age: 2 * time.Second, Sequence: 8}},
		"repeated":                     {seen: []Record{at(7), at(8), at(7), at(8)}, want: Reading{Known: true, Age: 2 * time.Second, Sequence: 8}},
		"two missing":                  {seen: []Record{at(5), at(8)}, want: Reading{Known: true, Age: 2 * time.Second, Sequence: 8, Missing: 2}},
		"one of them late":             {seen: []Record{at(5), at(8), at(6)}, want: Reading{Known: true, Age: 2 * time.Second, Sequence: 8, Missing: 1}},
		"late twice counts once":       {seen: []Record{at(5), at(8), at(6), at(6)}, want: Reading{Known: true, Age: 2 * time.Second, Sequence: 8, Missing: 1}},
		"numbering starts again":       {seen: []Record{at(5), {Region: "beijing", Sequence: 1, Time: noon.Add(9 * time.Second)}}, want: Reading{Known: true, Age: time.Second, Sequence: 1}},
		"a clock that runs ahead":      {seen: []Record{at(99)}, want: Reading{Known: true, Sequence: 99}},
		"another region does not help": {seen: []Record{{Region: "shanghai", Sequence: 1, Time: now}}, want: Reading{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var tr Tracker
			for _, r := range tt.seen {
				tr.Observe(r)
			}
			if d := cmp.Diff(tt.want, tr.Read("beijing", now)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Missing is exactly what was jumped over and did not come later, in whatever
// order and however often records arrive; a great many holes keep the count.
func TestTrackerCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tr Tracker
		arrived := map[int64]bool{}
		arrivals := rapid.SliceOfN(rapid.Int64Range(1, 60), 1, 80).Draw(t, "arrivals")
		first, newest := arrivals[0], int64(0)
		for _, n := range arrivals {
			if n < first {
				continue // before the reader's start; never counted
			}
			tr.Observe(at(n))
			arrived[n] = true
			newest = max(newest, n)
		}
		var want int64
		for n := first; n <= newest; n++ {
			if !arrived[n] {
				want++
			}
		}
		if got := tr.Read("beijing", noon); got.Missing != want || got.Sequence != newest {
			t.Fatalf("arrivals %v: %+v, want %d missing up to %d", arrivals, got, want, newest)
		}
	})
	var tr Tracker
	for n := int64(1); n <= 3*maxHoles; n++ {
		tr.Observe(at(2 * n))
	}
	if got := tr.Read("beijing", noon).Missing; got != 3*maxHoles-1 {
		t.Errorf("%d missing, want %d", got, 3*maxHoles-1)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, raw := range []string{"", "{", "{}", `{"region":"a","sequence":0,"time":"2026-05-01T12:00:00Z"}`, `{"region":"a","sequence":1}`} {
		if r, err := decode([]byte(raw)); err == nil {
			t.Errorf("decode(%q) = %+v", raw, r)
		}
	}
}

func options(addr string) kafka.Options {
	return kafka.Options{Brokers: []string{addr}, Timeout: 2 * time.Second}
}

// start runs f until the returned function, or the end of the test, stops it.
func start(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// records reads the first n canaries of a topic.
func records(t *testing.T, addr, topic string, n int) []Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out []Record
	for len(out) < n {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			c, err := decode(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

// The numbering goes on over restarts of the writer and of the broker, and
// nothing is written more than once a second of the given clock.
func TestWriterContinues(t *testing.T) {
	b := kafkatest.StartBroker(t, "own")
	fake := clocktesting.NewFakeClock(noon)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	written := func(n int64) {
		t.Helper()
		kafkatest.Eventually(t, "canaries", func() error {
			ends, err := kafkatest.NewAdmin(t, b.Addr).EndOffsets(t.Context(), Topic)
			if err != nil {
				return err
			}
			if end := ends[Topic][0]; end < n {
				fake.Step(Interval)
				return fmt.Errorf("%d of %d are there", end, n)
			}
			return nil
		})
	}
	for round := int64(1); round <= 3; round++ {
		w, err := NewWriter("beijing", options(b.Addr), fake, log)
		if err != nil {
			t.Fatal(err)
		}
		stop := start(t, w.Run)
		written(2 * round)
		stop()
		b.Kill()
		b.Start()
	}
	for i, r := range records(t, b.Addr, Topic, 6) {
		if r.Sequence != int64(i)+1 || r.Region != "beijing" {
			t.Errorf("record %d is %+v; want no gap and no repetition", i, r)
		}
	}
}

// A reader that starts late knows the age at once from the newest record that
// is there: during an outage that is the data at risk. It ignores what is not
// the region's canary, and follows a topic that appears later.
func TestReaderStartsWithTheNewest(t *testing.T) {
	b := kafkatest.StartBroker(t, "here")
	admin := kafkatest.NewAdmin(t, b.Addr)
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: "beijing." + Topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	put := func(origin string, values ...string) {
		for _, v := range values {
			kafkatest.Produce(t, []string{b.Addr}, &kgo.Record{Topic: origin + "." + Topic, Value: []byte(v)})
		}
	}
	canary := func(r Record) string {
		raw, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	put("beijing", canary(at(1)), canary(at(2)))
	fake := clocktesting.NewFakePassiveClock(noon.Add(30 * time.Second))
	r, err := NewReader([]string{"beijing", "shanghai"}, options(b.Addr), fake, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	start(t, r.Run)

	reads := func(origin string, want Reading) {
		t.Helper()
		kafkatest.Eventually(t, origin, func() error {
			if d := cmp.Diff(want, r.Read(origin)); d != "" {
				return errors.New(d)
			}
			return nil
		})
	}
	reads("beijing", Reading{Known: true, Age: 28 * time.Second, Sequence: 2})
	put("beijing", "not a canary", canary(Record{Region: "shanghai", Sequence: 9, Time: noon}), canary(at(3)))
	reads("beijing", Reading{Known: true, Age: 27 * time.Second, Sequence: 3})
	if age, known := r.Age("shanghai"); known {
		t.Errorf("shanghai's age is %s although nothing of it came", age)
	}
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: "shanghai." + Topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	put("shanghai", canary(Record{Region: "shanghai", Sequence: 1, Time: noon}))
	reads("shanghai", Reading{Known: true, Age: 30 * time.Second, Sequence: 1})

	b.Kill()
	b.Start()
	put("beijing", canary(at(5)))
	reads("beijing", Reading{Known: true, Age: 25 * time.Second, Sequence: 5, Missing: 1})
}

func TestConstructorsRefuse(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	if _, err := NewWriter("", options("127.0.0.1:1"), clock.RealClock{}, log); err == nil || !strings.Contains(err.Error(), "region") {
		t.Errorf("writer without a region: %v", err)
	}
	if _, err := NewWriter("beijing", kafka.Options{}, clock.RealClock{}, log); err == nil || !strings.Contains(err.Error(), "brokers") {
		t.Errorf("writer without brokers: %v", err)
	}
	if _, err := NewReader(nil, options("127.0.0.1:1"), clock.RealClock{}, log); err == nil || !strings.Contains(err.Error(), "origin") {
		t.Errorf("reader without origins: %v", err)
	}
}
