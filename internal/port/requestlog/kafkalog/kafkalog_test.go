package kafkalog_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/port/requestlog/kafkalog"
	"multiactive.dev/operator/internal/port/requestlog/requestlogtest"
)

const topic = "accounts._deferred.user"

func start(t *testing.T, o embedded.Options) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func create(t *testing.T, broker string) {
	t.Helper()
	admin, err := kafka.NewClient(kafka.Options{Brokers: []string{broker}})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: topic, Partitions: 3, ReplicationFactor: 1}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, broker string) *kafkalog.Log {
	t.Helper()
	log, err := kafkalog.New(kafkalog.Options{Kafka: kafka.Options{Brokers: []string{broker}}, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return log
}

func TestContract(t *testing.T) {
	b := start(t, embedded.Options{Listen: "127.0.0.1:0"})
	create(t, b.Addr())
	requestlogtest.Contract(t, func(t *testing.T) requestlog.Log { return open(t, b.Addr()) })
}

// Without the topic, or without an answer, nothing is taken for stored, and nobody waits for longer than
// asked.
func TestNotStored(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	b := start(t, embedded.Options{Listen: "127.0.0.1:0"})
	for name, broker := range map[string]string{"no answer": silent.Addr().String(), "no topic": b.Addr()} {
		log := open(t, broker)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		begun := time.Now()
		_, err := log.Append(ctx, 1, []byte("secret"))
		cancel()
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), topic) {
			t.Errorf("%s: error is %v; want one that names the topic and not the record", name, err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
		if name == "no topic" {
			if _, err := log.Bounds(t.Context()); err == nil {
				t.Errorf("%s: bounds were found", name)
			}
		}
	}
}

// A broker that is killed keeps what it acknowledged, and clients go on by themselves.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	b := start(t, embedded.Options{Listen: "127.0.0.1:0", DataDir: dir})
	create(t, b.Addr())
	log := open(t, b.Addr())
	if _, err := log.Append(t.Context(), 1, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.Follow(ctx, func(records []requestlog.Record) {
			for _, r := range records {
				got <- string(r.Value)
			}
		}, func(error) {})
	}()
	defer func() { cancel(); <-done }()
	await(t, got, "kept")
	b.Close()
	start(t, embedded.Options{Listen: b.Addr(), DataDir: dir})
	for stored := false; !stored; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := log.Append(ctx, 1, []byte("later"))
		stored = err == nil
		cancel()
	}
	await(t, got, "later")
}

func await(t *testing.T, got <-chan string, want string) {
	t.Helper()
	select {
	case text := <-got:
		if text != want {
			t.Errorf("read %q, want %q", text, want)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("%q was not read", want)
	}
}
