package gateway

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"multiactive.dev/operator/internal/ownership"
)

const callersTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// spans are by name what a recorder has seen end.
func spans(recorder *tracetest.SpanRecorder) map[string]sdktrace.ReadOnlySpan {
	out := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range recorder.Ended() {
		out[s.Name()] = s
	}
	return out
}

func attributesOf(s sdktrace.ReadOnlySpan) map[string]string {
	out := map[string]string{}
	for _, kv := range s.Attributes() {
		out[string(kv.Key)] = kv.Value.String()
	}
	return out
}

// got is what the application got last.
func (p *place) got(t *testing.T) *seen {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		t.Fatal("the application got nothing")
	}
	return p.last
}

// ended waits until every request is counted and its spans have ended: callers may have their answers before that.
func (w *world) ended(t *testing.T) {
	t.Helper()
	for region, p := range w.places {
		for deadline := time.Now().Add(patience); p.gateway.InFlight() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s has %d requests under way", region, p.gateway.InFlight())
			}
		}
	}
}

// A request is one trace from its caller to the application, through every gateway on its way.
func TestTrace(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	w := newWorld(t, func(o *Options) { o.TracerProvider = provider })
	w.publish(t)
	user := keyHomedIn(t, "shenzhen")
	w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": user, "Traceparent": callersTrace}, nil)
	w.ended(t)
	const id = "0af7651916cd43dd8448eb211c80319c"
	byName := spans(recorder)
	for _, name := range []string{"POST register", "to shenzhen", "to application"} {
		if s := byName[name]; s == nil || s.SpanContext().TraceID().String() != id {
			t.Fatalf("no span %q of the caller's trace among %v", name, slices.Collect(func(yield func(string) bool) {
				for n := range byName {
					if !yield(n) {
						return
					}
				}
			}))
		}
	}
	// The application's trace goes on from the last attempt.
	seen := w.places["shenzhen"].got(t).Header.Get("Traceparent")
	if want := id + "-" + byName["to application"].SpanContext().SpanID().String(); !strings.Contains(seen, want) {
		t.Errorf("the application was told %q, want %q in it", seen, want)
	}
	for _, s := range recorder.Ended() {
		for key, value := range attributesOf(s) {
			if strings.Contains(value, user) {
				t.Errorf("span %s: %s has the user's key", s.Name(), key)
			}
		}
	}
}

func TestTraceOfARefusal(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	w := newWorld(t, func(o *Options) {
		o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	})
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	w.ended(t)
	s := spans(recorder)["POST register"]
	if s == nil || s.Status().Code != codes.Error {
		t.Fatalf("span %+v", s)
	}
	got := attributesOf(s)
	for key, want := range map[string]string{
		"multiactive.flow": "register", "multiactive.region": "shanghai", "multiactive.outcome": OutcomeRefused,
		"multiactive.reason": string(ReasonHomeLost), "http.response.status_code": "503",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if !slices.ContainsFunc(s.Attributes(), func(kv attribute.KeyValue) bool { return kv.Key == "multiactive.slot" }) {
		t.Error("no slot")
	}
}

// Without a tracer the headers of a trace pass as they are.
func TestTraceHeadersPass(t *testing.T) {
	w := newWorld(t, nil)
	w.publish(t)
	w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai"), "Traceparent": callersTrace}, nil)
	if got := w.places["shanghai"].got(t).Header.Get("Traceparent"); got != callersTrace {
		t.Errorf("the application was told %q", got)
	}
}

// Durations name the trace of one request as an example.
func TestExemplars(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.TracerProvider = sdktrace.NewTracerProvider() })
	w.publish(t)
	w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai"), "Traceparent": callersTrace}, nil)
	w.ended(t)
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text")
	w.places["shanghai"].gateway.AdminHandler().ServeHTTP(rec, r)
	if !strings.Contains(rec.Body.String(), `# {trace_id="0af7651916cd43dd8448eb211c80319c"}`) {
		t.Error("no exemplar among the durations")
	}
}

// accessLog is what gateways have logged, told apart by lines; each line is announced.
type accessLog struct {
	mu    sync.Mutex
	lines []string
	news  chan struct{}
}

func (l *accessLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.lines = append(l.lines, string(p))
	l.mu.Unlock()
	l.news <- struct{}{}
	return len(p), nil
}

// outcomes waits until there are so many requests in the log, and counts them.
func (l *accessLog) outcomes(t *testing.T, n int) map[string]int {
	t.Helper()
	for {
		out, all := map[string]int{}, 0
		l.mu.Lock()
		for _, line := range l.lines {
			var record struct{ Msg, Outcome string }
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			if record.Msg == "request" {
				out[record.Outcome]++
				all++
			}
		}
		l.mu.Unlock()
		if all >= n {
			return out
		}
		awaitNews(t, l.news, "a request is logged")
	}
}

func awaitNews(t *testing.T, news <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-news:
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
	}
}

// The access log has some of what is as usual and all of the rest, and no user's key.
func TestAccessLogIsSampled(t *testing.T) {
	log := &accessLog{news: make(chan struct{}, 1000)}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	w := newWorld(t, func(o *Options) { o.AccessLog, o.AccessLogEvery, o.Log = true, 4, logger })
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	home, lost := keyHomedIn(t, "shanghai"), keyHomedIn(t, "beijing")
	call := func(key string) {
		w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": key}, nil)
	}
	for range 8 {
		call(home)
	}
	for range 3 {
		call(lost)
	}
	if got := log.outcomes(t, 5); got[OutcomeHome] != 2 || got[OutcomeRefused] != 3 {
		t.Errorf("logged: %v", got)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if all := strings.Join(log.lines, ""); strings.Contains(all, home) || strings.Contains(all, lost) {
		t.Error("the log has a user's key")
	}
}
