package gateway

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/gateway/http1"
)

// leaseMargin is the least that must be left of a lease for the fast path: the watch looks at its requests'
// leases that often. What comes later is guarded to the moment by net/http's path.
const leaseMargin = 2 * guardInterval

// exchange serves the whole request at the beginning of the buffer, or leaves it to net/http untouched.
func (c *fastConn) exchange(fd uintptr) step {
	if !c.admit() {
		return stepLend
	}
	c.trace()
	c.compose()
	if c.loop != nil {
		return c.loop.send(c, false)
	}
	return c.conclude(fd, nil, 0)
}

// conclude sends the request, over a connection that has so much of it already if one has, and passes its answer on.
func (c *fastConn) conclude(fd uintptr, begun *upstream, sent int) step {
	up, n, err := c.send(begun, sent)
	if err != nil {
		return c.failed(fd, err)
	}
	return c.deliver(fd, up, n)
}

// deliver passes the answer on of which n bytes are there.
func (c *fastConn) deliver(fd uintptr, up *upstream, n int) step {
	c.answers()
	return c.concluded(c.pass(fd, up, n))
}

// answers counts the request as one that the fast path answers.
func (c *fastConn) answers() {
	c.f.g.fast.served.Add(1)
	c.last, c.plain = c.isLast(), false
}

// concluded ends the request, whose answer was passed on as a whole or not.
func (c *fastConn) concluded(passed bool) step {
	w := c.work
	c.finish()
	switch {
	case passed && !c.last:
		w.done()
		return stepNext
	case w.ex.outcome == OutcomeAborted:
		return stepCut
	default:
		return stepEnd
	}
}

// isLast reports whether the answer that follows is the connection's last one, and says so.
func (c *fastConn) isLast() bool {
	return c.work.req.Close || c.f.draining.Load() || c.f.g.draining.Load()
}

// admit decides a request, and counts it when it is one for the local application and nothing else.
func (c *fastConn) admit() bool {
	w, g := c.work, c.f.g
	c.describe()
	ex := &w.ex
	*ex = exchange{g: g, r: &w.r, w: &w.rw, start: g.options.Clock.Now(), outcome: OutcomeAborted, snap: g.state.load()}
	w.rw.status = 0
	switch limit := g.options.MaxBodyBytes; {
	case ex.snap == nil, ex.snap.router.direct == "", strings.HasPrefix(w.req.Path, OwnPrefix):
		return false
	case isGRPC(ex.r), int64(w.head) > g.options.MaxHeaderBytes, limit >= 0 && w.req.Body() > limit:
		return false
	}
	if p := ex.identify(); p != nil || ex.passage != nil || ex.hop != nil && !http1.IsHost(ex.host) {
		return false
	}
	c.admitted = true // it is counted from here on, whatever it meets
	if g.inFlight.Add(1) > g.options.MaxInFlight || !ex.admitLocal() {
		g.inFlight.Add(-1)
		c.admitted = false
	}
	return c.admitted
}

// finish counts and logs the request.
func (c *fastConn) finish() {
	c.admitted = false
	c.work.traced()
	c.work.ex.finish()
}

// withdraw takes a request back that was sent nowhere, or may be sent again: net/http decides it anew, and makes the spans
// that are exported.
func (c *fastConn) withdraw(failure error) step {
	ex := &c.work.ex
	if ex.admitted {
		ex.g.state.ended(ex.snap, ex.slot)
	}
	ex.g.inFlight.Add(-1)
	c.admitted, c.failure = false, failure
	return stepLend
}

// describe fills in the request as net/http would.
func (c *fastConn) describe() {
	w := c.work
	w.url = url.URL{Path: w.req.Path, RawQuery: w.req.Query}
	w.r = http.Request{
		Method: w.req.Method, URL: &w.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.req.Header,
		Body: http.NoBody, ContentLength: w.req.Body(), Host: w.req.Host, RequestURI: w.req.Target, RemoteAddr: c.remote,
	}
	if w.req.Body() > 0 {
		w.body.Reset(w.in[w.head:w.total()])
		w.r.Body = &bufferedBody{Reader: &w.body}
	}
	if w.req.Length >= 0 {
		// The matcher and the sources of keys may look at it, and it counts as header.
		w.r.Header["Content-Length"] = []string{strconv.FormatInt(w.req.Length, 10)}
	}
}

// admitLocal reports whether the request is to be answered by the local application, whatever that answers.
// A home request is counted then, as decide has it.
func (ex *exchange) admitLocal() bool {
	router := ex.snap.router
	boot := ex.g.options.Clock.Boot()
	d := router.decide(question{flow: ex.flow, slot: ex.slot, safe: ex.safe, hop: ex.hop, leased: ex.snap.leased(boot)})
	if ex.readsOrigin(d) {
		return false
	}
	switch d.action {
	case actLocal:
		if ex.readSlot != noSlot {
			if _, needed := router.knowsMore(ex.readSlot); needed {
				return false
			}
		}
	case actHome:
		ex.target.home = true
		if !ex.snap.leased(boot + leaseMargin) {
			return false
		}
		ex.admitted = ex.g.state.admit(ex.snap, ex.slot)
		return ex.admitted
	default:
		return false
	}
	return true
}

