package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// FastListener serves plain HTTP/1.1 requests for the local application itself, and hands all others to the
// http.Server that accepts from it: a connection for good when net/http alone knows where its requests end,
// else for one request. It decides with the same code. What it does not take for certain is net/http's.
//
// A connection is served by a loop together with many others, or by a goroutine of its own, and holds no buffer while it is
// idle. Times are bounded by a watch that looks at all connections from time to time, so that a request sets no timer.
type FastListener struct {
	net.Listener
	g       *Gateway
	options FastOptions
	// handed are the connections for net/http.
	handed chan net.Conn
	pool   upstreamPool
	// loops are empty when the system has no descriptors for them.
	loops []*fastLoop
	watch fastWatch
	work  sync.Pool

	draining atomic.Bool
	closed   chan struct{}
	once     sync.Once

	mu    sync.Mutex
	conns map[*fastConn]struct{}
	// empty is closed when the last connection has gone after draining began.
	empty chan struct{}
}

// fastCounts say what became of what came to the fast path: requests that it answered, requests that it lent to
// net/http, connections that it left to that for good, and how often one left its loop for a goroutine of its own.
type fastCounts struct{ served, lent, left, detached atomic.Int64 }

// FastOptions bound what clients may take; they are the http.Server's own.
type FastOptions struct {
	// HeaderTimeout bounds the time that a request's header takes, IdleTimeout that between requests. Required.
	HeaderTimeout, IdleTimeout time.Duration
}

// NewFastListener returns the listener that stands before the server. It is l itself where the fast path does
// not work, and with the option NoFastPath.
func (g *Gateway) NewFastListener(l net.Listener, server *http.Server) net.Listener {
	if g.options.NoFastPath || !rawReads {
		return l
	}
	f := &FastListener{
		Listener: l, g: g, handed: make(chan net.Conn), closed: make(chan struct{}),
		options: FastOptions{HeaderTimeout: server.ReadHeaderTimeout, IdleTimeout: server.IdleTimeout},
		conns:   map[*fastConn]struct{}{}, empty: make(chan struct{}),
	}
	f.pool.init(&g.options)
	f.startLoops()
	f.watch.init(f)
	before, contextOf := server.ConnState, server.ConnContext
	server.ConnState = func(c net.Conn, s http.ConnState) {
		if h, ok := c.(*handedConn); ok && s == http.StateIdle {
			h.served()
		}
		if before != nil {
			before(c, s)
		}
	}
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if contextOf != nil {
			ctx = contextOf(ctx, c)
		}
		return withFailure(ctx, c)
	}
	go f.acceptAll()
	return f
}

// acceptAll serves connections until the listener is closed.
func (f *FastListener) acceptAll() {
	for {
		conn, err := f.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			if !f.draining.Load() {
				f.stop()
			}
			return
		case err != nil:
			// Out of file descriptors, or the client has gone already.
			done, _ := after(f.g.options.Clock, acceptPause)
			select {
			case <-done:
			case <-f.closed:
			}
			continue
		}
		f.begin(conn)
	}
}

// acceptPause is how long nothing is accepted after an error.
const acceptPause = 5 * time.Millisecond

func (f *FastListener) begin(conn net.Conn) {
	c, err := newFastConn(f, conn)
	if err != nil { // no TCP connection
		f.hand(conn)
		return
	}
	f.mu.Lock()
	f.conns[c] = struct{}{}
	f.mu.Unlock()
	if !c.attach() {
		go c.serve()
	}
}

// end forgets a connection.
func (f *FastListener) end(c *fastConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	f.settle()
}

// settle notes that nothing is left to drain; the caller holds the lock.
func (f *FastListener) settle() {
	if len(f.conns) > 0 || !f.draining.Load() {
		return
	}
	select {
	case <-f.empty:
	default:
		close(f.empty)
	}
}

// hand gives a connection to net/http, which closes it when nobody accepts any more.
func (f *FastListener) hand(conn net.Conn) {
	select {
	case f.handed <- conn:
	case <-f.closed:
		_ = conn.Close()
	}
}

// Accept returns the connections that net/http is to serve.
func (f *FastListener) Accept() (net.Conn, error) {
	select {
	case c := <-f.handed:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close ends everything that is idle; what is under way ends with its answer.
func (f *FastListener) Close() error {
	err := f.refuse()
	f.drain()
	f.stop()
	return err
}

// refuse accepts no more connections.
func (f *FastListener) refuse() error {
	if err := f.Listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (f *FastListener) stop() {
	f.once.Do(func() {
		close(f.closed)
		f.watch.stop()
		f.pool.close()
		for _, l := range f.loops {
			l.stop()
		}
	})
}

// Drain accepts no more connections and waits until those that there are have had their last answers, those
// of net/http included that it was given for one request. Those that it has for good are its own to drain.
func (f *FastListener) Drain(ctx context.Context) error {
	f.drain()
	err := f.refuse()
	f.drain() // those that came in between
	select {
	case <-f.empty:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// drain lets connections end with their next answer, and closes those that wait for a request.
func (f *FastListener) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining.Store(true)
	for c := range f.conns {
		c.closeIdle()
	}
	f.settle()
}

// Cut ends all connections at once.
func (f *FastListener) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.cut(errCut)
	}
}

// all returns the connections that there are.
func (f *FastListener) all() []*fastConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*fastConn, 0, len(f.conns))
	for c := range f.conns {
		list = append(list, c)
	}
	return list
}
