package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/requestlog/kafkalog"
	"multiactive.dev/operator/internal/testkit"
)

// TestEverythingRestarts: every gateway and broker of the region ends after the 202, and comes back.
func TestEverythingRestarts(t *testing.T) {
	const topic = "accounts._deferred.user"
	d := newDeferring(t, nil)
	d.lose(t)
	dir := t.TempDir()
	broker, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { broker.Close() }()
	o := kafka.Options{Brokers: []string{broker.Addr()}}
	admin, err := kafka.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: topic, Partitions: 3, ReplicationFactor: 1}); err != nil {
		t.Fatal(err)
	}
	admin.Close()
	start := func(name string) (*Gateway, func()) {
		log, err := kafkalog.New(kafkalog.Options{Kafka: o, Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		g, stop := d.another(t, "beijing", name, log, nil)
		return g, func() { stop(); log.Close() }
	}
	g, stop := start("before")
	server := httptest.NewServer(g)
	defer server.Close()
	accept := func(idempotency string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/transfers", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-User-Phone", d.key)
		req.Header.Set("Cookie", "sid=1")
		req.Header.Set("Idempotency-Key", idempotency)
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("got %s, want 202", resp.Status)
		}
		return strings.TrimPrefix(resp.Header.Get("Location"), DeferredPrefix)
	}
	first, second := accept("first"), accept("second")
	stop()
	broker.Close()
	if broker, err = embedded.Start(embedded.Options{Listen: broker.Addr(), DataDir: dir}); err != nil {
		t.Fatal(err)
	}
	g, stop = start("after")
	defer stop()
	for _, id := range []string{first, second} {
		if e, ok := g.deferrals.get(id); !ok || e.State != deferred.StatePending {
			t.Errorf("%s is %+v", id, e)
		}
	}
	d.restore(t)
	testkit.Eventually(t, time.Minute, func() error {
		if done := d.bank.executed(); len(done) < 2 {
			return errWaiting("they are not carried out")
		}
		return nil
	})
	done := d.bank.executed()
	if len(done) != 2 || done[0].Header.Get("Idempotency-Key") != "first" || done[1].Header.Get("Idempotency-Key") != "second" {
		t.Errorf("carried out were %+v", done)
	}
	d.decidedAt(t, g, second, deferred.StateExecuted)
}
