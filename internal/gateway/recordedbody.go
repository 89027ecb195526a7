package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// maxRecordedBytes of a forwarded body are kept, so that it can be sent again should its owner have changed.
const maxRecordedBytes = 64 << 10

// recordedBody keeps what is read of a body, if that is short.
type recordedBody struct {
	*requestBody
	// expected length; negative: not known before the end.
	expected int64

	mu  sync.Mutex
	buf []byte
	// ended: all of the body was read, tooLong: more than is kept.
	ended, tooLong bool
}

// recordBody keeps what is sent of the body of a request that is forwarded, except gRPC's, whose streams would all be kept
// for the sake of the few that meet a change of owners.
func (ex *exchange) recordBody() {
	if !isGRPC(ex.r) {
		ex.keepBody()
	}
}

// keepBody keeps what is sent of the request's body, as far as it is short.
func (ex *exchange) keepBody() {
	body, plain := ex.r.Body.(*requestBody)
	if !plain || ex.r.ContentLength > maxRecordedBytes || isUpgrade(ex.r) {
		return
	}
	ex.r.Body = &recordedBody{
		requestBody: body, expected: ex.r.ContentLength, buf: make([]byte, 0, max(ex.r.ContentLength, 0)),
	}
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.requestBody.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tooLong = b.tooLong || len(b.buf)+n > maxRecordedBytes; b.tooLong {
		b.buf = nil
		return n, err
	}
	b.buf = append(b.buf, p[:n]...)
	b.ended = b.ended || errors.Is(err, io.EOF) || int64(len(b.buf)) == b.expected
	return n, err
}

// whole returns the body once all of it was read. Nobody is reading it then, but to find that it has ended.
func (b *recordedBody) whole() (*bufferedBody, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended || b.tooLong {
		return nil, false
	}
	return &bufferedBody{Reader: bytes.NewReader(b.buf)}, true
}

// bodyKept reports whether the body can be sent again after it was sent: there is none, it was read beforehand, or all
// of it was kept.
func (ex *exchange) bodyKept() bool {
	switch body := ex.r.Body.(type) {
	case *recordedBody:
		_, whole := body.whole()
		return whole
	case *bufferedBody:
		return true
	default:
		return body == nil || body == http.NoBody
	}
}
