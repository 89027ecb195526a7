package mirror

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

func get(t *testing.T, s *Service, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func serve(t *testing.T, path string, c clock.WithTicker) *Service {
	t.Helper()
	s := NewService(path, fast, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	done := make(chan struct{})
	ctx := t.Context()
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { <-done })
	return s
}

// A topic that is added to the file is mirrored; a file that turns wrong is
// reported and what ran goes on.
func TestServiceReloads(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.one", 1)
	topic(t, source, "a.two", 1)
	one, two := &writer{topic: "a.one", partitions: 1}, &writer{topic: "a.two", partitions: 1}
	one.write(t, source, 10)
	two.write(t, source, 10)

	path := write(t, config("beijing", source, target, "a.one"))
	s := serve(t, path, clock.RealClock{})
	arrived(t, target, "beijing", one)

	replace(t, path, write(t, config("beijing", source, target, "a.one", "a.two")))
	s.Reload()
	arrived(t, target, "beijing", two)
	if n := arrived(t, target, "beijing", one); n > 0 {
		t.Errorf("the reload repeated %d records", n)
	}
	answers(t, s, "/readyz", http.StatusOK, "ok")

	if err := os.WriteFile(path, []byte("origin: Wrong!"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	answers(t, s, "/readyz", http.StatusServiceUnavailable, "not in force")
	one.write(t, source, 5)
	arrived(t, target, "beijing", one)
	answers(t, s, "/metrics", http.StatusOK, `multiactive_mirror_errors_total{origin="beijing",stage="config"} 1`)
	answers(t, s, "/metrics", http.StatusOK, `multiactive_mirror_records_total{origin="beijing",topic="a.one"} 15`)

	replace(t, path, write(t, config("beijing", source, target, "a.one", "a.two")))
	s.Reload()
	answers(t, s, "/readyz", http.StatusOK, "ok")
}

func replace(t *testing.T, path, with string) {
	t.Helper()
	if err := os.Rename(with, path); err != nil {
		t.Fatal(err)
	}
}

func answers(t *testing.T, s *Service, path string, code int, say string) {
	t.Helper()
	kafkatest.Eventually(t, path, func() error {
		if got, body := get(t, s, path); got != code || !strings.Contains(body, say) {
			return fmt.Errorf("answers %d %q; want %d with %q", got, body, code, say)
		}
		return nil
	})
}

// With both clusters down the process is alive, not ready, and says which
// clusters are missing.
func TestServiceHealth(t *testing.T) {
	source, target := startKafka(t, "s"), startKafka(t, "t")
	source.Kill()
	target.Kill()
	s := serve(t, write(t, config("beijing", source.Addr, target.Addr)), clock.RealClock{})
	answers(t, s, "/readyz", http.StatusServiceUnavailable, source.Addr)
	answers(t, s, "/readyz", http.StatusServiceUnavailable, target.Addr)
	answers(t, s, "/healthz", http.StatusOK, "ok")
	source.Start()
	target.Start()
	answers(t, s, "/readyz", http.StatusOK, "ok")
}

// An engine whose rounds stopped is no longer alive.
func TestServiceIsStuck(t *testing.T) {
	fake := clocktesting.NewFakeClock(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC))
	s := NewService("unused", fast, fake, slog.New(slog.DiscardHandler))
	if err := s.alive(); err == nil {
		t.Error("alive before it was started")
	}
	s.engine = &Engine{}
	fake.Step(staleAfter)
	if err := s.alive(); err != nil {
		t.Errorf("%v; the first round may take as long as any", err)
	}
	s.engine.status.LookedAt = fake.Now()
	fake.Step(staleAfter)
	if err := s.alive(); err != nil {
		t.Error(err)
	}
	fake.Step(time.Second)
	if code, body := get(t, s, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "2m1s ago") {
		t.Errorf("answers %d %q", code, body)
	}
}

func TestServiceRefusesAWrongStart(t *testing.T) {
	s := NewService(t.TempDir()+"/missing.yaml", fast, clock.RealClock{}, slog.New(slog.DiscardHandler))
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("Run() = %v; want an error that names the file", err)
	}
}
