package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

const (
	// connectTimeout bounds a connection to the local application, peerConnectTimeout one to
	// another region's gateway.
	connectTimeout     = time.Second
	peerConnectTimeout = 2 * time.Second
	// idleConnTimeout and maxIdlePerHost bound kept connections to applications and peers.
	idleConnTimeout = 90 * time.Second
	maxIdlePerHost  = 256
	copyBufferSize  = 16 << 10
	// maxAnswerHeader bounds the header of an answer, in bytes; beyond, it is no answer.
	maxAnswerHeader = 256 << 10
)

// target is where one attempt of a request goes.
type target struct {
	url *url.URL
	// peer is the region of a gateway elsewhere; empty for the local application. mutual: over mutual TLS alone.
	peer   string
	mutual bool
	// home requests carry the fencing token.
	home bool
	// stale marks the answer as one from a copy.
	stale bool
	// again: the local application may have a miss, or the peer is asked after one.
	again bool
	// staleMiss marks a miss as one from a copy: the request is too long to be read again, or an upgrade.
	staleMiss bool
	// origin: the peer is asked because the session is there.
	origin bool
}

// transports holds the connections to applications and peers. gRPC needs HTTP/2 even without
// TLS; everything else speaks HTTP/1.1 there, and what TLS negotiates.
type transports struct {
	local, localH2, peer, peerH2 *http.Transport
	// mutual are those over mutual TLS.
	mutual *mutualTransports
}

func newTransports(g *Gateway) *transports {
	o := &g.options
	return &transports{
		local: newTransport(o, connectTimeout, false), localH2: newTransport(o, connectTimeout, true),
		peer: newTransport(o, peerConnectTimeout, false), peerH2: newTransport(o, peerConnectTimeout, true),
		mutual: newMutualTransports(g),
	}
}

func newTransport(o *Options, dial time.Duration, h2 bool) *http.Transport {
	dialer := &net.Dialer{Timeout: dial, KeepAlive: 15 * time.Second}
	if dial == peerConnectTimeout {
		dialer.Control = guardedBy(refusedAddress) // users' credentials go along
	}
	t := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   peerConnectTimeout,
		ResponseHeaderTimeout: o.UpstreamTimeout,
		// An application's header is kept in memory until the user has it.
		MaxResponseHeaderBytes: maxAnswerHeader,
		IdleConnTimeout:        idleConnTimeout,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		DisableCompression:     true, // bodies pass as they are
		Protocols:              new(http.Protocols),
		WriteBufferSize:        4 << 10,
		ReadBufferSize:         4 << 10,
	}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetHTTP1(!h2)
	t.Protocols.SetUnencryptedHTTP2(h2)
	return t
}

// RoundTrip implements http.RoundTripper with the connections that the attempt's target needs.
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	ex := exchangeOf(r.Context())
	h2 := isGRPC(r)
	switch {
	case ex.target.peer != "":
		return t.to(ex.target.peer, ex.target.mutual, h2).RoundTrip(r)
	case h2:
		return t.localH2.RoundTrip(r)
	default:
		return t.local.RoundTrip(r)
	}
}

// forgetPeers has no kept connection to another region be used again: those to one that was lost without a word
// look as if they were open, and what is sent on them once it has returned is never answered.
func (t *transports) forgetPeers() {
	t.peer.CloseIdleConnections()
	t.peerH2.CloseIdleConnections()
	t.mutual.renew()
}

// to returns the connections to a region's gateway. There is no way from one kind to the other: what is to
// be mutual is never sent otherwise.
func (t *transports) to(region string, mutual, h2 bool) http.RoundTripper {
	switch {
	case mutual:
		return t.mutual.to(region, h2)
	case h2:
		return t.peerH2
	default:
		return t.peer
	}
}

// newProxy returns the one reverse proxy; what differs per request is in its exchange.
func newProxy(o *Options, t *transports) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        func(pr *httputil.ProxyRequest) { exchangeOf(pr.In.Context()).rewrite(pr) },
		Transport:      t,
		ModifyResponse: func(resp *http.Response) error { return exchangeOf(resp.Request.Context()).answer(resp) },
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { exchangeOf(r.Context()).err = err },
		BufferPool:     &bufferPool{sync.Pool{New: func() any { b := make([]byte, copyBufferSize); return &b }}},
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}

type bufferPool struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte { return *p.pool.Get().(*[]byte) }

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }

type exchangeKey struct{}

