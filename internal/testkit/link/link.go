// Package link puts ways between tests and servers that can be cut as a network is that drops packets: nobody
// is told. It is for tests only, and loopback addresses.
package link

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Link carries connections to one address. While it is cut it keeps what is sent; mended, it delivers that.
type Link struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	conns []net.Conn
}

// New returns a link to the endpoint, an http URL, that ends with the test.
func New(t *testing.T, endpoint string) *Link {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{listener: listener, target: u.Host}
	l.whole = sync.NewCond(&l.mu)
	go l.accept()
	t.Cleanup(func() { _ = listener.Close(); l.Cut(false); l.closeAll() })
	return l
}

// Endpoint returns the URL of the link's own end.
func (l *Link) Endpoint() string { return "http://" + l.listener.Addr().String() }

// Cut cuts the link, or mends it.
func (l *Link) Cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	l.whole.Broadcast()
}

func (l *Link) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		go l.carry(near, far)
		go l.carry(far, near)
	}
}

func (l *Link) carry(from, to net.Conn) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.cut {
			l.whole.Wait()
		}
		l.mu.Unlock()
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}
