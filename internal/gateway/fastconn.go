package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"multiactive.dev/operator/internal/gateway/http1"
)

const (
	// maxFastHead and maxFastBytes bound the head and the whole of a request that the fast path serves.
	maxFastHead  = 16 << 10
	maxFastBytes = 64 << 10
	// fastLinger is how long a client may take to end a connection after its last answer: ended at once, it
	// could lose the answer.
	fastLinger = 500 * time.Millisecond
)

// step says how a connection goes on.
type step int

const (
	// stepMore: the request is not all there.
	stepMore step = iota
	// stepNext: the request was answered.
	stepNext
	// stepLend: the request is net/http's.
	stepLend
	// stepLeave: the connection is net/http's from now on.
	stepLeave
	// stepEnd: the last answer was given.
	stepEnd
	// stepCut: there is nothing more to say.
	stepCut
	// stepWait: the request is under way, and a loop goes on with it.
	stepWait
	// stepDetach: a goroutine of its own is to go on with the connection, stepAttach: a loop may.
	stepDetach
	stepAttach
)

// phase says what a connection waits for.
type phase int

const (
	// phaseNew: nothing was read yet.
	phaseNew phase = iota
	phaseIdle
	phaseHead
	phaseBody
	phaseUpstream
	phaseAnswer
	// phaseLinger: the last answer was given.
	phaseLinger
	// phaseLent: net/http bounds its times.
	phaseLent
)

// fastConn is one client's connection. One goroutine serves it at a time: its own, or that of a loop. What the watch looks
// at is under the lock.
type fastConn struct {
	f *FastListener
	// loop has the connection, and its descriptor fd; nil: conn is there in its place. Both change under the lock.
	loop *fastLoop
	fd   int
	conn *net.TCPConn
	// whole is conn as it was accepted: who closes it closes that, for it is counted, by counts unless that is nil.
	whole  net.Conn
	counts *connections
	raw    syscall.RawConn
	// remote address, and its host alone.
	remote, ip string
	// work is there while a request is, left what came after one that was lent.
	work *fastWork
	left []byte
	next step
	// begun: something was read; admitted: a request is under way and counted; last: so is its answer here.
	begun, admitted, last bool
	// readable: there may be something to read; ended: the client sends nothing more; plain: the answer before could have
	// been a loop's.
	readable, ended, plain bool
	// resume goes on with the request that a loop has begun.
	resume func(fd uintptr) step
	// failure is how the application has failed for the request that is lent.
	failure error

	mu    sync.Mutex
	phase phase
	// since is when the phase began.
	since time.Duration
	// up is the connection to the application while its answer is awaited or passed on.
	up *upstream
	// lease is that of a home request.
	lease leaseWatch
	home  bool
	// cause is why the watch has ended the request.
	cause error
}

var errNotTCP = errors.New("no TCP connection")

func newFastConn(f *FastListener, conn net.Conn) (*fastConn, error) {
	plain := conn
	var counts *connections
	if counted, ok := conn.(*countedConn); ok {
		plain, counts = counted.Conn, counted.of
	}
	tcp, ok := plain.(*net.TCPConn)
	if !ok {
		return nil, errNotTCP
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &fastConn{f: f, conn: tcp, whole: conn, counts: counts, raw: raw, remote: conn.RemoteAddr().String(), since: f.watch.time()}
	if c.ip, _, err = net.SplitHostPort(c.remote); err != nil {
		return nil, err
	}
	return c, nil
}

// serve serves the connection to its end, or until net/http or a loop has it.
func (c *fastConn) serve() {
	if !c.goOn() {
		c.f.end(c)
	}
}

// goOn reports true when a loop has the connection.
func (c *fastConn) goOn() bool {
	defer c.recover()
	for turn := c.turn; ; {
		if c.next == stepMore && !c.await(turn) {
			continue // all of the body came at that moment
		}
		switch c.next {
		case stepLend:
			if !c.lend() {
				return false
			}
			c.next = stepMore
		case stepAttach:
			if c.attach() {
				return true
			}
			c.next, c.plain = stepMore, false
		case stepLeave:
			c.leave()
			return false
		case stepEnd:
			c.linger()
			return false
		default:
			c.drop()
			_ = c.whole.Close()
			return false
		}
	}
}

// await serves what comes until something else is to be done, which next is; false: it is not.
func (c *fastConn) await(turn func(uintptr) bool) bool {
	err := c.raw.Read(turn)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		// The watch found a body that is slow: it is read, or refused, by net/http.
		_ = c.conn.SetReadDeadline(time.Time{})
		if c.work == nil || c.work.head == 0 {
			c.next = stepMore
			return false
		}
		c.next = stepLend
	case err != nil:
		c.next = stepCut
	}
	return true
}