// exchangeOf returns the exchange that a proxied request belongs to.
func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// send makes one attempt. Its error comes before a byte of the response was written.
func (ex *exchange) send(ctx context.Context, to target) error {
	ex.target, ex.err = to, nil
	ctx, ended := ex.attempt(ctx, to)
	defer func() { ended(ex.err) }()
	ex.g.proxy.ServeHTTP(ex.w, ex.r.WithContext(context.WithValue(ctx, exchangeKey{}, ex)))
	if ex.err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errLeaseLapsed) {
			ex.err = cause
		}
	}
	return ex.err
}

// rewrite directs the outgoing request of an attempt.
func (ex *exchange) rewrite(pr *httputil.ProxyRequest) {
	h := pr.Out.Header
	h["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
	pr.SetXForwarded()
	keepForwarded(h, pr.In.Header, "X-Forwarded-Proto")
	keepForwarded(h, pr.In.Header, "X-Forwarded-Host")
	if ex.hop != nil {
		h.Set("X-Forwarded-Host", ex.host)
	}
	ex.hand(pr.Out.Context(), h)
	// Trailers of the request arrive after its body; both sides share the map that they come in.
	pr.Out.Trailer = pr.In.Trailer
	ex.brief(h)
	if ex.passage != nil {
		ex.pass(h)
	}
	uri := requestURI(pr.Out.URL)
	pr.SetURL(ex.target.url)
	pr.Out.Host = ex.host
	if ex.target.peer == "" {
		ex.present(h)
	} else {
		// The peer may be one of many hosts behind an address, so it is asked by its own name.
		pr.Out.Host = ex.target.url.Host
		cfg := ex.snap.router.cfg
		proof := hop{from: cfg.Region, to: ex.target.peer, epoch: cfg.Epoch, nonce: newNonce(), host: ex.host}
		h.Set(HeaderHop, proof.sign(cfg.PeerKey, cfg.UID, pr.Out.Method, uri))
	}
}

// keepForwarded keeps what a proxy in front of the gateway said.
func keepForwarded(out, in http.Header, name string) {
	if v, ok := in[name]; ok {
		out[name] = v
	}
}

// requestURI is the part of a URL that a hop's proof covers.
func requestURI(u *url.URL) string {
	if u.RawQuery == "" {
		return u.EscapedPath()
	}
	return u.EscapedPath() + "?" + u.RawQuery
}

// brief tells the local application what the gateway has found out.
func (ex *exchange) brief(h http.Header) {
	ex.tell(func(name string, values []string) { h[name] = values })
}

// tell yields the headers for that, of which requests have none before.
func (ex *exchange) tell(yield func(name string, values []string)) {
	home := ex.target.home
	if ex.key != "" && (home || ex.target.peer == "" && !ex.flow.home) {
		yield(HeaderKey, []string{ex.key})
	}
	if home { // the fencing token (R11)
		yield(HeaderSlot, ex.snap.router.slotValue(ex.slot))
		yield(HeaderEpoch, ex.snap.router.epochValue)
		yield(HeaderOwner, ex.snap.router.ownerValue)
	}
}

// answer cleans the response of an attempt and marks where it comes from. An error discards it.
func (ex *exchange) answer(resp *http.Response) error {
	if ex.passage != nil {
		ex.passed(resp.Header)
	}
	if ex.target.peer != "" {
		return ex.answerOfPeer(resp)
	}
	tidyTrailers(resp)
	miss := (ex.target.again || ex.target.staleMiss) && missed(resp, ex.safe)
	if miss && ex.target.again && ex.bodyKept() {
		ex.asking.keep(resp)
		return errMiss
	}
	if ex.hop == nil {
		stripReserved(resp.Header)
	} else {
		stripReserved(resp.Header, HeaderMiss)
		resp.Header[HeaderAnswered] = []string{ex.snap.router.cfg.Region}
	}
	ex.stampAnswer(resp.Header)
	if ex.target.stale || miss {
		resp.Header.Set(HeaderStale, "true")
	}
	return nil
}

// answerOfPeer does that for the answer of another region's gateway, or of its application.
func (ex *exchange) answerOfPeer(resp *http.Response) error {
	if ex.overtaken(resp) {
		return errOvertaken
	}
	if ex.target.again {
		if err := ex.asking.accept(resp, ex.target.peer); err != nil {
			return err
		}
	}
	if ex.target.origin {
		if err := ex.acceptOrigin(resp); err != nil {
			return err
		}
	}
	if resp.Header.Get(HeaderAnswered) == "" {
		tidyTrailers(resp, ownTrailers...) // its gateway's own
	} else {
		tidyTrailers(resp)
	}
	stripReserved(resp.Header, HeaderStale, HeaderSource, HeaderRegenerate)
	resp.Header.Set(HeaderSource, ex.target.peer)
	return nil
}

// notSent reports whether an attempt failed before a connection was there, so that nothing can
// have been carried out.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || notAuthenticated(err)
}
