package gateway

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attach gives an idle connection to a loop, and reports whether one has it. The descriptor is one of the loop's own, for
// the runtime's poller must not know it.
func (c *fastConn) attach() bool {
	l := c.f.leastLoaded()
	if l == nil || c.f.draining.Load() {
		return false
	}
	fd, err := duplicate(c.raw)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// From here on whoever cuts all connections finds it either here or there.
	if c.cause != nil || !l.accept(c) {
		_ = unix.Close(fd)
		return false
	}
	_ = c.conn.Close()
	if counted, ok := c.whole.(*countedConn); ok {
		counted.leave()
	}
	c.conn, c.whole, c.raw, c.fd, c.loop = nil, nil, nil, fd, l
	return true
}

// accept has the loop begin with a connection.
func (l *fastLoop) accept(c *fastConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.load.Add(1)
	l.postLocked(func() { l.attached(c) })
	return true
}

// attached begins to wait for a connection.
func (l *fastLoop) attached(c *fastConn) {
	c.mu.Lock() // attach is done
	fd := c.fd
	c.mu.Unlock()
	if err := l.watch(fd, loopEnd{c: c}); err != nil {
		c.next = stepMore
		l.detach(c)
	}
}

// detach gives a connection, and that to the application which it uses, to a goroutine, which goes on with what is next.
func (l *fastLoop) detach(c *fastConn) {
	if c.next == stepDetach {
		c.next = stepMore
	}
	c.plain = false
	l.f.g.fast.detached.Add(1)
	l.forget(c.fd)
	conn, raw, err := pollable(c.fd)
	if u := c.up; u != nil {
		l.forget(u.fd)
		conn, raw, uerr := pollable(u.fd)
		u.belong(&l.f.pool, conn, raw)
		err = errors.Join(err, uerr)
	}
	if err != nil { // out of descriptors
		l.discard(c, conn)
		return
	}
	c.mu.Lock()
	c.loop, c.fd, c.conn, c.raw, c.whole = nil, -1, conn, raw, conn
	if c.counts != nil {
		c.whole = &countedConn{Conn: conn, of: c.counts}
	}
	if c.cause != nil { // the watch has come before
		c.cutLocked(c.cause)
	}
	c.mu.Unlock()
	l.load.Add(-1)
	go c.serve()
}

// discard ends a connection that cannot go on elsewhere.
func (l *fastLoop) discard(c *fastConn, conn *net.TCPConn) {
	l.f.g.options.Log.Warn("a connection was ended, for it needs descriptors that are not there; raise the limit of open files")
	c.mu.Lock()
	up := c.up
	c.loop, c.fd, c.up = nil, -1, nil
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
	if up != nil && up.conn != nil {
		_ = up.conn.Close()
	}
	c.abandon()
	c.drop()
	l.leave(c)
}

// forget waits for a descriptor no more.
func (l *fastLoop) forget(fd int) {
	l.at[fd] = loopEnd{}
	l.p.remove(fd)
}

// duplicate returns another descriptor of the connection, which stays open when that is closed.
func duplicate(raw syscall.RawConn) (int, error) {
	fd, err := -1, error(nil)
	cerr := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(cerr, err)
}

// pollable gives a descriptor to the runtime's poller; nothing can be done with the connection when that fails.
func pollable(fd int) (*net.TCPConn, syscall.RawConn, error) {
	file := os.NewFile(uintptr(fd), "")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return nil, nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, nil, errors.Join(errNotTCP, conn.Close())
	}
	raw, err := tcp.SyscallConn()
	return tcp, raw, err
}
