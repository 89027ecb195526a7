package gateway

import (
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// upstream is a connection to the local application, used by one request at a time.
type upstream struct {
	// conn is nil while a loop has the descriptor fd in its place, whose request is that of c.
	conn *net.TCPConn
	raw  syscall.RawConn
	loop *fastLoop
	fd   int
	c    *fastConn
	// ended: the application sends nothing more.
	ended bool
	pool  *upstreamPool
	// address that it was dialled by.
	address string
	// reused: it has answered a request before.
	reused    bool
	idleSince time.Duration
	ready     func(uintptr) bool

	out, in []byte
	// n bytes of an answer are there.
	n   int
	err error
	// sent: nothing is to be written any more; begun: part of the request was sent before.
	sent, begun bool
}

// ask sends a request, or what is left of one that was begun, and returns how much of its answer was read into in. It waits
// within the poller's read that it sends in, so that no read is tried in vain.
func (u *upstream) ask(out, in []byte, begun bool) (int, error) {
	u.sent, u.begun = false, begun
	return u.wait(out, in)
}

// more reads on.
func (u *upstream) more(in []byte) (int, error) { return u.wait(nil, in) }

func (u *upstream) wait(out, in []byte) (int, error) {
	u.out, u.in, u.n, u.err = out, in, 0, nil
	err := u.raw.Read(u.ready)
	u.out, u.in = nil, nil
	if err != nil {
		return 0, err
	}
	return u.n, u.err
}

// onReady sends the request at first. A connection that was idle must have nothing to be read then: neither
// its end, nor an answer that nobody has asked for and that would be taken for this request's.
func (u *upstream) onReady(fd uintptr) bool {
	if !u.sent {
		u.sent = true
		if !u.begun && u.reused && !rawEmpty(fd) {
			u.err = errStale
			return true
		}
		n, err := rawWrite(fd, u.out)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			_, err = u.conn.Write(u.out[n:])
		case err != nil && n == 0 && !u.begun:
			err = errStale
		}
		u.err = err
		return err != nil
	}
	n, err := rawRead(fd, u.in)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return false
	case err != nil:
		u.err = err
	case n == 0:
		u.err = errUpstreamEnded
	}
	u.n = max(n, 0)
	return true
}

func (u *upstream) close() {
	if u.loop != nil {
		u.loop.at[u.fd] = loopEnd{}
		_ = unix.Close(u.fd)
		return
	}
	_ = u.conn.Close()
}

// belong has the connection be one of the pool's, used by goroutines.
func (u *upstream) belong(p *upstreamPool, conn *net.TCPConn, raw syscall.RawConn) {
	u.conn, u.raw, u.pool, u.sent = conn, raw, p, true
	u.loop, u.c, u.fd, u.ready = nil, nil, -1, u.onReady
}

// Read implements io.Reader for answers that net/http's reader is needed for.
func (u *upstream) Read(p []byte) (int, error) { return u.conn.Read(p) }

// upstreamPool keeps connections to the local application.
type upstreamPool struct {
	options *Options
	dialer  net.Dialer

	mu sync.Mutex
	// address of the application; connections to another one are not kept.
	address string
	idle    []*upstream
	closed  bool
	now     time.Duration
}

func (p *upstreamPool) init(o *Options) {
	p.options = o
	p.dialer = net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
}

// get returns a connection: the one that was used last, or a fresh one.
func (p *upstreamPool) get(address string, fresh bool) (*upstream, error) {
	if !fresh {
		if u := p.kept(address); u != nil {
			return u, nil
		}
	}
	return p.dial(address)
}

// dial returns a fresh connection.
func (p *upstreamPool) dial(address string) (*upstream, error) {
	conn, err := p.dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errNotTCP, conn.Close())
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	u := &upstream{address: address}
	u.belong(p, tcp, raw)
	return u, nil
}

func (p *upstreamPool) kept(address string) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address != address {
		p.drop()
		p.address = address
	}
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	u := p.idle[last]
	p.idle[last], p.idle = nil, p.idle[:last]
	return u
}

// put keeps a connection whose answer was read to its end.
func (p *upstreamPool) put(u *upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.c = nil; len(p.idle) == 0 {
		p.address = u.address
	}
	if p.closed || u.ended || p.address != u.address || len(p.idle) >= maxIdlePerHost {
		u.close()
		return
	}
	u.reused, u.idleSince = true, p.now
	p.idle = append(p.idle, u)
}

// forget ends a connection that is idle.
func (p *upstreamPool) forget(u *upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.idle, u); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	u.close()
}

// expire ends connections that were idle for too long.
func (p *upstreamPool) expire(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
	n := 0
	for n < len(p.idle) && now-p.idle[n].idleSince > idleConnTimeout {
		p.idle[n].close()
		n++
	}
	if n > 0 {
		p.idle = append(p.idle[:0:0], p.idle[n:]...)
	}
}

func (p *upstreamPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop()
}

// drop ends all that are idle; the caller holds the lock.
func (p *upstreamPool) drop() {
	for _, u := range p.idle {
		u.close()
	}
	p.idle = nil
}
