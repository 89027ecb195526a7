package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// exportTimeout bounds one export.
const exportTimeout = 10 * time.Second

// otlpExporter sends spans as OTLP over HTTP in its JSON encoding
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). The library's exporters bring gRPC and
// protocol buffers along, which would make a gateway half as large again. It tries once: spans are no records.
type otlpExporter struct {
	endpoint string
	client   *http.Client
}

func newOTLPExporter(endpoint string) *otlpExporter {
	return &otlpExporter{endpoint, &http.Client{
		Timeout: exportTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *otlpExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := json.Marshal(otlpOf(spans))
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // only read
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 256)) // as far as it goes
		return fmt.Errorf("%d spans: the collector answers %s: %q", len(spans), answer.Status, said)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection is kept
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *otlpExporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// The messages of OTLP, as far as they are used; numbers of 64 bits are text.
type (
	otlpRequest struct {
		ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name string `json:"name"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		TraceState string          `json:"traceState,omitempty"`
		ParentID   string          `json:"parentSpanId,omitempty"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"`
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
		Status     *otlpStatus     `json:"status,omitempty"`
	}
	otlpStatus struct {
		Message string `json:"message,omitempty"`
		Code    int    `json:"code"`
	}
	otlpAttribute struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
)

// otlpOf returns the message for spans of one resource.
func otlpOf(spans []sdktrace.ReadOnlySpan) otlpRequest {
	byScope := map[string]int{}
	out := otlpResourceSpans{Resource: otlpResource{otlpAttributes(spans[0].Resource().Attributes())}}
	for _, s := range spans {
		name := s.InstrumentationScope().Name
		at, known := byScope[name]
		if !known {
			at = len(out.ScopeSpans)
			byScope[name] = at
			out.ScopeSpans = append(out.ScopeSpans, otlpScopeSpans{Scope: otlpScope{name}})
		}
		out.ScopeSpans[at].Spans = append(out.ScopeSpans[at].Spans, otlpSpanOf(s))
	}
	return otlpRequest{[]otlpResourceSpans{out}}
}

func otlpSpanOf(s sdktrace.ReadOnlySpan) otlpSpan {
	c := s.SpanContext()
	out := otlpSpan{
		TraceID: c.TraceID().String(), SpanID: c.SpanID().String(), TraceState: c.TraceState().String(),
		Name: s.Name(), Kind: otlpKind(s.SpanKind()), Attributes: otlpAttributes(s.Attributes()),
		Start: strconv.FormatInt(s.StartTime().UnixNano(), 10), End: strconv.FormatInt(s.EndTime().UnixNano(), 10),
	}
	if s.Parent().SpanID().IsValid() {
		out.ParentID = s.Parent().SpanID().String()
	}
	if status := s.Status(); status.Code == codes.Error {
		out.Status = &otlpStatus{status.Description, 2} // STATUS_CODE_ERROR
	}
	return out
}

// otlpKind is the number of a kind in OTLP.
func otlpKind(k trace.SpanKind) int {
	switch k {
	case trace.SpanKindServer:
		return 2
	case trace.SpanKindClient:
		return 3
	case trace.SpanKindUnspecified, trace.SpanKindInternal, trace.SpanKindProducer, trace.SpanKindConsumer:
	}
	return 1 // internal
}

func otlpAttributes(all []attribute.KeyValue) []otlpAttribute {
	out := make([]otlpAttribute, 0, len(all))
	for _, kv := range all {
		value := map[string]any{"stringValue": kv.Value.String()}
		switch kv.Value.Type() { //nolint:exhaustive // what else there is, is told as text
		case attribute.BOOL:
			value = map[string]any{"boolValue": kv.Value.AsBool()}
		case attribute.INT64:
			value = map[string]any{"intValue": strconv.FormatInt(kv.Value.AsInt64(), 10)}
		case attribute.FLOAT64:
			value = map[string]any{"doubleValue": kv.Value.AsFloat64()}
		}
		out = append(out, otlpAttribute{string(kv.Key), value})
	}
	return out
}
