package gateway

import (
	"context"
	"encoding/hex"
	"math/rand/v2"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Headers of W3C trace context, as net/http writes their names.
const (
	headerTraceParent = "Traceparent"
	headerTraceState  = "Tracestate"
)

// traceParentBytes is the length of a traceparent of version 00.
const traceParentBytes = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// trace begins the spans of a request, whose trace is recorded or may be. Of one that is not, it tells the
// application so, as the spans that record nothing would, without making any.
func (c *fastConn) trace() {
	w, g := c.work, c.f.g
	w.traceParent, w.attempted = w.traceParent[:0], nil
	if g.tracer == nil {
		return
	}
	ctx := context.Background()
	switch id, flags, of := c.traceOf(); {
	case of == callersOwn || g.options.TraceSampled == nil:
		ctx = traceContext.Extract(ctx, propagation.HeaderCarrier(w.r.Header))
	case !g.options.TraceSampled(id):
		c.unrecorded(id, flags, of)
		return
	case of == callers:
		ctx = traceContext.Extract(ctx, propagation.HeaderCarrier(w.r.Header))
	default: // the ID that was decided by
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}))
	}
	ex := &w.ex
	ex.record(ctx)
	ctx, w.attempted = ex.attempt(ex.r.Context(), ex.target)
	ex.hand(ctx, w.r.Header)
}

// traceOrigin says whose a trace is.
type traceOrigin int

const (
	// nobodys: the request names none, so it begins here.
	nobodys traceOrigin = iota
	callers
	// callersOwn: it is said in a way that the library is to read.
	callersOwn
)

// traceOf returns the trace that the request belongs to.
func (c *fastConn) traceOf() (id trace.TraceID, flags byte, of traceOrigin) {
	switch said := c.work.r.Header[headerTraceParent]; {
	case len(said) == 0:
		return newTraceID(), 0, nobodys
	case len(said) == 1:
		if flags, ok := readTraceParent(said[0], &id); ok {
			return id, flags, callers
		}
	}
	return id, 0, callersOwn
}

// readTraceParent reads what has one meaning: version 00, in small letters, with known flags and no ID of zeros.
func readTraceParent(said string, id *trace.TraceID) (flags byte, ok bool) {
	if len(said) != traceParentBytes || said[:3] != "00-" || said[35] != '-' || said[52] != '-' {
		return 0, false
	}
	var parent trace.SpanID
	var last [1]byte
	for _, part := range []struct {
		to   []byte
		text string
	}{{id[:], said[3:35]}, {parent[:], said[36:52]}, {last[:], said[53:]}} {
		if !lowerHex(part.to, part.text) {
			return 0, false
		}
	}
	return last[0], last[0] <= byte(trace.FlagsSampled|trace.FlagsRandom) && id.IsValid() && parent.IsValid()
}

func lowerHex(to []byte, text string) bool {
	for i := range to {
		high, low := hexDigit(text[2*i]), hexDigit(text[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		to[i] = high<<4 | low
	}
	return true
}

// hexDigit is the value of a digit in small letters; more than 15: it is none.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// newTraceID and newSpanID need not be secret, and are as random as the library's.
func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		fill(id[:8])
		fill(id[8:])
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		fill(id[:])
	}
	return id
}

func fill(b []byte) {
	n := rand.Uint64() //nolint:gosec // names, no secrets
	for i := range b {
		b[i] = byte(n >> (8 * i)) //nolint:gosec // its parts
	}
}

// unrecorded writes the header that the application gets with a trace that is not recorded. Who changes what a caller
// says of recording becomes the parent.
func (c *fastConn) unrecorded(id trace.TraceID, flags byte, of traceOrigin) {
	w := c.work
	delete(w.r.Header, headerTraceParent)
	if of == nobodys {
		delete(w.r.Header, headerTraceState) // it is of no trace
	}
	span := newSpanID()
	out := w.traceParent
	out = append(out, headerTraceParent+": 00-"...)
	out = hex.AppendEncode(out, id[:])
	out = append(out, '-')
	out = hex.AppendEncode(out, span[:])
	out = append(out, '-')
	out = hex.AppendEncode(out, []byte{flags &^ byte(trace.FlagsSampled)})
	out = append(out, "\r\n"...)
	w.traceParent = out
}

// traced ends the span of the attempt.
func (w *fastWork) traced() {
	if w.attempted != nil {
		w.attempted(w.ex.err)
		w.attempted = nil
	}
}
