package gateway

import (
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"multiactive.dev/operator/internal/gateway/http1"
)

// fastLoop serves the simplest requests of many connections in one goroutine, which waits for all of them at once: a
// request that waits for its answer then needs no goroutine, and no turn of the scheduler's. What is not as simple takes
// its connection to a goroutine of its own (detach), which may bring it back (attach): answers that are not whole in one
// buffer, refusals, failures, clients that do not read.
//
// What is not under the lock is the goroutine's own, and so are the connections that the loop has. Only dialling is done
// elsewhere.
type fastLoop struct {
	f *FastListener
	p *poller
	// at has what each descriptor belongs to.
	at []loopEnd
	// pool keeps the loop's own connections to the application.
	pool upstreamPool
	// load is how many clients' connections the loop has, or is to have.
	load atomic.Int64

	mu sync.Mutex
	// posted is what is to be done between two waits.
	posted         []func()
	stopped, ended bool
}

// pollerEvents is how many events a wait takes at most.
const pollerEvents = 128

// loopEnd is a connection of the loop: a client's, or one to the application.
type loopEnd struct {
	c *fastConn
	u *upstream
}

// startLoops begins the loops.
func (f *FastListener) startLoops() {
	n := f.g.options.Loops
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	for range n {
		p, err := newPoller()
		if err != nil {
			f.g.options.Log.Warn("out of descriptors for event loops: connections have a goroutine each", slog.Any("error", err))
			return
		}
		l := &fastLoop{f: f, p: p}
		l.pool.init(&f.g.options)
		f.loops = append(f.loops, l)
		go l.run()
	}
}

// leastLoaded returns the loop for another connection; nil: there is none.
func (f *FastListener) leastLoaded() *fastLoop {
	var least *fastLoop
	for _, l := range f.loops {
		if least == nil || l.load.Load() < least.load.Load() {
			least = l
		}
	}
	return least
}

// run serves until nothing is left after stop.
func (l *fastLoop) run() {
	defer l.p.close()
	for events := make([]pollEvent, 0, pollerEvents); !l.over(); {
		events = l.p.wait(events)
		for _, e := range events {
			l.ready(e)
		}
		for _, do := range l.takePosted() {
			do()
		}
	}
}

// ready serves an event. What it is for may have ended by one before it; no descriptor is used again meanwhile.
func (l *fastLoop) ready(e pollEvent) {
	switch end := l.at[e.fd]; {
	case end.c != nil:
		l.fromClient(end.c, e.ended)
	case end.u != nil:
		l.fromApplication(end.u, e.ended)
	}
}

// post has something done by the loop's goroutine; false: it has ended.
func (l *fastLoop) post(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.postLocked(do)
	return true
}

// postLocked is for who holds the lock, and knows that the loop goes on.
func (l *fastLoop) postLocked(do func()) {
	l.posted = append(l.posted, do)
	l.p.wake()
}

func (l *fastLoop) takePosted() []func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	posted := l.posted
	l.posted = nil
	return posted
}

// stop ends the loop when its last client has gone.
func (l *fastLoop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.stopped = true
		l.p.wake()
	}
}

// over reports whether the loop has ended, and closes what is left then.
func (l *fastLoop) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = l.stopped && l.load.Load() == 0 && len(l.posted) == 0
	if l.ended {
		l.pool.close()
	}
	return l.ended
}

// fromClient serves what a client has sent. While its request is under way, that is left where it is.
func (l *fastLoop) fromClient(c *fastConn, ended bool) {
	c.readable, c.ended = true, c.ended || ended
	switch c.phase {
	case phaseUpstream:
	case phaseLinger:
		l.linger(c)
	default:
		l.turn(c)
	}
}

// turn serves the requests that are there.
func (l *fastLoop) turn(c *fastConn) {
	defer l.recover(c)
	if c.turn(uintptr(c.fd)) {
		l.carryOn(c)
	}
}

