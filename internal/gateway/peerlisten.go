package gateway

import (
	"io"
	"net"
	"time"
)

const (
	// lingerTime and lingerBytes bound how long a connection that this end closes is still read.
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// PeerListener returns a listener for the peers' port. A peer whose certificate is refused has often sent its
// request by then; to close at once would reset the connection, and the refusal would be lost on its way. The
// peer could not tell then whether the request was carried out.
func (g *Gateway) PeerListener(l net.Listener) net.Listener { return lingering{l, g.options.Clock} }

type lingering struct {
	net.Listener
	clock Clock
}

// Accept implements net.Listener.
func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, is := conn.(*net.TCPConn); is && err == nil {
		return &lingeringConn{tcp, l.clock}, nil
	}
	return conn, err
}

type lingeringConn struct {
	*net.TCPConn
	clock Clock
}

// Close implements net.Conn: nothing more is sent, and what still arrives is thrown away for a moment.
func (c *lingeringConn) Close() error {
	if c.CloseWrite() != nil || c.SetReadDeadline(c.clock.Now().Add(lingerTime)) != nil {
		return c.TCPConn.Close() // the other end has closed it
	}
	go func() {
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes) // however it ends
		_ = c.TCPConn.Close()
	}()
	return nil
}
