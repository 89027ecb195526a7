package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"multiactive.dev/operator/internal/gateway"
	"multiactive.dev/operator/internal/testkit/locked"
)

// collector takes traces as the OpenTelemetry Collector reads them.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	traces []ptrace.Traces
	wrong  []error
	refuse bool
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		request := ptraceotlp.NewExportRequest()
		if err == nil {
			err = request.UnmarshalJSON(body)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.refuse:
			http.Error(w, "too much", http.StatusTooManyRequests)
		case err != nil || r.Header.Get("Content-Type") != "application/json" || r.URL.Path != "/v1/traces":
			c.wrong = append(c.wrong, err)
		default:
			c.traces = append(c.traces, request.Traces())
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func traced(t *testing.T, c *collector, log io.Writer) *config {
	t.Helper()
	conf := &config{tracing: tracing{endpoint: c.URL + "/v1/traces", ratio: 1}}
	conf.options = gateway.Options{Namespace: "accounts", Name: "user", Gateway: "user-gateway-1", Log: slog.New(slog.NewTextHandler(log, nil))}
	return conf
}

// What is exported is what the Collector reads.
func TestTracesAreExported(t *testing.T) {
	c := newCollector(t)
	conf := traced(t, c, io.Discard)
	p := conf.tracing.open(conf)
	ctx, parent := p.Tracer("a scope").Start(t.Context(), "POST register", trace.WithSpanKind(trace.SpanKindServer))
	_, child := p.Tracer("a scope").Start(ctx, "to beijing", trace.WithSpanKind(trace.SpanKindClient))
	child.SetAttributes(attribute.String("multiactive.peer", "beijing"), attribute.Int64("multiactive.epoch", 1<<60), attribute.Bool("multiactive.home", true))
	child.SetStatus(codes.Error, "no answer")
	child.End()
	parent.End()
	conf.endTraces(p)

	if len(c.wrong) > 0 || len(c.traces) != 1 || c.traces[0].SpanCount() != 2 {
		t.Fatalf("%d exports, wrong: %v", len(c.traces), c.wrong)
	}
	resource := c.traces[0].ResourceSpans().At(0)
	for key, want := range map[string]string{"service.name": "user-gateway", "service.namespace": "accounts", "service.instance.id": "user-gateway-1"} {
		if got, _ := resource.Resource().Attributes().Get(key); got.AsString() != want {
			t.Errorf("%s is %q, want %q", key, got.AsString(), want)
		}
	}
	scope := resource.ScopeSpans().At(0)
	got, above := scope.Spans().At(0), scope.Spans().At(1)
	if scope.Scope().Name() != "a scope" || got.Name() != "to beijing" || got.Kind() != ptrace.SpanKindClient || above.Kind() != ptrace.SpanKindServer {
		t.Errorf("scope %q: %s of kind %s, above %s", scope.Scope().Name(), got.Name(), got.Kind(), above.Kind())
	}
	if got.TraceID().String() != parent.SpanContext().TraceID().String() || got.ParentSpanID() != above.SpanID() || !above.ParentSpanID().IsEmpty() {
		t.Errorf("%s of trace %s below %s, want below %s", got.SpanID(), got.TraceID(), got.ParentSpanID(), above.SpanID())
	}
	if got.Status().Code() != ptrace.StatusCodeError || got.Status().Message() != "no answer" || got.EndTimestamp() < got.StartTimestamp() || got.StartTimestamp() == 0 {
		t.Errorf("status %s, from %s to %s", got.Status().Code(), got.StartTimestamp(), got.EndTimestamp())
	}
	if v, _ := got.Attributes().Get("multiactive.epoch"); v.Int() != 1<<60 {
		t.Errorf("epoch %v", v.AsRaw())
	}
	if v, _ := got.Attributes().Get("multiactive.home"); !v.Bool() {
		t.Errorf("home %v", v.AsRaw())
	}
}

// Users do not choose what is recorded.
func TestCallersDoNotForceTraces(t *testing.T) {
	c := newCollector(t)
	conf := traced(t, c, io.Discard)
	conf.tracing.ratio = 0
	p := conf.tracing.open(conf)
	sampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	_, span := p.Tracer("x").Start(trace.ContextWithRemoteSpanContext(t.Context(), sampled), "asked for")
	if span.SpanContext().TraceID() != sampled.TraceID() || span.IsRecording() {
		t.Errorf("trace %s, recorded %t", span.SpanContext().TraceID(), span.IsRecording())
	}
	span.End()
	conf.endTraces(p)
	if len(c.traces) > 0 {
		t.Error("exported")
	}
}

// A collector that refuses is told of, and costs nothing else.
func TestCollectorRefuses(t *testing.T) {
	c := newCollector(t)
	c.refuse = true
	var log bytes.Buffer
	conf := traced(t, c, &log)
	p := conf.tracing.open(conf)
	_, span := p.Tracer("x").Start(t.Context(), "one")
	span.End()
	conf.endTraces(p)
	if !strings.Contains(log.String(), "429") || !strings.Contains(log.String(), "too much") {
		t.Errorf("log: %s", &log)
	}
}

func TestTracingFlags(t *testing.T) {
	required := []string{"--agent=http://agent", "--namespace=a", "--name=u"}
	for want, arg := range map[string]string{"--trace-endpoint": "--trace-endpoint=collector:4318", "--trace-ratio": "--trace-ratio=2", "--access-log-every": "--access-log-every=0"} {
		if _, err := parse(append(required, arg), environment(), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// A request to a running gateway is a trace at the collector, an exemplar among the durations and a name in the access log.
func TestTraceOfARequest(t *testing.T) {
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for way, flags := range ways {
		t.Run(way, func(t *testing.T) {
			c := newCollector(t)
			told := make(chan string, 1)
			app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("Traceparent") }))
			defer app.Close()
			log := &locked.Buffer{}
			public, admin, stop, done := running(t, app.URL, slog.New(slog.NewJSONHandler(log, nil)), append(flags,
				"--trace-endpoint="+c.URL+"/v1/traces", "--trace-ratio=1", "--access-log", "--drain-delay=0s")...)
			ask := func(url string, header, value string) string {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set(header, value)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				text, _ := io.ReadAll(resp.Body)
				return string(text)
			}
			ask("http://"+public+"/v1/profile", "Traceparent", "00-"+id+"-"+parent+"-01")
			sent := <-told
			eventually(t, "the request is counted", func() bool { return strings.Contains(log.String(), `"trace":"`+id+`"`) })
			metrics := ask("http://"+admin+"/metrics", "Accept", "application/openmetrics-text")
			if !strings.Contains(metrics, `# {trace_id="`+id+`"}`) {
				t.Error("no exemplar among the durations")
			}
			if fast := way == "fast path"; strings.Contains(metrics, "multiactive_gateway_fast_requests_total 1.0") != fast {
				t.Errorf("served on the fast path: %t", !fast)
			}
			stop() // which exports what is left
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			found := map[string]ptrace.Span{}
			for _, exported := range c.traces {
				for _, scope := range exported.ResourceSpans().At(0).ScopeSpans().All() {
					for _, span := range scope.Spans().All() {
						found[span.Name()] = span
					}
				}
			}
			whole, attempt := found["GET _unmatched"], found["to application"]
			if len(found) != 2 || len(c.wrong) > 0 {
				t.Fatalf("spans %v, wrong: %v", found, c.wrong)
			}
			if whole.TraceID().String() != id || whole.ParentSpanID().String() != parent || attempt.ParentSpanID() != whole.SpanID() {
				t.Errorf("span %s of trace %s below %s, the attempt's below %s", whole.SpanID(), whole.TraceID(), whole.ParentSpanID(), attempt.ParentSpanID())
			}
			if want := "00-" + id + "-" + attempt.SpanID().String() + "-01"; sent != want {
				t.Errorf("the application was told %q, want %q", sent, want)
			}
		})
	}
}
