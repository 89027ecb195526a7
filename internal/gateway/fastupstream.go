package gateway

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// upstream is a connection to the local application, used by one request at a time.
type upstream struct {
	conn *net.TCPConn
	raw  syscall.RawConn
	pool *upstreamPool
	// address that it was dialled by.
	address string
	// reused: it has answered a request before.
	reused    bool
	idleSince time.Duration
	ready     func(uintptr) bool

	out, in []byte
	n       int
	err     error
	sent    bool
}

// ask sends a request and returns how much of its answer was read into in. It waits within the poller's read
// that it sends in, so that no read is tried in vain.
func (u *upstream) ask(out, in []byte) (int, error) {
	u.sent = false
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
		if u.reused && !rawEmpty(fd) {
			u.err = errStale
			return true
		}
		n, err := rawWrite(fd, u.out)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			_, err = u.conn.Write(u.out[n:])
		case err != nil && n == 0:
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

func (u *upstream) close() { _ = u.conn.Close() }

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
	u := &upstream{conn: tcp, raw: raw, pool: p, address: address}
	u.ready = u.onReady
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
	if p.closed || p.address != u.address || len(p.idle) >= maxIdlePerHost {
		u.close()
		return
	}
	u.reused, u.idleSince = true, p.now
	p.idle = append(p.idle, u)
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
