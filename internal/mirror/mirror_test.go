package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

func TestMain(m *testing.M) {
	os.Exit(kafkatest.Main(m, map[string]kafkatest.Role{"mirror": role, "soaked": soaked}))
}

// role runs the service as a process that a test can kill.
func role(ctx context.Context, arguments []string) error {
	s := NewService(arguments[0], fast, clock.RealClock{}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	fmt.Println("started")
	return s.Run(ctx)
}

// fast looks more often than the defaults, to keep the tests short.
var fast = Settings{Interval: 200 * time.Millisecond, AdminTimeout: 2 * time.Second, FlushTimeout: 2 * time.Second}

func config(origin, source, target string, topics ...string) Config {
	return Config{Origin: origin, Source: Cluster{Brokers: []string{source}}, Target: Cluster{Brokers: []string{target}}, Topics: topics}
}

func write(t *testing.T, c Config) string {
	t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mirror.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a mirror in its own process.
func start(t *testing.T, c Config) *kafkatest.Process {
	t.Helper()
	return kafkatest.Spawn(t, "mirror", write(t, c))
}

func topic(t *testing.T, addr, name string, partitions int) {
	t.Helper()
	kafkatest.Eventually(t, "creating "+name, func() error {
		err := kafkatest.NewAdmin(t, addr).Create(t.Context(), kafka.NewTopic{Name: name, Partitions: partitions})
		if errors.Is(err, kafka.ErrTopicExists) {
			return nil
		}
		return err
	})
}

// writer produces numbered records of a few keys; a key stays in one
// partition, and its numbers rise.
type writer struct {
	topic      string
	partitions int
	next       int
}

func (w *writer) write(t *testing.T, addr string, n int) {
	t.Helper()
	records := make([]*kgo.Record, 0, n)
	for range n {
		key := w.next % 37
		records = append(records, &kgo.Record{
			Topic: w.topic, Partition: int32(key % w.partitions),
			Key: fmt.Appendf(nil, "k%d", key), Value: fmt.Appendf(nil, "%d", w.next),
		})
		w.next++
	}
	kafkatest.Produce(t, []string{addr}, records...)
}

// read returns all records of a topic that are there now.
func read(t *testing.T, addr, name string) []*kgo.Record {
	t.Helper()
	ends, err := kafkatest.NewAdmin(t, addr).EndOffsets(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(name), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out []*kgo.Record
	left := map[int32]int64{}
	for p, end := range ends[name] {
		if end > 0 {
			left[p] = end
		}
	}
	for len(left) > 0 {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			out = append(out, r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return out
}

// check says what is wrong with a copy: a record missing, a key out of order,
// provenance missing. Repeated records are allowed, and counted.
func check(records []*kgo.Record, w *writer, origin string) (repeated int, err error) {
	seen := map[string]bool{}
	newest := map[string]int{}
	for _, r := range records {
		var n int
		if _, err := fmt.Sscan(string(r.Value), &n); err != nil {
			return 0, err
		}
		key := string(r.Key)
		if want := int32(n % 37 % w.partitions); r.Partition != want {
			return 0, fmt.Errorf("record %d is in partition %d instead of %d", n, r.Partition, want)
		}
		if header(r, HeaderOrigin) != origin || !strings.HasPrefix(header(r, HeaderID), fmt.Sprintf("%s/%d/", w.topic, r.Partition)) {
			return 0, fmt.Errorf("record %d has headers %v", n, r.Headers)
		}
		if seen[string(r.Value)] {
			repeated++
			continue
		}
		// A record seen for the first time may follow repeated ones, but no
		// later record of its key.
		if last, ok := newest[key]; ok && n < last {
			return 0, fmt.Errorf("key %s: %d came after %d", key, n, last)
		}
		newest[key] = n
		seen[string(r.Value)] = true
	}
	if len(seen) != w.next {
		return repeated, fmt.Errorf("%d of %d records are there", len(seen), w.next)
	}
	return repeated, nil
}

func header(r *kgo.Record, key string) string {
	var out []string
	for _, h := range r.Headers {
		if h.Key == key {
			out = append(out, string(h.Value))
		}
	}
	return strings.Join(out, ",")
}

// arrived waits until a copy is complete and sound.
func arrived(t *testing.T, addr, origin string, w *writer) (repeated int) {
	t.Helper()
	kafkatest.Eventually(t, "copy of "+w.topic, func() error {
		ends, err := kafkatest.NewAdmin(t, addr).EndOffsets(t.Context(), TargetTopic(origin, w.topic))
		if err != nil {
			return err
		}
		var n int64
		for _, end := range ends[TargetTopic(origin, w.topic)] {
			n += end
		}
		if n < int64(w.next) {
			return fmt.Errorf("%d of %d records are there", n, w.next)
		}
		repeated, err = check(read(t, addr, TargetTopic(origin, w.topic)), w, origin)
		return err
	})
	return repeated
}

// stored waits until the positions say that everything written has arrived.
func stored(t *testing.T, addr, origin string, w *writer) {
	t.Helper()
	admin := kafkatest.NewAdmin(t, addr)
	kafkatest.Eventually(t, "positions of "+w.topic, func() error {
		all, err := Positions(t.Context(), admin, origin)
		if err != nil {
			return err
		}
		var n int64
		for _, offset := range all[w.topic] {
			n += offset
		}
		if n != int64(w.next) {
			return fmt.Errorf("%d of %d", n, w.next)
		}
		return nil
	})
}

// Ten thousand records arrive, each key in order, although the mirror, the
// target and the source are killed on the way.
func TestNothingIsLost(t *testing.T) {
	source, target := startKafka(t, "beijing"), startKafka(t, "shanghai")
	topic(t, source.Addr, "accounts.account", 6)
	w := &writer{topic: "accounts.account", partitions: 6}
	cfg := config("beijing", source.Addr, target.Addr, "accounts.account")

	mirror := start(t, cfg)
	w.write(t, source.Addr, 2000)
	arrived(t, target.Addr, "beijing", w)
	stored(t, target.Addr, "beijing", w)

	w.write(t, source.Addr, 2000)
	mirror.Kill()
	w.write(t, source.Addr, 1000)
	mirror = start(t, cfg)
	repeated := arrived(t, target.Addr, "beijing", w)
	if repeated > 2000 {
		t.Errorf("%d records repeated after a kill; only those since the last stored position may be", repeated)
	}

	target.Kill()
	w.write(t, source.Addr, 2000)
	target.Start()
	arrived(t, target.Addr, "beijing", w)

	w.write(t, source.Addr, 1000)
	source.Kill()
	source.Start()
	w.write(t, source.Addr, 2000)
	t.Logf("%d records repeated", arrived(t, target.Addr, "beijing", w))

	mirror.Stop()
	before := len(read(t, target.Addr, "beijing.accounts.account"))
	start(t, cfg)
	w.write(t, source.Addr, 1)
	arrived(t, target.Addr, "beijing", w)
	if after := len(read(t, target.Addr, "beijing.accounts.account")); after != before+1 {
		t.Errorf("a clean restart repeated %d records", after-before-1)
	}
}

// The order of every key holds when the target is killed again and again with
// records on their way.
func TestOrderHoldsThroughKills(t *testing.T) {
	source, target := inside(t, "s"), startKafka(t, "t")
	topic(t, source, "a.t", 3)
	w := &writer{topic: "a.t", partitions: 3}
	engine(t, config("beijing", source, target.Addr, "a.t"), fast)
	for range 6 {
		w.write(t, source, 1500)
		target.Kill()
		w.write(t, source, 1500)
		target.Start()
	}
	t.Logf("%d records repeated", arrived(t, target.Addr, "beijing", w))
}
