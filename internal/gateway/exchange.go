package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"multiactive.dev/operator/internal/ownership"
)

// Outcomes of a request, as the metrics have them.
const (
	// OutcomeLocal: answered by the local application as an any-region request.
	OutcomeLocal = "local"
	// OutcomeHome: answered by the local application as the owner's.
	OutcomeHome = "home"
	// OutcomeStale: answered from the local copy while the home cannot answer.
	OutcomeStale = "stale"
	// OutcomeForwarded: answered by the owner's region.
	OutcomeForwarded = "forwarded"
	// OutcomeSecondRead: answered by the region that knows more, for the local application had a miss.
	OutcomeSecondRead = "second-read"
	// OutcomeFallback: answered by another region, for the local application cannot be reached.
	OutcomeFallback = "fallback"
	// OutcomeDeferred: kept for later.
	OutcomeDeferred = "deferred"
	// OutcomeInvalid: refused for a fault of the request.
	OutcomeInvalid = "invalid"
	// OutcomeRefused: refused for the state of the service.
	OutcomeRefused = "refused"
	// OutcomeFailed: no answer from where the request was sent.
	OutcomeFailed = "failed"
	// OutcomeAborted: the caller has gone, or the answer broke off.
	OutcomeAborted = "aborted"
)

// exchange is one request on its way through the gateway.
type exchange struct {
	g     *Gateway
	w     *responseWriter
	r     *http.Request
	body  *requestBody
	start time.Time

	snap *snapshot
	// peer is the region whose gateway has proven itself on the connection; empty on the users' port.
	peer string
	hop  *hop
	// host that the user asked for.
	host string
	safe bool
	flow *flow
	// pattern that the path matches; nil: none.
	pattern *pattern
	key     string
	slot    int
	// slotted is set when slot is that of the flow's partition key.
	slotted bool
	// readSlot is the slot whose owner may know more than the local application; noSlot: nobody is asked.
	readSlot int
	// session is that of the request's token, fetched what its origin said, awaited ends the wait for it.
	session presented
	fetched *fetched
	awaited func() bool
	// again is set when the request can be read again at the owner of readSlot.
	again bool
	// asking is the second read, once the local application had a miss.
	asking *secondReading

	// held is set while the request has to wait for an owner, waited once it has waited for as long as it may.
	held   *hold
	waited bool
	// atLeast is the least epoch to decide by: a peer has refused the request by a newer view than ours.
	atLeast int64

	target  target
	err     error
	problem *problem
	outcome string
	// admitted home requests are counted until they end.
	admitted bool
	// affected by an outage or a change of owners.
	affected bool
	id       string
	// span is nil without a tracer.
	span trace.Span
	// passage is set when the request was deferred and is being carried out.
	passage *passage
}

// instance names this occurrence.
func (ex *exchange) instance() string {
	if ex.id == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		ex.id = "urn:multiactive:request:" + hex.EncodeToString(b[:])
	}
	return ex.id
}

// serve answers the request.
func (ex *exchange) serve() {
	if ex.snap = ex.g.state.load(); ex.snap == nil {
		ex.reject(OutcomeRefused, problemOf(ReasonNotConfigured, "this gateway has not had its routing from the region's agent yet; try again"))
		return
	}
	if p := ex.identify(); p != nil {
		ex.reject(OutcomeInvalid, p)
		return
	}
	defer func() { ex.held.release() }()
	for again := true; again; {
		d, p := ex.decide()
		if p != nil {
			ex.reject(OutcomeInvalid, p)
			return
		}
		again = ex.carryOut(d)
	}
}

// identify checks where the request comes from and finds its flow.
func (ex *exchange) identify() *problem {
	r := ex.r
	if lists, is := r.Header["Connection"]; is {
		dropListed(r.Header, lists)
	}
	if p := ex.verifyHop(); p != nil {
		return p
	}
	if ex.hop == nil { // the peer has looked, and the header has grown on the way
		if p := checkHeader(r, ex.g.options.MaxHeaderBytes); p != nil {
			return p
		}
	}
	if p := ex.receive(); p != nil {
		return p
	}
	if p := ex.tidy(); p != nil {
		return p
	}
	if r.Method == http.MethodConnect {
		return problemOf(ReasonMethodNotAllowed, "this gateway is no proxy for other hosts")
	}
	ex.safe = isSafe(r)
	m, err := ex.snap.router.matcher.findRequest(r, ex.host)
	if err != nil {
		return problemOf(ReasonAmbiguousPath, "%s", err)
	}
	if ex.snap.router.internal(r.URL) {
		return problemOf(ReasonNotFound, "only gateways of this service may ask for this path")
	}
	if p := ex.overridden(m); p != nil {
		return p
	}
	return ex.assign(m)
}

// verifyHop checks whether another gateway of the service forwarded the request.
func (ex *exchange) verifyHop() *problem {
	r, cfg := ex.r, ex.snap.router.cfg
	ex.host = r.Host
	proof := r.Header[HeaderHop]
	switch {
	case len(proof) == 0:
		return nil // a peer's has one: handle looks
	case ex.peer == "" && cfg.PlainHopsRefused:
		return problemOf(ReasonHopRefused, "the service's gateways here take forwarded requests over mutual TLS alone, at the region's peerEndpoint")
	}
	h, err := verifyHop(proof[0], cfg.PeerKey, cfg.UID, cfg.Region, r.Method, requestURI(r.URL))
	if err != nil || len(proof) > 1 || ex.peer != "" && h.from != ex.peer {
		return problemOf(ReasonHopRefused, "%s", errHop)
	}
	ex.hop, ex.host = h, h.host
	return nil
}

