package gateway

import (
	"bytes"
	"net/http"
	"net/url"

	"multiactive.dev/operator/internal/gateway/http1"
)

const (
	fastInBytes   = 4 << 10
	fastBackBytes = 16 << 10
	fastOutBytes  = 4 << 10
	// keptBytes of a buffer at most are kept for other requests.
	keptBytes = 32 << 10
)

// fastWork is all that a request needs, used again for the next one.
type fastWork struct {
	// in is what the client sent: n bytes, of which the request's head has head, and seen were searched for it.
	in            []byte
	n, seen, head int
	verdict       http1.Verdict
	req           http1.Request
	// back is what the application sends, out what is sent to either side.
	back, out []byte
	resp      http1.Response
	// traceParent is the line that the application gets with a trace that is not recorded, attempted ends the span of one
	// that is.
	traceParent []byte
	attempted   func(error)

	ex     exchange
	r      http.Request
	url    url.URL
	body   bytes.Reader
	rw     responseWriter
	conn   connection
	answer heldAnswer
	local  http.Response
}

func (f *FastListener) takeWork() *fastWork {
	if w, ok := f.work.Get().(*fastWork); ok {
		return w
	}
	w := &fastWork{in: make([]byte, fastInBytes), back: make([]byte, fastBackBytes), out: make([]byte, 0, fastOutBytes)}
	w.conn.clock = f.g.options.Clock
	w.rw = responseWriter{ResponseWriter: &w.answer, conn: &w.conn}
	return w
}

// putWork keeps what is worth it, and nothing of the request.
func (f *FastListener) putWork(w *fastWork) {
	if len(w.in) > keptBytes || cap(w.out) > keptBytes {
		return
	}
	w.n, w.seen, w.head = 0, 0, 0
	w.ex, w.r, w.attempted = exchange{}, http.Request{}, nil
	f.work.Put(w)
}

// room is where the next bytes go.
func (w *fastWork) room() []byte { return w.in[w.n:] }

// grow makes room for n bytes in all.
func (w *fastWork) grow(n int) {
	if n = min(n, maxFastBytes); n > len(w.in) {
		in := make([]byte, n)
		copy(in, w.in[:w.n])
		w.in = in
	}
}

// total is the length of the request, once its head was read.
func (w *fastWork) total() int { return w.head + int(w.req.Body()) }

func (w *fastWork) toHEAD() bool { return w.req.Method == http.MethodHead }

// done removes the request from the buffer.
func (w *fastWork) done() {
	w.n = copy(w.in, w.in[w.total():w.n])
	w.seen, w.head = 0, 0
}

// heldAnswer holds an answer of the gateway's own until it is whole.
type heldAnswer struct {
	header http.Header
	status int
	body   []byte
}

// Header implements http.ResponseWriter.
func (a *heldAnswer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

// WriteHeader implements http.ResponseWriter.
func (a *heldAnswer) WriteHeader(status int) { a.status = status }

func (a *heldAnswer) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}
