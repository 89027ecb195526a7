package gateway

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// handedConn is a connection that net/http serves, for good or for one request. In the latter case it reads
// no further than to the request's end, and takes the end of what it can read for the client's; but the
// connection goes on.
type handedConn struct {
	net.Conn
	c *fastConn
	// failed is how the local application has failed already, for a request that another region may serve.
	failed error
	// back gets true when the connection is given back, false when it was closed; nil: it was given for good.
	back chan bool

	mu sync.Mutex
	// pre was read already, left is still to come.
	pre  []byte
	left int64
	// answered: net/http is done with the request, returned: it was told that the connection has ended.
	answered, returned, closed bool
}

// leave gives the connection to net/http for good.
func (c *fastConn) leave() {
	c.f.g.fast.left.Add(1)
	w := c.work
	h := &handedConn{Conn: c.whole, c: c, pre: append([]byte(nil), w.in[:w.n]...)}
	c.drop()
	c.enter(phaseLent)
	_ = c.conn.SetDeadline(time.Time{})
	c.f.hand(h)
}

// lend gives the connection to net/http for the request in the buffer, and reports whether it came back.
func (c *fastConn) lend() bool {
	c.f.g.fast.lent.Add(1)
	w := c.work
	total := int64(w.head) + w.req.Body()
	have := min(int64(w.n), total)
	h := &handedConn{
		Conn: c.whole, c: c, failed: c.failure, back: make(chan bool, 1),
		pre: append([]byte(nil), w.in[:have]...), left: total - have,
	}
	c.left, c.failure, c.plain = append([]byte(nil), w.in[have:w.n]...), nil, false
	c.drop()
	c.enter(phaseLent)
	_ = c.conn.SetDeadline(time.Time{})
	c.f.hand(h)
	if !<-h.back {
		return false
	}
	if c.f.draining.Load() && len(c.left) == 0 {
		_ = c.whole.Close()
		return false
	}
	_ = c.conn.SetDeadline(time.Time{})
	c.enter(phaseHead)
	return true
}

// served notes that net/http has answered the request.
func (h *handedConn) served() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered = true
}

// Read implements net.Conn.
func (h *handedConn) Read(p []byte) (int, error) {
	h.mu.Lock()
	if len(h.pre) > 0 {
		n := copy(p, h.pre)
		h.pre = h.pre[n:]
		h.mu.Unlock()
		return n, nil
	}
	if h.back == nil {
		h.mu.Unlock()
		return h.Conn.Read(p)
	}
	left := h.left
	if left == 0 && h.answered {
		h.returned = true
		h.mu.Unlock()
		return 0, io.EOF
	}
	h.mu.Unlock()
	if left == 0 {
		return 0, h.untilGone()
	}
	n, err := h.Conn.Read(p[:min(int64(len(p)), left)])
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left -= int64(n)
	return n, err
}

// untilGone waits until the client has gone, or until net/http no longer wants to know. What the client sends
// meanwhile stays where it is.
func (h *handedConn) untilGone() error {
	gone := false
	err := h.c.raw.Read(func(fd uintptr) bool {
		gone = rawGone(fd)
		return gone
	})
	if gone {
		return io.EOF
	}
	return err
}

// Close implements net.Conn. It ends the connection, unless that goes on without net/http.
func (h *handedConn) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return net.ErrClosed
	}
	h.closed = true
	var err error
	if !h.returned {
		err = h.Conn.Close()
	}
	if h.back != nil {
		h.back <- h.returned
	}
	return err
}

// ReadFrom lets the kernel copy streams to the client.
func (h *handedConn) ReadFrom(r io.Reader) (int64, error) { return h.c.conn.ReadFrom(r) }

// CloseWrite lets net/http and tunnels end one direction.
func (h *handedConn) CloseWrite() error { return h.c.conn.CloseWrite() }

type failureKey struct{}

// withFailure lets the handler of a lent request know that the local application has failed already.
func withFailure(ctx context.Context, c net.Conn) context.Context {
	if h, ok := c.(*handedConn); ok && h.failed != nil {
		return context.WithValue(ctx, failureKey{}, h.failed)
	}
	return ctx
}

// failureBefore returns how the local application has failed for this request already.
func failureBefore(ctx context.Context) error {
	err, _ := ctx.Value(failureKey{}).(error)
	return err
}
