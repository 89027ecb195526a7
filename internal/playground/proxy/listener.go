package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// dialTimeout bounds one try to reach a Pod: one on this machine takes a connection at once, or refuses it, unless the
// machine itself stands still.
const dialTimeout = 10 * time.Second

// listener forwards the connections of one address.
type listener struct {
	socket net.Listener
	ctx    context.Context //nolint:containedctx // ends the dials of this listener's connections with it
	cancel context.CancelFunc

	mu       sync.Mutex
	backends []string
	next     int
	open     map[net.Conn]struct{} // nil: closed
}

func (p *Proxy) listen(ctx context.Context, address string, backends []string) (*listener, error) {
	socket, err := p.config.Listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{socket: socket, ctx: ctx, cancel: cancel, backends: backends, open: map[net.Conn]struct{}{}}
	go l.accept()
	return l, nil
}

func (l *listener) set(backends []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backends = backends
}

// order returns the backends, beginning with the next one in turn.
func (l *listener) order() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.backends) == 0 {
		return nil
	}
	l.next = (l.next + 1) % len(l.backends)
	return slices.Concat(l.backends[l.next:], l.backends[:l.next])
}

func (l *listener) accept() {
	for {
		conn, err := l.socket.Accept()
		if err != nil {
			return // closed
		}
		if !l.track(conn) {
			cut(conn)
			return
		}
		go l.forward(conn)
	}
}

// forward joins a connection with the first Pod that takes one.
func (l *listener) forward(conn net.Conn) {
	defer l.drop(conn)
	peer := l.dial()
	if peer == nil {
		return
	}
	if !l.track(peer) {
		cut(peer)
		return
	}
	defer l.drop(peer)
	var both sync.WaitGroup
	both.Go(func() { pipe(peer, conn) })
	both.Go(func() { pipe(conn, peer) })
	both.Wait()
}

// dial connects to the first Pod that can be reached; nil when there is none.
func (l *listener) dial() net.Conn {
	for _, backend := range l.order() {
		if peer, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(l.ctx, "tcp", backend); err == nil {
			return peer
		}
	}
	return nil
}

// pipe copies one direction and hands on its end; an error cuts both.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		cut(to)
		cut(from)
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // the other side may have gone
	}
}

func (l *listener) track(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		return false
	}
	l.open[conn] = struct{}{}
	return true
}

func (l *listener) drop(conn net.Conn) {
	_ = conn.Close() // it is over
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, conn)
}

// retire refuses new connections and lets the present ones end; it tells whether there are any.
func (l *listener) retire() bool {
	_ = l.socket.Close() // closing twice does no harm
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) > 0
}

// close refuses new connections and resets the present ones.
func (l *listener) close() {
	l.cancel()
	_ = l.socket.Close() // closing twice does no harm
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		cut(conn)
	}
	l.open = nil
}

// cut resets a connection, as the end of its machine does.
func cut(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: Close follows
	}
	_ = conn.Close() // it is gone
}