// compose writes the request for the local application, as rewrite does it for net/http. What the gateway adds is not put
// into the header, which stays small then.
func (c *fastConn) compose() {
	w := c.work
	ex, h := &w.ex, w.r.Header
	for _, name := range [...]string{"Content-Length", "Keep-Alive", "Forwarded"} {
		delete(h, name)
	}
	out := w.out[:0]
	out = append(out, w.req.Method...)
	out = append(out, ' ')
	out = append(out, w.req.Target...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, ex.host...)
	out = append(out, "\r\n"...)
	out = c.appendForwarded(out)
	ex.tell(func(name string, values []string) { out = appendLine(out, name, values[0]) })
	ex.present(h)
	out = appendHeader(out, h)
	out = append(out, w.traceParent...)
	if n := w.req.Body(); n > 0 || w.req.Method == http.MethodPost || w.req.Method == http.MethodPut || w.req.Method == http.MethodPatch {
		out = appendLength(out, n)
	}
	out = append(out, "\r\n"...)
	out = append(out, w.in[w.head:w.total()]...)
	w.out = out
}

// appendForwarded says for whom the request is forwarded. What a proxy in front of the gateway said is kept.
func (c *fastConn) appendForwarded(out []byte) []byte {
	w := c.work
	h := w.r.Header
	out = append(out, "X-Forwarded-For: "...)
	if before, is := h["X-Forwarded-For"]; is {
		for _, v := range before {
			out = append(append(out, v...), ", "...)
		}
		delete(h, "X-Forwarded-For")
	}
	out = append(append(out, c.ip...), "\r\n"...)
	if _, is := h["X-Forwarded-Host"]; !is || w.ex.hop != nil {
		delete(h, "X-Forwarded-Host")
		out = appendLine(out, "X-Forwarded-Host", w.ex.host)
	}
	if _, is := h["X-Forwarded-Proto"]; !is {
		out = appendLine(out, "X-Forwarded-Proto", "http")
	}
	return out
}

func appendLine(out []byte, name, value string) []byte {
	out = append(append(out, name...), ": "...)
	return append(append(out, value...), "\r\n"...)
}

func appendHeader(out []byte, h http.Header) []byte {
	for name, values := range h {
		for _, v := range values {
			out = appendLine(out, name, v)
		}
	}
	return out
}

func appendLength(out []byte, n int64) []byte {
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, n, 10)
	return append(out, "\r\n"...)
}

// send sends the request and returns the beginning of its answer: over up, which has so much of it already, if there is
// one. A connection that had ended before anything was sent is replaced by another; so is one that ends before the answer,
// when the request is safe to repeat.
func (c *fastConn) send(up *upstream, sent int) (*upstream, int, error) {
	w := c.work
	for fresh := false; ; {
		var err error
		if up == nil {
			if up, err = c.f.pool.get(w.ex.snap.router.direct, fresh); err != nil {
				return nil, 0, err
			}
			err = c.use(up)
		}
		if err == nil {
			var n int
			if n, err = up.ask(w.out[sent:], w.back, sent > 0); err == nil {
				return up, n, nil
			}
		}
		again := false
		if again, fresh, err = c.again(up, err); !again {
			return nil, 0, err
		}
		up, sent = nil, 0
	}
}

// again ends a connection to the application that failed, and reports whether the request may be sent over another one,
// and whether that has to be a fresh one; else why not.
func (c *fastConn) again(up *upstream, err error) (again, fresh bool, _ error) {
	up.close()
	if cause := c.unuse(); cause != nil {
		return false, false, cause
	}
	switch {
	case !up.reused || errors.Is(err, errLeaseShort):
	case errors.Is(err, errStale):
		return true, false, nil
	case c.work.ex.safe && c.work.req.Body() == 0:
		return true, true, nil
	}
	return false, false, err
}

// failed answers a request that got no answer. One that another region may serve is net/http's.
func (c *fastConn) failed(fd uintptr, err error) step {
	w := c.work
	ex := &w.ex
	ex.err = err
	outcome := OutcomeLocal
	if ex.target.home {
		outcome = OutcomeHome
	}
	switch router := ex.snap.router; {
	case errors.Is(err, errLeaseShort):
		return c.withdraw(nil)
	case errors.Is(err, errClientGone), errors.Is(err, errCut):
		c.finish()
		return stepCut
	case !ex.target.home && ex.hop == nil && ex.repeatable(err) && router.nextServing() != noRegion && router.mayForward():
		return c.withdraw(err)
	}
	c.answers()
	ex.settle(outcome, err)
	ended := c.tell(fd) != nil
	c.finish()
	switch {
	case ended:
		return stepCut
	case c.last:
		return stepEnd
	}
	w.done()
	return stepNext
}

// tell sends the refusal that is held.
func (c *fastConn) tell(fd uintptr) error {
	c.enter(phaseAnswer)
	w := c.work
	a := &w.answer
	out := c.appendStatus(w.out[:0], a.status, a.header)
	out = appendHeader(out, a.header)
	out = appendLength(out, int64(len(a.body)))
	out = append(out, "\r\n"...)
	if w.req.Method != http.MethodHead {
		out = append(out, a.body...)
	}
	w.out = out
	*a = heldAnswer{}
	return c.write(fd, out)
}

// appendStatus begins an answer: its status, and what every answer has.
func (c *fastConn) appendStatus(out []byte, status int, h http.Header) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	out = append(out, http.StatusText(status)...)
	out = append(out, "\r\n"...)
	if _, dated := h["Date"]; !dated {
		out = append(out, c.f.watch.date()...)
	}
	if c.last {
		out = append(out, "Connection: close\r\n"...)
	}
	return out
}

var (
	errStale           = errors.New("the application has ended the connection before the request was sent")
	errClientGone      = errors.New("the client has gone")
	errCut             = errors.New("the gateway ends")
	errLeaseShort      = errors.New("too little is left of the lease to begin with the request")
	errUpstreamTimeout = errors.New("the application did not answer in time")
	errUpstreamEnded   = io.ErrUnexpectedEOF
)
