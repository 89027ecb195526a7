package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// OwnPrefix of the gateway's own pages; such requests never reach the application.
const OwnPrefix = "/.multiactive/"

// Gateway is one gateway process. It is an http.Handler for users' requests.
type Gateway struct {
	options Options
	state   state
	proxy   *httputil.ReverseProxy
	// transports are those of proxy.
	transports *transports
	// identity is what peers are shown.
	identity *peerIdentity
	metrics  *metrics
	// tracer is nil when nobody wants traces.
	tracer trace.Tracer
	app    appCheck
	// deferrals is nil when nothing can be kept for later.
	deferrals *deferrals
	inFlight  atomic.Int64
	// usual counts the requests that were answered as usual.
	usual atomic.Int64
	// held requests wait for an owner.
	held        atomic.Int64
	connections connections
	draining    atomic.Bool
	fast        fastCounts
}

// New returns a gateway that serves nothing before Run has had a configuration.
func New(options Options) (*Gateway, error) {
	if err := options.complete(); err != nil {
		return nil, fmt.Errorf("gateway options: %w", err)
	}
	g := &Gateway{options: options, state: state{settled: make(chan struct{}, 1)}, app: appCheck{clock: options.Clock}}
	g.identity = newPeerIdentity(g)
	g.transports = newTransports(g)
	g.proxy = newProxy(&g.options, g.transports)
	g.metrics = newMetrics(g)
	g.tracer = newTracer(g.options.TracerProvider)
	if log := g.options.Deferred; log != nil {
		g.deferrals = newDeferrals(g, log)
	}
	return g, nil
}

// Run keeps configuration and lease current until ctx ends. Stop it only when the last request
// has ended: home requests end with the lease.
func (g *Gateway) Run(ctx context.Context) {
	transport := &http.Transport{IdleConnTimeout: idleConnTimeout, MaxIdleConnsPerHost: 2}
	defer transport.CloseIdleConnections()
	client := &agentClient{
		options: &g.options, state: &g.state, metrics: g.metrics, peers: g.peersTaken, lost: g.transports.forgetPeers,
		client: &http.Client{Transport: transport, CheckRedirect: noRedirect},
	}
	var background sync.WaitGroup
	defer background.Wait()
	if g.deferrals != nil {
		client.backlog = g.deferrals.backlog
		background.Go(func() { g.deferrals.run(ctx) })
	}
	background.Go(func() { g.identity.run(ctx) })
	client.run(ctx)
}

// noRedirect keeps the agent from sending the gateway elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Drain makes the gateway not ready, so that nobody sends new requests; those that come are
// still served.
func (g *Gateway) Drain() { g.draining.Store(true) }

// noRouting is why a gateway cannot serve anything.
const noRouting = "no routing from the region's agent yet"

// Ready reports whether the gateway can serve requests, and why not.
func (g *Gateway) Ready() (bool, string) {
	switch {
	case g.draining.Load():
		return false, "the gateway is shutting down"
	case g.state.load() == nil:
		return false, noRouting
	}
	return true, ""
}

// InFlight is the number of requests under way, upgraded connections included.
func (g *Gateway) InFlight() int64 { return g.inFlight.Load() }

// leaseRemaining is how long home writes may still be accepted.
func (g *Gateway) leaseRemaining() time.Duration {
	snap := g.state.load()
	if snap == nil {
		return 0
	}
	return max(snap.leaseUntil-g.options.Clock.Boot(), 0)
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handle(w, r, "") }

// handle answers a request of a user, or one that came over mutual TLS from the gateway of a region.
func (g *Gateway) handle(w http.ResponseWriter, r *http.Request, peer string) {
	conn := &connection{clock: g.options.Clock, ctl: http.NewResponseController(w), always: r.ProtoMajor > 1}
	defer conn.end(g.options.IOTimeout)
	defer g.recover()
	ex := &exchange{
		g: g, r: r, peer: peer, start: g.options.Clock.Now(), outcome: OutcomeAborted,
		w: &responseWriter{ResponseWriter: w, conn: conn, pace: g.pace(r)},
	}
	tooLarge := ex.boundBody(conn)
	if peer != "" && len(r.Header[HeaderHop]) == 0 {
		ex.refuse(problemOf(ReasonHopRefused, "this port is for requests that another gateway of the service forwards"))
		return
	}
	if strings.HasPrefix(r.URL.Path, OwnPrefix) {
		ex.serveOwn()
		return
	}
	defer ex.finish()
	ex.traced()
	if g.inFlight.Add(1); g.inFlight.Load() > g.options.MaxInFlight {
		ex.reject(OutcomeRefused, problemOf(ReasonOverloaded, "this gateway has %d requests under way, which is its limit; try again",
			g.options.MaxInFlight))
		return
	}
	if tooLarge != nil {
		ex.reject(OutcomeInvalid, tooLarge)
		return
	}
	ex.serve()
}

