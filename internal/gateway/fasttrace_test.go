package gateway

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// ratio is a provider that records a share of the traces, and its decision by a trace's ID.
func ratio(share float64, recorder *tracetest.SpanRecorder) (trace.TracerProvider, func(trace.TraceID) bool) {
	sampler := sdktrace.TraceIDRatioBased(share)
	options := []sdktrace.TracerProviderOption{sdktrace.WithSampler(sampler)}
	if recorder != nil {
		options = append(options, sdktrace.WithSpanProcessor(recorder))
	}
	return sdktrace.NewTracerProvider(options...), func(id trace.TraceID) bool {
		return sampler.ShouldSample(sdktrace.SamplingParameters{TraceID: id}).Decision == sdktrace.RecordAndSample
	}
}

// traceIDs are one that half of all recorders record, and one that they do not.
var traceIDs = map[bool]string{true: "0af7651916cd43dd0448eb211c80319c", false: "0af7651916cd43ddf448eb211c80319c"}

// traceParent is what an application was told.
func traceParent(t *testing.T, header string) trace.SpanContext {
	t.Helper()
	var id trace.TraceID
	flags, ok := readTraceParent(header, &id)
	if !ok {
		t.Fatalf("the application was told %q", header)
	}
	span, err := trace.SpanIDFromHex(header[36:52])
	if err != nil {
		t.Fatal(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags)})
}

// Plain requests stay on the fast path whether their traces are recorded or not, and both paths say the same.
func TestFastTraces(t *testing.T) {
	for _, path := range []string{"fast", "net/http"} {
		for _, recorded := range []bool{true, false} {
			for caller, flags := range map[string]string{"sampled by the caller": "01", "not sampled by the caller": "00", "with a random ID": "03"} {
				t.Run(fmt.Sprintf("%s, recorded %t, %s", path, recorded, caller), func(t *testing.T) {
					recorder := tracetest.NewSpanRecorder()
					w := newWorld(t, func(o *Options) {
						o.TracerProvider, o.TraceSampled = ratio(.5, recorder)
						o.NoFastPath = path != "fast"
					})
					sent := "00-" + traceIDs[recorded] + "-b7ad6b7169203331-" + flags
					resp, _ := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{
						"X-User-Phone": keyHomedIn(t, "beijing"), "Traceparent": sent, "Tracestate": "vendor=value",
					}, nil)
					w.ended(t)
					got := w.places["beijing"].got(t).Header
					told := traceParent(t, got.Get("Traceparent"))
					if resp.StatusCode != http.StatusOK || told.TraceID().String() != traceIDs[recorded] || told.IsSampled() != recorded || told.SpanID().String() == "b7ad6b7169203331" {
						t.Errorf("%d; the application was told %q of %q", resp.StatusCode, got["Traceparent"], sent)
					}
					if flags == "03" && told.TraceFlags()&2 == 0 {
						t.Errorf("flags %s: that the ID is random was forgotten", told.TraceFlags())
					}
					if len(got["Traceparent"]) != 1 || got.Get("Tracestate") != "vendor=value" {
						t.Errorf("the application was told %q, %q", got["Traceparent"], got["Tracestate"])
					}
					wantSpans(t, recorder, recorded, told, "b7ad6b7169203331")
					wantMostlyFast(t, w, path == "fast")
				})
			}
		}
	}
}

// wantMostlyFast checks that requests took the fast path in beijing; one may be lent on a busy machine, for its lease.
func wantMostlyFast(t *testing.T, w *world, fast bool) {
	t.Helper()
	n := &w.places["beijing"].gateway.fast
	if a, b := n.served.Load(), n.lent.Load(); fast && a+b == 0 || a == 0 && b > 1 || !fast && a > 0 {
		t.Errorf("the fast path served %d and lent %d", a, b)
	}
}

// wantSpans checks what was recorded of one request, which the application was told of.
func wantSpans(t *testing.T, recorder *tracetest.SpanRecorder, recorded bool, told trace.SpanContext, parent string) {
	t.Helper()
	if !recorded {
		if n := len(recorder.Started()); n > 0 {
			t.Errorf("%d spans of a trace that is not recorded", n)
		}
		return
	}
	byName := spans(recorder)
	whole, attempt := byName["POST register"], byName["to application"]
	if len(recorder.Ended()) != 2 || whole == nil || attempt == nil {
		t.Fatalf("spans: %v", byName)
	}
	if whole.Parent().SpanID().String() != parent || attempt.Parent().SpanID() != whole.SpanContext().SpanID() || attempt.SpanContext().SpanID() != told.SpanID() {
		t.Errorf("the request's span is below %s, the attempt's below %s; the application was told %s",
			whole.Parent().SpanID(), attempt.Parent().SpanID(), told.SpanID())
	}
	if got := attributesOf(whole); got["multiactive.outcome"] != OutcomeHome || got["http.response.status_code"] != "200" {
		t.Errorf("the request's span has %v", got)
	}
	if whole.EndTime().Before(attempt.EndTime()) {
		t.Error("the request's span ended before the attempt's")
	}
}

