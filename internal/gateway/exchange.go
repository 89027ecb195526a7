package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

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
	// OutcomeFallback: answered by another region, for the local application cannot be reached.
	OutcomeFallback = "fallback"
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
	hop  *hop
	// host that the user asked for.
	host string
	safe bool
	flow *flow
	key  string
	slot int

	target  target
	err     error
	problem *problem
	outcome string
	// affected by an outage or a change of owners.
	affected bool
	id       string
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
	d, p := ex.decide()
	if p != nil {
		ex.reject(OutcomeInvalid, p)
		return
	}
	ex.carryOut(d)
}

// identify checks where the request comes from and finds its flow.
func (ex *exchange) identify() *problem {
	r, cfg := ex.r, ex.snap.router.cfg
	ex.host = r.Host
	if proof := r.Header[HeaderHop]; len(proof) > 0 {
		h, err := verifyHop(proof[0], cfg.PeerKey, cfg.UID, cfg.Region, r.Method, requestURI(r.URL))
		if err != nil || len(proof) > 1 {
			return problemOf(ReasonHopRefused, "%s", errHop)
		}
		ex.hop, ex.host = h, h.host
	}
	stripReserved(r.Header)
	stripReserved(r.Trailer)
	if r.Method == http.MethodConnect {
		return problemOf(ReasonMethodNotAllowed, "this gateway is no proxy for other hosts")
	}
	ex.safe = isSafe(r)
	m, err := ex.snap.router.matcher.findRequest(r, ex.host)
	if err != nil {
		return problemOf(ReasonAmbiguousPath, "%s", err)
	}
	ex.flow = ex.snap.router.flowOf(m, ex.safe)
	if ex.flow.reject || ex.flow.shed || !ex.flow.home {
		return nil
	}
	return ex.findSlot(m)
}

// findSlot reads the key of a home request and hashes it.
func (ex *exchange) findSlot(m match) *problem {
	f := ex.flow
	if f.pinned != noRegion {
		ex.slot = pinnedSlot
		return nil
	}
	if f.key == nil {
		return problemOf(ReasonMissingKey, "flow %s is served where its user is at home, and declares no partition key; "+
			"add a key to the flow in the MultiActiveService", f.name)
	}
	parts := requestParts{header: ex.r.Header, url: ex.r.URL, match: m}
	if f.key.needsBody {
		var p *problem
		if parts.body, p = bufferBody(ex.r, ex.g.options.KeyBodyBytes); p != nil {
			return p
		}
	}
	var p *problem
	if ex.key, p = f.key.extract(&parts); p != nil {
		return p
	}
	ex.slot = ownership.Slot(ex.key)
	return nil
}

// decide routes the request, and waits for an owner when one is to come soon. A configuration
// that came meanwhile may read the request differently, so it is asked again from the start.
func (ex *exchange) decide() (decision, *problem) {
	q := question{flow: ex.flow, slot: ex.slot, safe: ex.safe, hop: ex.hop, leased: ex.snap.leased(ex.g.options.Clock.Boot())}
	d := ex.snap.router.decide(q)
	if d.action != actWait {
		return d, nil
	}
	timeout, stop := after(ex.g.options.Clock, ex.g.options.OwnerWait)
	defer stop()
	for {
		select {
		case <-ex.snap.replaced:
		case <-timeout:
			q.waited = true
		case <-ex.r.Context().Done():
			q.waited = true
		}
		ex.snap = ex.g.state.load()
		if p := ex.reidentify(); p != nil {
			return decision{}, p
		}
		q.flow, q.slot = ex.flow, ex.slot
		q.leased = ex.snap.leased(ex.g.options.Clock.Boot())
		if d = ex.snap.router.decide(q); d.action != actWait {
			return d, nil
		}
	}
}

// reidentify finds flow and slot again under another configuration. The hop was verified.
func (ex *exchange) reidentify() *problem {
	m, err := ex.snap.router.matcher.findRequest(ex.r, ex.host)
	if err != nil {
		return problemOf(ReasonAmbiguousPath, "%s", err)
	}
	ex.flow = ex.snap.router.flowOf(m, ex.safe)
	if ex.flow.reject || ex.flow.shed || !ex.flow.home {
		return nil
	}
	return ex.findSlot(m)
}