// recover logs a flaw that a request has met, and ends the request: net/http would tell of it at level debug alone.
func (g *Gateway) recover() {
	flaw := recover()
	switch flaw {
	case nil:
		return
	case http.ErrAbortHandler: // no flaw
	default:
		g.logFlaw(flaw)
	}
	panic(http.ErrAbortHandler)
}

func (g *Gateway) logFlaw(flaw any) {
	g.options.Log.Error("a request met a flaw of the gateway", slog.Any("panic", flaw), slog.String("stack", string(debug.Stack())))
}

// loggedPath is the path without what may be a key in it, as far as it is known what is one.
func (ex *exchange) loggedPath() string {
	switch {
	case ex.flow == nil:
		return ""
	case ex.pattern != nil && !ex.pattern.literal:
		return ex.pattern.path
	default:
		return ex.r.URL.Path
	}
}

// boundBody puts the limits on the request's body.
func (ex *exchange) boundBody(conn *connection) *problem {
	r, limit := ex.r, ex.g.options.MaxBodyBytes
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	pace := ex.g.pace(r)
	if isGRPC(r) {
		limit, pace.idle = -1, 0 // streams may last and grow for days, with long pauses
	}
	ex.body = &requestBody{body: r.Body, request: r, conn: conn, pace: pace, left: limit, expected: r.Header.Get("Expect") != ""}
	r.Body = ex.body
	if limit >= 0 && r.ContentLength > limit {
		return problemOf(ReasonBodyTooLarge, "this gateway takes at most %d bytes", limit)
	}
	return nil
}

// pace is how fast a client has to be. Streams of gRPC have no least rate: they may have nothing to say.
func (g *Gateway) pace(r *http.Request) pace {
	p := pace{clock: g.options.Clock, idle: g.options.IOTimeout, rate: g.options.MinRate}
	if isGRPC(r) {
		p.rate = 0
	}
	return p
}

// finish counts and logs the request, also when its answer broke off. It is in flight until that is done.
func (ex *exchange) finish() {
	defer ex.g.inFlight.Add(-1)
	if ex.admitted {
		ex.g.state.ended(ex.snap, ex.slot)
	}
	took := ex.g.options.Clock.Now().Sub(ex.start)
	ex.g.metrics.observe(ex, took)
	ex.endTrace()
	if ex.problem != nil && ex.outcome == OutcomeFailed {
		ex.g.options.Log.Warn("no answer", slog.String("instance", ex.instance()), slog.String("flow", ex.flow.name),
			slog.String("peer", ex.target.peer), slog.String("reason", string(ex.problem.reason)), slog.Any("error", ex.err))
	}
	if ex.g.options.AccessLog && ex.worthLogging() {
		ex.logAccess(took)
	}
}

// worthLogging reports whether the access log has the request: all that is not as usual, and some of the rest.
func (ex *exchange) worthLogging() bool {
	usual := ex.problem == nil && !ex.affected && ex.outcome != OutcomeAborted && ex.w.status < http.StatusInternalServerError
	return !usual || (ex.g.usual.Add(1)-1)%ex.g.options.AccessLogEvery == 0
}

func (ex *exchange) logAccess(took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", ex.r.Method), slog.String("path", ex.loggedPath()), slog.String("protocol", ex.r.Proto),
		slog.Int("status", ex.w.status), slog.String("outcome", ex.outcome), slog.Duration("took", took),
		slog.String("remote", ex.r.RemoteAddr),
	}
	if ex.flow != nil {
		attrs = append(attrs, slog.String("flow", ex.flow.name))
	}
	if ex.key != "" {
		attrs = append(attrs, slog.Int("slot", ex.slot))
	}
	if ex.target.peer != "" {
		attrs = append(attrs, slog.String("peer", ex.target.peer))
	}
	if ex.problem != nil {
		attrs = append(attrs, slog.String("reason", string(ex.problem.reason)), slog.String("instance", ex.instance()))
	}
	if id := ex.traceID(); id != "" {
		attrs = append(attrs, slog.String("trace", id))
	}
	ex.g.options.Log.LogAttrs(ex.r.Context(), slog.LevelInfo, "request", attrs...)
}
