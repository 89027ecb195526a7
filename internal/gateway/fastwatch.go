package gateway

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// watchShare is how often the shortest of the times is looked at while it passes.
const watchShare = 4

// fastWatch bounds the times of all connections of a fast listener, and the leases of their requests, by looking
// at them again and again.
type fastWatch struct {
	f *FastListener
	// every is the time between two looks.
	every time.Duration
	begin time.Time
	// now is the time of the last look, since the beginning.
	now atomic.Int64
	// dateLine is the header that answers get whose application does not give one.
	dateLine atomic.Pointer[string]

	mu      sync.Mutex
	disarm  func() bool
	stopped bool
}

func (w *fastWatch) init(f *FastListener) {
	o := &f.g.options
	w.f, w.begin, w.every = f, o.Clock.Now(), guardInterval
	for _, d := range []time.Duration{f.options.HeaderTimeout, f.options.IdleTimeout, o.IOTimeout, o.UpstreamTimeout} {
		if d > 0 {
			w.every = min(w.every, max(d/watchShare, time.Millisecond))
		}
	}
	w.look()
}

// time is that of the last look.
func (w *fastWatch) time() time.Duration { return time.Duration(w.now.Load()) }

func (w *fastWatch) date() string { return *w.dateLine.Load() }

// look looks at every connection.
func (w *fastWatch) look() {
	clock := w.f.g.options.Clock
	wall := clock.Now()
	now, boot := wall.Sub(w.begin), clock.Boot()
	w.now.Store(int64(now))
	line := "Date: " + wall.UTC().Format(http.TimeFormat) + "\r\n"
	w.dateLine.Store(&line)
	next := w.every
	for _, c := range w.f.all() {
		next = min(next, c.look(now, boot))
	}
	w.f.pool.expire(now)
	for _, l := range w.f.loops {
		l.post(func() { l.pool.expire(now) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped || w.f.busy() {
		w.disarm = clock.AfterFunc(max(next, time.Millisecond), w.look)
	}
}

func (w *fastWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}

// busy reports whether connections are left.
func (f *FastListener) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns) > 0
}

// look ends what has taken too long, and returns when to look again at the latest.
func (c *fastConn) look(now, boot time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone() {
		return guardInterval
	}
	switch age := now - c.since; c.phase {
	case phaseBody:
		if age > c.f.watch.every {
			c.slow()
		}
	case phaseUpstream, phaseAnswer:
		if age > 0 && c.up != nil && c.clientGone() {
			c.cutLocked(errClientGone)
		}
	case phaseNew, phaseIdle, phaseHead, phaseLinger, phaseLent:
	}
	if limit, cause := c.limit(); limit > 0 && now-c.since > limit {
		c.cutLocked(cause)
	}
	if !c.home || c.up == nil {
		return guardInterval
	}
	left, ok := c.lease.left(boot)
	if !ok {
		c.cutLocked(errLeaseLapsed)
	}
	return min(guardInterval, left)
}

// limit is how long the phase may last, and what is wrong when it lasts longer.
func (c *fastConn) limit() (time.Duration, error) {
	switch c.phase {
	case phaseIdle:
		return c.f.options.IdleTimeout, errCut
	case phaseNew, phaseHead:
		return c.f.options.HeaderTimeout, errCut
	case phaseUpstream:
		return c.f.g.options.UpstreamTimeout, errUpstreamTimeout
	case phaseLinger:
		return fastLinger, errCut
	default:
		return 0, nil // reads and writes have their own
	}
}

// gone reports whether a loop has closed the connection; the caller holds the lock.
func (c *fastConn) gone() bool { return c.loop == nil && c.conn == nil }

// clientGone asks the kernel, for nobody reads from the client while its request is under way.
func (c *fastConn) clientGone() (gone bool) {
	return !c.control(func(fd uintptr) { gone = rawGone(fd) }) || gone
}

// control has a function use the descriptor, if it is there; the caller holds the lock.
func (c *fastConn) control(f func(fd uintptr)) bool {
	if c.loop != nil {
		f(uintptr(c.fd))
		return true
	}
	return c.raw.Control(f) == nil
}

// slow has a body that is slow be read, or refused, by net/http; the caller holds the lock.
func (c *fastConn) slow() {
	if l := c.loop; l != nil {
		l.post(func() { l.slow(c) })
		return
	}
	_ = c.conn.SetReadDeadline(c.f.watch.begin) // wakes who waits for it: see await
}

// cut ends what the connection waits for.
func (c *fastConn) cut(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked(cause)
}

func (c *fastConn) cutLocked(cause error) {
	if c.gone() {
		return
	}
	if c.cause == nil {
		c.cause = cause
	}
	if l := c.loop; l != nil {
		l.post(func() { l.cut(c) })
		return
	}
	if c.up != nil {
		c.up.close() // whoever waits for it says why to the client
		return
	}
	_ = c.whole.Close()
}

// closeIdle ends the connection when no request has begun to arrive.
func (c *fastConn) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone() || c.phase != phaseIdle && c.phase != phaseNew {
		return
	}
	empty := true
	if c.control(func(fd uintptr) { empty = rawEmpty(fd) }) && empty {
		c.cutLocked(errCut)
	}
}

// use lets the watch end the wait for the application.
func (c *fastConn) use(up *upstream) error {
	ex := &c.work.ex
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	if ex.target.home {
		c.lease = newLeaseWatch(&c.f.g.state, ex.snap, ex.slot)
	}
	if ex.target.home && !up.reused { // connecting may have taken long
		if left, ok := c.lease.left(c.f.g.options.Clock.Boot()); !ok || left < guardInterval {
			return errLeaseShort
		}
	}
	c.phase, c.since, c.up, c.home = phaseUpstream, c.f.watch.time(), up, ex.target.home
	return nil
}

// unuse ends that, and returns why the wait was ended.
func (c *fastConn) unuse() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cause := c.cause
	c.up, c.home, c.cause = nil, false, nil
	c.lease = leaseWatch{}
	return cause
}
