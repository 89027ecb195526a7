package gateway

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// connections counts those that are open, and refuses what is too much.
type connections struct {
	open, refused atomic.Int64
}

// busyAnswer is what a connection gets that is one too many. Whoever speaks HTTP/2 sees it as none at all.
const busyAnswer = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"

// LimitListener returns a listener that answers connections beyond Options.MaxConnections with 503 and
// closes them, so that neither memory nor files run out. Users' listener alone should have it.
func (g *Gateway) LimitListener(l net.Listener) net.Listener {
	return &limitListener{Listener: l, g: g}
}

type limitListener struct {
	net.Listener
	g *Gateway
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.g.connections.open.Add(1) <= l.g.options.MaxConnections {
			return &countedConn{Conn: conn, of: &l.g.connections}, nil
		}
		l.g.connections.open.Add(-1)
		l.g.connections.refused.Add(1)
		// It is small enough for the socket's buffer, and nobody waits for it to be taken.
		_ = conn.SetWriteDeadline(l.g.options.Clock.Now().Add(time.Second))
		_, _ = conn.Write([]byte(busyAnswer))
		_ = conn.Close()
	}
}

// countedConn is counted until it is closed, by whoever took it over too.
type countedConn struct {
	net.Conn
	of   *connections
	once sync.Once
}

// leave ends the count by this value: another one counts the connection from now on.
func (c *countedConn) leave() { c.once.Do(func() {}) }

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.of.open.Add(-1) })
	return c.Conn.Close()
}