// recover keeps a flaw that one request meets from ending all others.
func (l *fastLoop) recover(c *fastConn) {
	flaw := recover()
	if flaw == nil {
		return
	}
	c.f.g.logFlaw(flaw)
	if c.up != nil {
		c.up.close()
	}
	c.abandon()
	c.work = nil // whatever state it is in
	l.end(c)
}

// carryOn does what follows from the last step.
func (l *fastLoop) carryOn(c *fastConn) {
	switch c.next {
	case stepWait:
	case stepNext:
		l.turn(c)
	case stepEnd:
		l.linger(c)
	case stepCut:
		l.end(c)
	default:
		l.detach(c)
	}
}

// send sends a composed request to the application, over a connection that waits, or over a fresh one once it is there.
func (l *fastLoop) send(c *fastConn, fresh bool) step {
	address := c.work.ex.snap.router.direct
	for !fresh {
		u := l.pool.kept(address)
		if u == nil {
			break
		}
		if next := l.sendOver(c, u); next != stepMore {
			return next
		}
	}
	c.enter(phaseUpstream)
	go l.dial(c, address)
	return stepWait
}

// sendOver returns stepMore when the request may be sent over another connection that waits.
func (l *fastLoop) sendOver(c *fastConn, u *upstream) step {
	err, n := c.use(u), 0
	switch {
	case err != nil:
	case u.reused && !rawEmpty(uintptr(u.fd)):
		err = errStale
	default:
		u.c, u.n = c, 0
		if n, err = rawWrite(uintptr(u.fd), c.work.out); err == nil {
			return stepWait
		}
		if errors.Is(err, syscall.EAGAIN) {
			c.resume = func(fd uintptr) step { return c.conclude(fd, u, n) }
			return stepDetach
		}
		if n == 0 {
			err = errStale
		}
	}
	again, fresh, err := c.again(u, err)
	switch {
	case !again:
		return l.failed(c, err)
	case fresh:
		return l.send(c, true)
	}
	return stepMore
}

// dial connects, which may take long, and to names.
func (l *fastLoop) dial(c *fastConn, address string) {
	u, err := l.pool.dial(address)
	fd := -1
	if err == nil {
		fd, err = duplicate(u.raw)
		u.close()
	}
	l.post(func() { l.dialled(c, &upstream{pool: &l.pool, address: address, loop: l, fd: fd}, err) })
}

// dialled goes on with the request that a connection was dialled for; whatever else ends it says so there.
func (l *fastLoop) dialled(c *fastConn, u *upstream, err error) {
	defer l.recover(c)
	if err == nil {
		if err = l.watch(u.fd, loopEnd{u: u}); err != nil {
			u.close()
		}
	}
	if err != nil {
		c.next = l.failed(c, err)
	} else {
		c.next = l.sendOver(c, u)
	}
	l.carryOn(c)
}

// watch waits for a descriptor from now on.
func (l *fastLoop) watch(fd int, end loopEnd) error {
	if fd >= len(l.at) {
		l.at = append(l.at, make([]loopEnd, fd+1-len(l.at))...)
	}
	l.at[fd] = end
	return l.p.add(fd)
}

// failed has a goroutine answer a request that the application did not answer.
func (l *fastLoop) failed(c *fastConn, err error) step {
	if errors.Is(err, errClientGone) || errors.Is(err, errCut) {
		return c.failed(uintptr(c.fd), err) // there is nobody to answer
	}
	c.resume = func(fd uintptr) step { return c.failed(fd, err) }
	return stepDetach
}