// assign finds the flow of a match, and its slot when that matters.
func (ex *exchange) assign(m match) *problem {
	ex.flow, ex.pattern = ex.snap.router.flowOf(m, ex.safe), m.pattern
	ex.again, ex.slotted, ex.key, ex.readSlot = false, false, "", noSlot
	if ex.flow.reject || ex.flow.shed {
		return nil
	}
	if p := ex.readToken(); p != nil {
		return p
	}
	if !ex.flow.home {
		return ex.lookForSlot(m)
	}
	return ex.findSlot(m)
}

// findSlot reads the key of a home request and hashes it.
func (ex *exchange) findSlot(m match) *problem {
	f := ex.flow
	if f.pinned != 0 {
		ex.slot = f.pinned
		return nil
	}
	if f.key == nil {
		return problemOf(ReasonMissingKey, "flow %s is served where its user is at home, and declares no partition key; "+
			"add a key to the flow in the MultiActiveService", f.name)
	}
	if ex.passage != nil {
		ex.key = ex.passage.Key
		ex.slot = ownership.Slot(ex.key)
		return nil
	}
	parts := requestParts{header: ex.r.Header, url: ex.r.URL, match: m}
	if f.key.needsBody {
		var p *problem
		if parts.body, p = bufferBody(ex.r, ex.g.options.KeyBodyBytes); p != nil {
			return p
		}
	}
	if p := ex.takeSlot(&parts); p != nil {
		return p
	}
	if !ex.slotted {
		return f.key.missing()
	}
	return nil
}

// takeSlot reads the flow's key, and the slot that the request's session is stamped with: they must agree.
func (ex *exchange) takeSlot(parts *requestParts) *problem {
	k := ex.flow.key
	stamped, ok := ex.session.slotFor(k)
	var found bool
	var p *problem
	if ex.key, found, p = k.find(parts); p != nil {
		return p
	}
	switch ex.slotted = found || ok; {
	case !found:
		ex.slot = stamped
	case ok && ownership.Slot(ex.key) != stamped:
		return problemOf(ReasonConflictingKeys, "partition key %s: the session is another user's; log in as the user that the request is about", k.name)
	default:
		ex.slot = ownership.Slot(ex.key)
	}
	return nil
}

// decide routes the request, and waits for an owner when one is to come soon. A home request is admitted
// before it is sent, by the snapshot that it was decided by.
func (ex *exchange) decide() (decision, *problem) {
	q := question{safe: ex.safe, hop: ex.hop, deferrable: ex.deferrable()}
	for {
		if p := ex.refresh(); p != nil {
			return decision{}, p
		}
		q.flow, q.slot, q.waited = ex.flow, ex.slot, ex.waited
		q.leased = ex.snap.leased(ex.g.options.Clock.Boot())
		d := ex.snap.router.decide(q)
		if ex.snap.router.cfg.Epoch < ex.atLeast && !ex.waited {
			d.action = actWait // for the view that the peer has
		}
		switch d.action {
		case actHome:
			if ex.admitted = ex.g.state.admit(ex.snap, ex.slot); ex.admitted {
				return d, nil
			}
		case actWait:
			if ex.held == nil {
				ex.held = ex.g.hold()
			}
			ex.waited = !ex.held.wait(ex.r.Context(), ex.snap.replaced)
		default:
			return d, nil
		}
	}
}

// refresh takes up the current configuration: reading the body or waiting may have taken long. A
// new one may read the request differently, so flow and slot are found again. The hop was verified.
func (ex *exchange) refresh() *problem {
	old := ex.snap
	if ex.snap = ex.g.state.load(); ex.snap.router == old.router {
		return nil
	}
	m, err := ex.snap.router.matcher.findRequest(ex.r, ex.host)
	if err != nil {
		return problemOf(ReasonAmbiguousPath, "%s", err)
	}
	return ex.assign(m)
}

// carryOut does what was decided, and reports whether to decide again: nothing was sent to an application
// then.
func (ex *exchange) carryOut(d decision) bool {
	router := ex.snap.router
	local := target{url: router.upstream}
	ctx := ex.r.Context()
	if ex.readsOrigin(d) {
		return ex.readOrigin(ctx)
	}
	switch d.action {
	case actHome:
		ctx, release := watch(ctx, ex.g.options.Clock, &ex.g.state, ex.snap, ex.slot)
		defer release()
		local.home = true
		ex.settle(OutcomeHome, ex.send(ctx, local))
	case actStale:
		ex.serveStale(ctx)
	case actForward:
		return ex.forward(ctx, d.region)
	case actLocal:
		ex.serveAny(ctx, local)
	case actDefer:
		ex.deferRequest(d.reason)
	case actRefuse, actWait:
		outcome := OutcomeRefused
		if d.reason == ReasonUnmatched {
			outcome = OutcomeInvalid
		}
		if ex.hop != nil {
			ex.w.Header().Set(HeaderRefused, strconv.FormatInt(router.cfg.Epoch, 10))
		}
		ex.reject(outcome, ex.explain(d))
	}
	return false
}

// reject refuses the request.
func (ex *exchange) reject(outcome string, p *problem) {
	ex.outcome = outcome
	ex.affected = ex.affected || reasons[p.reason].affected
	if ex.passage != nil && ex.hop != nil {
		ex.tellUnsent(p)
	}
	ex.refuse(p)
}
