package gateway

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
)

// serveStale sends a request to the local application and marks the answer as one from a copy.
func (ex *exchange) serveStale(ctx context.Context) {
	ex.affected = true
	ex.settle(OutcomeStale, ex.send(ctx, target{url: ex.snap.router.upstream, stale: true}))
}

// serveAny sends a request to the local application, to the owner of its slot when that has a miss, and to
// the next serving region when it cannot be reached and nothing can have been carried out twice.
func (ex *exchange) serveAny(ctx context.Context, local target) {
	if err := failureBefore(ctx); err != nil {
		ex.err = err
		ex.serveOrFallBack(ctx, err)
		return
	}
	if ex.readSlot != noSlot {
		ex.serveKnown(ctx, local)
		return
	}
	ex.serveOrFallBack(ctx, ex.send(ctx, local))
}

// serveOrFallBack ends a request that was sent to the local application.
func (ex *exchange) serveOrFallBack(ctx context.Context, err error) {
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
	ex.settle(OutcomeFallback, ex.send(ctx, peer.target()))
}

// repeatable reports whether a failed attempt may be repeated elsewhere: nothing was sent and the
// body is still whole, or the request is safe and has no body.
func (ex *exchange) repeatable(err error) bool {
	if ex.r.Body == nil || ex.r.Body == http.NoBody {
		return notSent(err) || ex.safe
	}
	return notSent(err) && ex.reopen()
}

// forward sends a request to its owner. It reports true when that has refused it by a newer view than the
// one it was decided by: this region is about to have that view too, and decides again.
func (ex *exchange) forward(ctx context.Context, owner int) bool {
	peer := &ex.snap.router.regions[owner]
	ex.recordBody()
	err := ex.send(ctx, peer.target())
	if errors.Is(err, errOvertaken) {
		return true
	}
	if err != nil && ctx.Err() == nil && ex.flow.readOnly && ex.safe && ex.repeatable(err) {
		ex.serveStale(ctx)
		return false
	}
	if err != nil && ctx.Err() == nil && ex.flow.deferral != nil && ex.deferrable() && ex.repeatable(err) {
		ex.target = target{}
		ex.deferRequest(ReasonOwnerUnreachable)
		return false
	}
	ex.settle(OutcomeForwarded, err)
	return false
}

// errOvertaken is why an attempt is given up whose peer has refused the request by a newer view.
var errOvertaken = errors.New("the owner's gateway has a newer view")

// overtaken reports whether the peer has refused the request by a newer view, so that it can be decided
// again. Otherwise the refusal reaches the user as it is.
func (ex *exchange) overtaken(resp *http.Response) bool {
	if !ex.flow.home {
		return false // it was not sent there for its owner
	}
	epoch, err := strconv.ParseInt(resp.Header.Get(HeaderRefused), 10, 64)
	if err != nil || epoch <= ex.snap.router.cfg.Epoch || ex.waited || !ex.reopen() {
		return false
	}
	ex.atLeast = epoch
	return true
}

// reopen makes the request's body ready for another attempt, and reports whether it is whole.
func (ex *exchange) reopen() bool {
	if ex.r.Body == nil || ex.r.Body == http.NoBody {
		return true
	}
	if recorded, ok := ex.r.Body.(*recordedBody); ok {
		if whole, ok := recorded.whole(); ok {
			ex.r.Body = whole
			return true
		}
	}
	body, ok := ex.r.Body.(interface{ reopen() bool })
	return ok && body.reopen()
}

// settle notes the outcome of the last attempt and answers when it failed.
func (ex *exchange) settle(outcome string, err error) {
	if err == nil {
		ex.outcome = outcome
		return
	}
	fault := ex.body.failure() != nil // nobody failed but the client
	if ex.r.Context().Err() != nil && !fault {
		// Returning would look like an empty success to whoever still listens.
		ex.outcome = OutcomeAborted
		panic(http.ErrAbortHandler)
	}
	outcome = OutcomeFailed
	if fault {
		outcome = OutcomeInvalid
	}
	ex.reject(outcome, ex.failure(err))
}

// bodyFailure explains why the body did not come as a whole.
func (ex *exchange) bodyFailure() *problem {
	if errors.Is(ex.body.failure(), os.ErrDeadlineExceeded) {
		return problemOf(ReasonBodyTimeout, "the body did not come in time; what came was sent on, and broken off")
	}
	return problemOf(ReasonMalformedBody, "the body cannot be read to its end; what could was sent on, and broken off")
}

// failure explains a failed attempt, and whether it may have been carried out.
func (ex *exchange) failure(err error) *problem {
	const unknown = "it is not known whether the request was carried out; look before you repeat it"
	switch peer := ex.target.peer; {
	case errors.Is(err, errBodyTooLarge):
		return problemOf(ReasonBodyTooLarge, "this gateway takes at most %d bytes", ex.g.options.MaxBodyBytes)
	case ex.body.failure() != nil:
		return ex.bodyFailure()
	case errors.Is(err, errLeaseLapsed):
		return problemOf(ReasonLeaseLapsed, "the region lost its lease while the request was under way; %s", unknown)
	case peer == "" && notSent(err):
		return problemOf(ReasonUpstreamUnreachable, "nothing was sent; try again")
	case peer == "":
		return problemOf(ReasonUpstreamFailed, "%s", unknown)
	case notAuthenticated(err):
		p := problemOf(ReasonPeerNotAuthenticated, "no authenticated connection to region %s: %s; nothing was sent", peer, whyNotAuthenticated(err))
		p.region = peer
		return p
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
