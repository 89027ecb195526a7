package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// connection sets deadlines on the connection of one request, and none after its end: the next
// request on the connection has its own.
type connection struct {
	clock Clock
	ctl   *http.ResponseController
	// always clears a deadline when the operation is done, for HTTP/2 enforces it even when
	// nothing is being read or written, and never reads a body by itself.
	always bool

	mu    sync.Mutex
	ended bool
}

// reading bounds the read that follows.
func (c *connection) reading(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		_ = c.ctl.SetReadDeadline(c.in(d)) // not all connections can
	}
}

// wasRead takes the bound away. HTTP/1 keeps it until the body's end: the server reads the rest
// of a body that nobody wanted, and a client that does not send it must not hold it up.
func (c *connection) wasRead(err error) {
	if c.always || errors.Is(err, io.EOF) {
		c.reading(0)
	}
}

func (c *connection) writing(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended && (d > 0 || c.always) {
		_ = c.ctl.SetWriteDeadline(c.in(d))
	}
}

// in returns the time in d, and none for 0.
func (c *connection) in(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return c.clock.Now().Add(d)
}

// end has the last of an answer written within d. HTTP/2 keeps that deadline until the stream is closed, and
// its server flushes after the handler has returned, as long as the client takes nothing.
func (c *connection) end(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.always && d > 0 {
		_ = c.ctl.SetWriteDeadline(c.in(d))
	}
	c.ended = true
}

// requestBody bounds how long each read of a body may take, and its size. It is reusable as
// long as nothing was read.
type requestBody struct {
	body io.ReadCloser
	conn *connection
	// pace bounds the reads.
	pace pace
	// left is how much may still be read; negative: any amount.
	left int64
	// expected: the client waits to be asked for the body.
	expected bool
	// request whose trailers come with the end, and the names of those that it has announced.
	request  *http.Request
	declared map[string]bool

	mu     sync.Mutex
	closed bool
	read   bool
	// failed is why no more of the body comes, if that is the client's fault.
	failed error
	// unwanted bodies are read by the server alone, within one time for all of it.
	unwanted bool
}

// drainTime is how long a client may go on sending a body that was refused, so that its
// connection can be used again.
const drainTime = time.Second

// errBodyTooLarge ends a body that is longer than the limit.
var errBodyTooLarge = errors.New("the request body is longer than the limit")

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	closed, unwanted := b.closed, b.unwanted
	b.mu.Unlock()
	if closed {
		return 0, http.ErrBodyReadAfterClose
	}
	left, err := b.pace.left()
	if err != nil {
		b.fail(err)
		return 0, err
	}
	if !unwanted {
		b.conn.reading(left)
	}
	ended := b.pace.begin()
	n, err := b.body.Read(p)
	ended(n)
	b.conn.wasRead(err)
	switch {
	case errors.Is(err, io.EOF):
		b.keepDeclared()
	case err != nil:
		b.fail(err)
	}
	if b.left >= 0 {
		if b.left -= int64(n); b.left < 0 {
			b.left = 0 // whoever reads on gets no more either
			b.fail(errBodyTooLarge)
			return 0, errBodyTooLarge
		}
	}
	return n, err
}

// fail notes what is the client's fault. One that has gone hears of nothing.
func (b *requestBody) fail(err error) {
	late, tooLarge := errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errBodyTooLarge)
	_, broken := errors.AsType[*net.OpError](err)
	reset := b.request.ProtoMajor > 1 && b.request.Context().Err() != nil
	if gone := reset || broken || errors.Is(err, io.ErrUnexpectedEOF); gone && !late && !tooLarge {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
}

// failure is the client's fault for which the body did not come as a whole; nil if there is none.
func (b *requestBody) failure() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// declare notes which trailers the request has announced.
func (b *requestBody) declare(r *http.Request) {
	if len(r.Trailer) > 0 {
		b.declared = make(map[string]bool, len(r.Trailer))
	}
	for name := range r.Trailer {
		b.declared[name] = true
	}
}

// keepDeclared drops the trailers that were not announced: nobody has looked at their names.
func (b *requestBody) keepDeclared() {
	for name := range b.request.Trailer {
		if !b.declared[name] {
			delete(b.request.Trailer, name)
		}
	}
}

// Close ends reading by the present attempt; the server closes the body itself.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// refuse leaves the rest of the body to the server.
func (b *requestBody) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unwanted = true
	// A client that waits for 100 Continue is answered before it sends anything.
	b.closed = b.closed || b.expected && !b.read
	if !b.conn.always {
		// Less than a write may take, for the answer follows the body.
		b.conn.reading(min(b.pace.idle/2, drainTime))
	}
}