// recover keeps a flaw that one request meets from ending all others, as net/http does.
func (c *fastConn) recover() {
	flaw := recover()
	if flaw == nil {
		return
	}
	c.f.g.logFlaw(flaw)
	c.cut(errCut)
	_ = c.whole.Close()
	c.abandon()
}

// abandon counts the request that has met a flaw, as far as the flaw lets it.
func (c *fastConn) abandon() {
	defer func() {
		if flaw := recover(); flaw != nil {
			c.f.g.logFlaw(flaw)
		}
	}()
	if c.admitted {
		c.finish()
	}
}

// turn serves what can be read, and returns false to wait for more. All requests of a connection are served
// within one read of the poller's, so that it is asked to wait only when nothing is left: what arrives
// meanwhile is remembered, and no read is tried in vain.
func (c *fastConn) turn(fd uintptr) bool {
	c.readable = c.readable || c.loop == nil
	if again := c.resume; again != nil {
		c.resume = nil
		if c.next = again(fd); c.next != stepNext {
			return true
		}
	}
	for w := c.take(); ; {
		for w.n > 0 {
			if c.next = c.request(fd); c.next == stepMore {
				break
			}
			if c.next != stepNext {
				return true
			}
		}
		if !c.readable {
			return c.pause()
		}
		n, err := rawRead(fd, w.room())
		switch {
		case errors.Is(err, syscall.EAGAIN):
			c.readable = false
			return c.pause()
		case err != nil || n == 0:
			c.next = stepCut
			return true
		}
		c.readable, c.begun = n == len(w.room()) || c.ended, true
		w.n += n
	}
}

// take returns what is needed to serve a request.
func (c *fastConn) take() *fastWork {
	if c.work == nil {
		c.work = c.f.takeWork()
		c.work.grow(len(c.left) + 1)
		c.work.n = copy(c.work.in, c.left)
		c.left = nil
	}
	return c.work
}

// pause keeps nothing while the connection is idle. It reports true when the connection ends instead.
func (c *fastConn) pause() bool {
	switch w := c.work; {
	case w.n == 0:
		c.drop()
		if c.begun {
			c.enter(phaseIdle)
		}
		// Whoever drains later finds it idle.
		if c.f.draining.Load() {
			c.next = stepEnd
			return true
		}
		if c.plain && c.loop == nil {
			c.next = stepAttach
			return true
		}
	case w.head == 0:
		c.enter(phaseHead)
	default:
		c.enter(phaseBody)
	}
	return false
}

func (c *fastConn) drop() {
	if c.work != nil {
		c.f.putWork(c.work)
		c.work = nil
	}
}

// request serves the request at the beginning of the buffer.
func (c *fastConn) request(fd uintptr) step {
	w := c.work
	if w.head == 0 {
		end := http1.End(w.in[:w.n], w.seen)
		switch {
		case end < 0 && (w.n >= maxFastHead || http1.Odd(w.in[:w.n], w.seen)):
			return stepLeave
		case end < 0:
			w.seen = w.n
			w.grow(2 * w.n)
			return stepMore
		}
		w.head, w.verdict = end, w.req.Read(string(w.in[:end]))
	}
	total := int64(w.head) + w.req.Body()
	switch {
	case w.verdict == http1.Foreign:
		return stepLeave
	case w.verdict == http1.Framed, total > maxFastBytes:
		return stepLend
	case int64(w.n) < total:
		w.grow(int(total))
		return stepMore
	}
	return c.exchange(fd)
}

// enter notes what the connection waits for. The times of a header and of idleness are those of all of it,
// that of a body of each read.
func (c *fastConn) enter(p phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p != c.phase || p == phaseBody {
		c.phase, c.since = p, c.f.watch.time()
	}
}

// linger ends the connection once the client has had the last answer.
func (c *fastConn) linger() {
	c.drop()
	_ = c.conn.SetReadDeadline(c.f.g.options.Clock.Now().Add(fastLinger))
	if c.conn.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.conn) // until the client has gone, or its time is over
	}
	_ = c.whole.Close()
}

// write sends to the client; a slow one gets its time for each write.
func (c *fastConn) write(fd uintptr, p []byte) error {
	n, err := rawWrite(fd, p)
	if n == len(p) || err != nil && !errors.Is(err, syscall.EAGAIN) {
		return err
	}
	if err := c.conn.SetWriteDeadline(c.f.g.options.Clock.Now().Add(c.f.g.options.IOTimeout)); err != nil {
		return err
	}
	_, err = c.conn.Write(p[max(n, 0):])
	return err
}
