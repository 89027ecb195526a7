package gateway

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracerName names this package in traces.
const tracerName = "multiactive.dev/operator/internal/gateway"

// traceContext is what callers and applications say of a trace: the W3C headers traceparent and tracestate. Without
// a tracer they pass as they are.
var traceContext propagation.TraceContext

// newTracer returns nil for a provider that is nil.
func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer(tracerName)
}

// traced begins the span of a request as a whole, if there is a tracer.
func (ex *exchange) traced() {
	if ex.g.tracer != nil {
		ex.record(traceContext.Extract(ex.r.Context(), propagation.HeaderCarrier(ex.r.Header)))
	}
}

// record begins that span in the trace that the context has, or in a new one.
func (ex *exchange) record(ctx context.Context) {
	ctx, ex.span = ex.g.tracer.Start(ctx, ex.r.Method, trace.WithSpanKind(trace.SpanKindServer))
	ex.r = ex.r.WithContext(ctx)
}

// traceID names the trace that the request is recorded in, "" when it is not.
func (ex *exchange) traceID() string {
	if ex.span == nil || !ex.span.SpanContext().IsSampled() { // also once it has ended
		return ""
	}
	return ex.span.SpanContext().TraceID().String()
}

// endTrace ends the span. It has no key, query or credential.
func (ex *exchange) endTrace() {
	if ex.span == nil {
		return
	}
	if ex.span.IsRecording() {
		ex.describeSpan()
	}
	ex.span.End()
}

func (ex *exchange) describeSpan() {
	flow := UnknownFlow
	if ex.flow != nil {
		flow = ex.flow.name
	}
	ex.span.SetName(ex.r.Method + " " + flow)
	attrs := []attribute.KeyValue{
		attribute.String("http.request.method", ex.r.Method), attribute.String("url.path", ex.loggedPath()),
		attribute.Int("http.response.status_code", ex.w.status),
		attribute.String("multiactive.flow", flow), attribute.String("multiactive.outcome", ex.outcome),
	}
	if ex.snap != nil {
		cfg := ex.snap.router.cfg
		attrs = append(attrs, attribute.String("multiactive.region", cfg.Region), attribute.Int64("multiactive.epoch", cfg.Epoch))
	}
	if ex.slotted {
		attrs = append(attrs, attribute.Int("multiactive.slot", ex.slot))
	}
	if ex.problem != nil {
		attrs = append(attrs, attribute.String("multiactive.reason", string(ex.problem.reason)), attribute.String("multiactive.instance", ex.instance()))
	}
	ex.span.SetAttributes(attrs...)
	if ex.w.status >= http.StatusInternalServerError {
		ex.span.SetStatus(codes.Error, ex.outcome)
	}
}

// attempt begins the span of one attempt, and returns what ends it.
func (ex *exchange) attempt(ctx context.Context, to target) (context.Context, func(error)) {
	if ex.g.tracer == nil {
		return ctx, func(error) {}
	}
	where := "application"
	if to.peer != "" {
		where = to.peer
	}
	ctx, span := ex.g.tracer.Start(ctx, "to "+where, trace.WithSpanKind(trace.SpanKindClient))
	return ctx, func(err error) {
		if span.IsRecording() {
			span.SetAttributes(attribute.String("multiactive.peer", to.peer), attribute.Bool("multiactive.home", to.home))
			if err != nil {
				span.SetStatus(codes.Error, "no answer") // the error may have an address with a query
			}
		}
		span.End()
	}
}

// hand passes the trace on to an application or a peer.
func (ex *exchange) hand(ctx context.Context, h http.Header) {
	if ex.g.tracer != nil {
		h.Del(headerTraceState) // it is the context's, or of no trace
		traceContext.Inject(ctx, propagation.HeaderCarrier(h))
	}
}