// fromApplication reads an answer, and passes it on when it is whole.
func (l *fastLoop) fromApplication(u *upstream, ended bool) {
	c := u.c
	if c == nil { // it has ended, or says what nobody asked for
		l.pool.forget(u)
		return
	}
	defer l.recover(c)
	u.ended = u.ended || ended
	for {
		n, err := rawRead(uintptr(u.fd), c.work.back[u.n:])
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return
		case err == nil && n == 0:
			err = errUpstreamEnded
		}
		u.n += n
		switch {
		case err == nil:
			c.next = l.answer(c, u)
		case u.n > 0: // it broke off
			c.next = l.rest(c, u)
		default:
			c.next = l.lost(c, u, err)
		}
		if c.next != stepMore {
			break
		}
		if !u.ended {
			return
		}
	}
	l.carryOn(c)
}

// lost ends the use of a connection that failed before anything of the answer was there.
func (l *fastLoop) lost(c *fastConn, u *upstream, err error) step {
	again, _, err := c.again(u, err)
	if again {
		return l.send(c, true)
	}
	return l.failed(c, err)
}

// rest has a goroutine read the rest of an answer, and pass it on.
func (l *fastLoop) rest(c *fastConn, u *upstream) step {
	c.resume = func(fd uintptr) step { return c.deliver(fd, u, u.n) }
	return stepDetach
}

// answer passes an answer on; stepMore: it is not all there.
func (l *fastLoop) answer(c *fastConn, u *upstream) step {
	w := c.work
	end := http1.End(w.back[:u.n], 0)
	switch {
	case end < 0 && u.n < len(w.back):
		return stepMore
	case end < 0, !w.resp.Read(string(w.back[:end]), w.toHEAD()):
		return l.rest(c, u)
	}
	switch body := w.resp.Body(w.toHEAD()); {
	case body > int64(len(w.back)-end):
		return l.rest(c, u)
	case body > int64(u.n-end):
		return stepMore
	}
	c.answers()
	c.releaseWhole(u, c.composeAnswer(end, u.n))
	n, err := rawWrite(uintptr(c.fd), w.out)
	if errors.Is(err, syscall.EAGAIN) {
		c.resume = func(fd uintptr) step { return c.concluded(c.settled(c.write(fd, w.out[n:]))) }
		return stepDetach
	}
	return c.concluded(c.settled(err))
}

// linger ends the connection once the client has had the last answer.
func (l *fastLoop) linger(c *fastConn) {
	if c.phase != phaseLinger {
		c.drop()
		c.enter(phaseLinger)
		if unix.Shutdown(c.fd, unix.SHUT_WR) != nil {
			l.end(c)
			return
		}
	}
	var dropped [4 << 10]byte
	for range maxFastBytes / len(dropped) {
		switch n, err := rawRead(uintptr(c.fd), dropped[:]); {
		case errors.Is(err, syscall.EAGAIN):
			return
		case err != nil || n == 0:
			l.end(c)
			return
		}
	}
	l.end(c) // it would go on and on
}

// end closes a client's connection.
func (l *fastLoop) end(c *fastConn) {
	c.drop()
	l.at[c.fd] = loopEnd{}
	c.mu.Lock()
	_ = unix.Close(c.fd)
	c.fd, c.loop = -1, nil
	c.mu.Unlock()
	l.leave(c)
}

// leave forgets a connection that was closed.
func (l *fastLoop) leave(c *fastConn) {
	if c.counts != nil {
		c.counts.open.Add(-1)
	}
	l.f.end(c)
	l.load.Add(-1)
}

// cut ends what the watch found to have taken too long, unless that is over.
func (l *fastLoop) cut(c *fastConn) {
	if c.loop != l {
		return
	}
	defer l.recover(c)
	c.mu.Lock()
	cause, up := c.cause, c.up
	c.mu.Unlock()
	switch {
	case cause == nil:
		return
	case up != nil:
		c.next = l.lost(c, up, cause)
	case c.phase == phaseUpstream:
		return // whoever dials says so
	default:
		c.next = stepCut
	}
	l.carryOn(c)
}

// slow leaves a body that is slow to net/http.
func (l *fastLoop) slow(c *fastConn) {
	if c.loop == l && c.phase == phaseBody {
		c.next = stepLend
		l.detach(c)
	}
}