// carryOut does what was decided.
func (ex *exchange) carryOut(d decision) {
	router := ex.snap.router
	local := target{url: router.upstream}
	ctx := ex.r.Context()
	switch d.action {
	case actHome:
		ctx, release := watch(ctx, ex.g.options.Clock, &ex.g.state, ex.snap, ex.slot)
		defer release()
		local.home = true
		ex.settle(OutcomeHome, ex.send(ctx, local))
	case actStale:
		ex.serveStale(ctx)
	case actForward:
		ex.forward(ctx, d.region)
	case actLocal:
		ex.serveAny(ctx, local)
	case actRefuse, actWait:
		outcome := OutcomeRefused
		if d.reason == ReasonUnmatched {
			outcome = OutcomeInvalid
		}
		ex.reject(outcome, ex.explain(d))
	}
}

func (ex *exchange) serveStale(ctx context.Context) {
	ex.affected = true
	ex.settle(OutcomeStale, ex.send(ctx, target{url: ex.snap.router.upstream, stale: true}))
}

// serveAny sends a request to the local application, and to the next serving region when that
// cannot be reached and nothing can have been carried out twice.
func (ex *exchange) serveAny(ctx context.Context, local target) {
	err := ex.send(ctx, local)
	if err == nil || ex.hop != nil || ctx.Err() != nil || !ex.repeatable(err) {
		ex.settle(OutcomeLocal, err)
		return
	}
	next := ex.snap.router.nextServing()
	if next == noRegion || !ex.snap.router.mayForward() {
		ex.settle(OutcomeLocal, err)
		return
	}
	ex.affected = true
	peer := &ex.snap.router.regions[next]
	ex.settle(OutcomeFallback, ex.send(ctx, target{url: peer.endpoint, peer: peer.Name}))
}

// repeatable reports whether a failed attempt may be repeated elsewhere: nothing was sent and the
// body is still whole, or the request is safe and has no body.
func (ex *exchange) repeatable(err error) bool {
	if ex.r.Body == nil || ex.r.Body == http.NoBody {
		return notSent(err) || ex.safe
	}
	body, ok := ex.r.Body.(interface{ reopen() bool })
	return ok && notSent(err) && body.reopen()
}

// forward sends a request to its owner, once.
func (ex *exchange) forward(ctx context.Context, owner int) {
	peer := &ex.snap.router.regions[owner]
	err := ex.send(ctx, target{url: peer.endpoint, peer: peer.Name})
	if err != nil && ctx.Err() == nil && ex.flow.readOnly && ex.safe && ex.repeatable(err) {
		ex.serveStale(ctx)
		return
	}
	ex.settle(OutcomeForwarded, err)
}

// settle notes the outcome of the last attempt and answers when it failed.
func (ex *exchange) settle(outcome string, err error) {
	if err == nil {
		ex.outcome = outcome
		return
	}
	if ex.r.Context().Err() != nil {
		// Returning would look like an empty success to whoever still listens.
		ex.outcome = OutcomeAborted
		panic(http.ErrAbortHandler)
	}
	ex.reject(OutcomeFailed, ex.failure(err))
}

// failure explains a failed attempt, and whether it may have been carried out.
func (ex *exchange) failure(err error) *problem {
	const unknown = "it is not known whether the request was carried out; look before you repeat it"
	switch peer := ex.target.peer; {
	case errors.Is(err, errBodyTooLarge):
		return problemOf(ReasonBodyTooLarge, "this gateway takes at most %d bytes", ex.g.options.MaxBodyBytes)
	case errors.Is(err, errLeaseLapsed):
		return problemOf(ReasonLeaseLapsed, "the region lost its lease while the request was under way; %s", unknown)
	case peer == "" && notSent(err):
		return problemOf(ReasonUpstreamUnreachable, "nothing was sent; try again")
	case peer == "":
		return problemOf(ReasonUpstreamFailed, "%s", unknown)
	case notSent(err):
		p := problemOf(ReasonOwnerUnreachable, "no connection to region %s; nothing was sent; try again", peer)
		p.region = peer
		return p
	default:
		p := problemOf(ReasonOwnerFailed, "no answer from region %s; %s", peer, unknown)
		p.region = peer
		return p
	}
}

// reject refuses the request.
func (ex *exchange) reject(outcome string, p *problem) {
	ex.outcome = outcome
	ex.affected = ex.affected || reasons[p.reason].affected
	ex.refuse(p)
}