// A trace that begins here has the ID that it was decided by.
func TestFastTracesThatBeginHere(t *testing.T) {
	for name, said := range map[string]string{"": "", "no traceparent": "nonsense", "an ID of zeros": "00-00000000000000000000000000000000-b7ad6b7169203331-01"} {
		for _, share := range []float64{0, .5, 1} {
			recorder := tracetest.NewSpanRecorder()
			w := newWorld(t, func(o *Options) { o.TracerProvider, o.TraceSampled = ratio(share, recorder) })
			header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing"), "Tracestate": "vendor=value"}
			if said != "" {
				header["Traceparent"] = said
			}
			const requests = 10
			for i := range requests {
				w.call(t, "beijing", "POST", "/v1/accounts", header, nil)
				got := w.places["beijing"].got(t).Header
				told := traceParent(t, got.Get("Traceparent"))
				id := told.TraceID()
				if want := float64(binary.BigEndian.Uint64(id[8:])>>1)/(1<<63) < share; told.IsSampled() != want {
					t.Errorf("%s, share %g, request %d: told %q", name, share, i, got["Traceparent"])
				}
				if state := got.Get("Tracestate"); state != "" {
					t.Errorf("%s: the application was told the state %q of no trace", name, state)
				}
			}
			w.ended(t)
			for _, s := range recorder.Ended() {
				if s.Name() == "POST register" && s.Parent().SpanID().IsValid() {
					t.Errorf("%s: the first span is below %s", name, s.Parent().SpanID())
				}
			}
			if n := len(recorder.Ended()); share == 1 && n != 2*requests || share == 0 && n > 0 {
				t.Errorf("%s, share %g: %d spans of %d requests", name, share, n, requests)
			}
			wantMostlyFast(t, w, true)
		}
	}
}

// What fails on the fast path is told in its span.
func TestFastTraceOfAFailure(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	w := newWorld(t, func(o *Options) { o.TracerProvider, o.TraceSampled = ratio(1, recorder) })
	w.places["beijing"].app.Close()
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonUpstreamUnreachable)
	w.ended(t)
	byName := spans(recorder)
	for _, name := range []string{"POST register", "to application"} {
		if s := byName[name]; s == nil || s.Status().Code.String() != "Error" {
			t.Errorf("span %q: %v", name, s)
		}
	}
	if got := attributesOf(byName["POST register"]); got["multiactive.reason"] != string(ReasonUpstreamUnreachable) || !strings.HasPrefix(got["multiactive.instance"], "urn:") {
		t.Errorf("the request's span has %v", got)
	}
}

// What the fast path gives up, net/http makes the spans of, once.
func TestFastTraceOfAFallback(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	w := newWorld(t, func(o *Options) { o.TracerProvider, o.TraceSampled = ratio(1, recorder) })
	w.places["beijing"].app.Close()
	resp, _ := w.call(t, "beijing", "GET", "/v1/anything", map[string]string{"Traceparent": callersTrace}, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderSource) != "shanghai" {
		t.Fatalf("got %d from %q", resp.StatusCode, resp.Header.Get(HeaderSource))
	}
	w.ended(t)
	n := 0
	for _, s := range recorder.Ended() {
		if s.Parent().SpanID().String() == "b7ad6b7169203331" {
			n++
			if got := attributesOf(s)["multiactive.outcome"]; got != OutcomeFallback {
				t.Errorf("outcome %q", got)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d spans of the request in beijing", n)
	}
}

// The reader takes what the library takes and writes in the same way, or leaves it to that.
func FuzzTraceParent(f *testing.F) {
	for _, seed := range []string{callersTrace, "", "00-", strings.ToUpper(callersTrace), callersTrace + "-x", "01" + callersTrace[2:], "ff" + callersTrace[2:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		var id trace.TraceID
		flags, ok := readTraceParent(said, &id)
		if !ok {
			return
		}
		carrier := http.Header{headerTraceParent: {said}}
		read := trace.SpanContextFromContext(traceContext.Extract(t.Context(), propagation.HeaderCarrier(carrier)))
		if !read.IsValid() || read.TraceID() != id || byte(read.TraceFlags()) != flags {
			t.Errorf("%q: read as %s with flags %02x, by the library as %s with %s", said, id, flags, read.TraceID(), read.TraceFlags())
		}
	})
}
