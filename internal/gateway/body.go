package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
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

func (c *connection) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

// requestBody bounds how long each read of a body may take, and its size. It is reusable as
// long as nothing was read.
type requestBody struct {
	body io.ReadCloser
	conn *connection
	// idle bounds one read; 0: unbounded.
	idle time.Duration
	// left is how much may still be read; negative: any amount.
	left int64
	// expected: the client waits to be asked for the body.
	expected bool

	mu     sync.Mutex
	closed bool
	read   bool
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
	if !unwanted {
		b.conn.reading(b.idle)
	}
	n, err := b.body.Read(p)
	b.conn.wasRead(err)
	if b.left >= 0 {
		if b.left -= int64(n); b.left < 0 {
			return 0, errBodyTooLarge
		}
	}
	return n, err
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
		b.conn.reading(min(b.idle/2, drainTime))
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
	idle   time.Duration
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if w.status < http.StatusOK {
		w.status = status
	}
	switch h := w.Header(); {
	case status < http.StatusOK && status != http.StatusSwitchingProtocols:
		stripReserved(h) // of an answer before the application's last one, which nobody else has looked at
	case h["Content-Type"] == nil:
		h["Content-Type"] = nil // net/http would guess one for an application that gives none
	}
	w.conn.writing(w.idle)
	w.ResponseWriter.WriteHeader(status)
	w.conn.writing(0)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status < http.StatusOK {
		w.status = http.StatusOK
	}
	w.conn.writing(w.idle)
	n, err := w.ResponseWriter.Write(p)
	w.conn.writing(0)
	return n, err
}

// Unwrap lets http.ResponseController find Flush and Hijack.
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

// bufferBody reads a JSON body of at most limit bytes and leaves it readable for the application.
func bufferBody(r *http.Request, limit int64) ([]byte, *problem) {
	if r.Body == nil || r.Body == http.NoBody || !isJSON(r.Header.Get("Content-Type")) {
		return nil, nil
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, problemOf(ReasonUnsupportedEncoding, "the partition key is in the body, which must be sent without Content-Encoding")
	}
	tooLarge := problemOf(ReasonBodyTooLarge, "the partition key is in the body, of which at most %d bytes are read; send the key in a header, or less", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, errBodyTooLarge) || int64(len(body)) > limit:
		return nil, tooLarge
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