// reopen makes the body ready for another attempt; it reports false when something was read.
func (b *requestBody) reopen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
	return !b.read
}

// responseWriter bounds how long each write may take and remembers the status.
type responseWriter struct {
	http.ResponseWriter
	conn   *connection
	pace   pace
	status int
	// hints is how many answers came before the one that counts.
	hints int
}

// maxHints of an application's informational answers are passed on; more are of no use to anybody.
const maxHints = 8

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		// The server asks for a body by itself, when somebody begins to read it.
		if w.hints++; w.hints > maxHints || status == http.StatusContinue {
			return
		}
		stripReserved(w.Header())
	}
	if w.status < http.StatusOK {
		w.status = status
	}
	if h := w.Header(); h["Content-Type"] == nil {
		h["Content-Type"] = nil // net/http would guess one for an application that gives none
	}
	w.conn.writing(w.pace.idle)
	w.ResponseWriter.WriteHeader(status)
	w.conn.writing(0)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status < http.StatusOK {
		w.status = http.StatusOK
	}
	n := 0
	err := w.waiting(func() (err error) {
		n, err = w.ResponseWriter.Write(p)
		return err
	}, len(p))
	return n, err
}

// FlushError implements the flushing of http.ResponseController: what a client does not take is not waited
// for in a flush either.
func (w *responseWriter) FlushError() error {
	return w.waiting(w.conn.ctl.Flush, 0)
}

// waiting bounds what waits for the client to take n bytes.
func (w *responseWriter) waiting(write func() error, n int) error {
	left, err := w.pace.left()
	if err != nil {
		return err
	}
	w.conn.writing(left)
	ended := w.pace.begin()
	err = write()
	ended(n)
	w.conn.writing(0)
	return err
}

// Hijack implements http.Hijacker. WebSocket ends both directions at once: a client may not hold the half that
// is left when its application has gone, nor take nothing for ever.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := w.conn.ctl.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &upgraded{Conn: conn, pace: w.pace}, buf, nil
}

// upgraded is the client's connection of another protocol. It has no half to close.
type upgraded struct {
	net.Conn
	pace pace
}

func (c *upgraded) Write(p []byte) (int, error) {
	if c.pace.idle > 0 {
		_ = c.SetWriteDeadline(c.pace.clock.Now().Add(c.pace.idle))
	}
	return c.Conn.Write(p)
}

// Unwrap lets http.ResponseController find the deadlines.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// isJSON reports whether a body is to be read as JSON. A body without a type is; applications
// that take JSON under another type must compare Multiactive-Key with what they write.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err != nil || t == "application/json" || strings.HasSuffix(t, "+json")
}

// saysJSON reports whether a reader of the header may take the body for JSON, whichever type it believes.
func saysJSON(h http.Header) bool {
	types := h["Content-Type"]
	return len(types) == 0 || slices.ContainsFunc(types, isJSON)
}

// bufferBody reads a JSON body of at most limit bytes and leaves it readable for the application.
func bufferBody(r *http.Request, limit int64) ([]byte, *problem) {
	if r.Body == nil || r.Body == http.NoBody || !saysJSON(r.Header) {
		return nil, nil
	}
	for _, enc := range r.Header["Content-Encoding"] {
		if enc != "" && !strings.EqualFold(enc, "identity") {
			return nil, problemOf(ReasonUnsupportedEncoding, "the partition key is in the body, which must be sent without Content-Encoding")
		}
	}
	tooLarge := problemOf(ReasonBodyTooLarge, "the partition key is in the body, of which at most %d bytes are read; send the key in a header, or less", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, errBodyTooLarge) || int64(len(body)) > limit:
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemOf(ReasonBodyTimeout, "the body that holds the partition key did not come in time")
	case err != nil:
		return nil, problemOf(ReasonMalformedBody, "the body that holds the partition key ended early")
	}
	r.Body = &bufferedBody{Reader: bytes.NewReader(body)}
	return body, nil
}

// bufferedBody is a body that was read for its key and can be sent again.
type bufferedBody struct{ *bytes.Reader }

// Close implements io.Closer.
func (b *bufferedBody) Close() error { return nil }

// reopen makes the body ready for another attempt.
func (b *bufferedBody) reopen() bool {
	_, _ = b.Seek(0, io.SeekStart) // never fails
	return true
}
