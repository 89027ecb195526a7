package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// maxSessionBytes bounds a session that is handed to the application in a header, before base64.
const maxSessionBytes = 4 << 10

// originPage is the gateway's own page where another gateway asks for a session.
const originPage = OwnPrefix + "session"

// Parameters of originPage.
const (
	paramClass = "class"
	paramToken = "token"
)

// sessionProof stands for a token in the address of originPage, which the hop's proof covers: whoever has seen a hop
// cannot ask for another session by it.
func sessionProof(cfg *routing.Config, class, raw string) string {
	return base64.RawURLEncoding.EncodeToString(macOf(cfg.PeerKey, "multiactive session read v1", cfg.UID, class, raw))
}

var (
	errOriginLost     = errors.New("the origin is lost, or nobody says how to reach it")
	errOriginFailed   = errors.New("the origin's application gave no answer")
	errSessionTooLong = fmt.Errorf("the session is longer than %d bytes", maxSessionBytes)
)

// fetched is what the origin said of a token.
type fetched struct {
	token, region string
	// document is base64; empty: the origin has no such session.
	document string
}

// readsOrigin reports whether a request, before it is sent to the local application, has to be read at the
// region that has its session. Requests that are forwarded go with their token as it is.
func (ex *exchange) readsOrigin(d decision) bool {
	p := &ex.session
	if p.session == nil || p.origin == ex.snap.router.self || d.action != actLocal && d.action != actHome && d.action != actStale {
		return false
	}
	if p.session.forwards() {
		// A home request has to be served here, and one that was forwarded is not forwarded again.
		return d.action == actLocal && ex.hop == nil
	}
	return ex.fetched == nil || ex.fetched.token != p.token
}

// readOrigin reads a session at its origin, and reports whether to decide the request now that it is here.
// It takes time, so the request is admitted anew after it.
func (ex *exchange) readOrigin(ctx context.Context) bool {
	if ex.admitted {
		ex.g.state.ended(ex.snap, ex.slot)
		ex.admitted = false
	}
	p := &ex.session
	origin, err := ex.snap.router.origin(p.origin)
	if err == nil && p.session.forwards() {
		ex.forwardToOrigin(ctx, origin)
		return false
	}
	if err == nil {
		ex.fetched, err = ex.fetchSession(ctx, origin)
	}
	if err == nil {
		return true
	}
	ex.err = err
	if ctx.Err() != nil {
		ex.settle(OutcomeFailed, err)
		return false
	}
	ex.originLost()
	return false
}

// origin returns the region that has a session, if it can be asked.
func (r *Router) origin(i int) (*region, error) {
	if i == noRegion || r.regions[i].State == ownership.RegionLost || r.regions[i].endpoint == nil || !r.mayForward() {
		return nil, errOriginLost
	}
	return &r.regions[i], nil
}

// originLost refuses a request whose session is somewhere that cannot be asked.
func (ex *exchange) originLost() {
	p := &ex.session
	if !p.session.Regenerate {
		out := problemOf(ReasonOriginUnreachable, "the session is in a region that cannot be asked now; try again")
		out.region = p.region
		ex.reject(OutcomeRefused, out)
		return
	}
	out := problemOf(ReasonRegenerate, "the session is in a region that cannot be asked now; log in again, and go on here")
	out.region, out.regenerate = p.region, p.session.Class
	ex.reject(OutcomeRefused, out)
}

// forwardToOrigin sends the whole request to the region that has its session. What may have been carried
// out there is not called lost.
func (ex *exchange) forwardToOrigin(ctx context.Context, origin *region) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if ex.safe {
		disarm := ex.g.options.Clock.AfterFunc(ex.session.session.Timeout, cancel)
		defer disarm()
		ex.awaited = disarm
	}
	ex.recordBody()
	to := origin.target()
	to.origin = true
	err := ex.send(ctx, to)
	switch {
	case err == nil || ex.r.Context().Err() != nil:
		ex.settle(OutcomeForwarded, err)
	case errors.Is(err, errOriginFailed) || notSent(err) || ex.safe:
		ex.originLost()
	default:
		ex.settle(OutcomeForwarded, err)
	}
}

// acceptOrigin judges the origin's answer to a forwarded request. A refusal of its gateway tells nothing of
// the session, if nothing was carried out.
func (ex *exchange) acceptOrigin(resp *http.Response) error {
	if ex.awaited != nil && !ex.awaited() {
		return context.DeadlineExceeded
	}
	byApplication := resp.Header.Get(HeaderAnswered) == ex.target.peer
	if !byApplication && resp.StatusCode >= http.StatusInternalServerError && (ex.safe || resp.Header.Get(HeaderRefused) != "") {
		return errOriginFailed
	}
	return nil
}

// fetchSession asks the origin's gateway for a session.
func (ex *exchange) fetchSession(ctx context.Context, origin *region) (*fetched, error) {
	p, cfg := &ex.session, ex.snap.router.cfg
	ctx, cancel := context.WithTimeout(ctx, p.session.Timeout)
	defer cancel()
	u := origin.endpoint.JoinPath(originPage)
	u.RawQuery = url.Values{paramClass: {p.session.Class}, paramToken: {sessionProof(cfg, p.session.Class, p.raw)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	p.session.put(req.Header, p.raw)
	proof := hop{from: cfg.Region, to: origin.Name, epoch: cfg.Epoch, nonce: newNonce(), host: ex.host}
	req.Header.Set(HeaderHop, proof.sign(cfg.PeerKey, cfg.UID, req.Method, originPage+"?"+u.RawQuery))
	resp, err := ex.g.transports.to(origin.Name, origin.mutual, false).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to do with it
	out := &fetched{token: p.token, region: origin.Name}
	switch {
	case resp.Header.Get(HeaderAnswered) != origin.Name:
		return nil, errOriginFailed
	case resp.StatusCode == http.StatusOK:
		body, err := readSession(resp.Body)
		out.document = base64.StdEncoding.EncodeToString(body)
		return out, err
	case resp.StatusCode == http.StatusNotFound:
		return out, nil
	default:
		return nil, errOriginFailed
	}
}

// readSession reads a session, if it is short enough.
func readSession(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxSessionBytes+1))
	if err == nil && len(body) > maxSessionBytes {
		err = errSessionTooLong
	}
	return body, err
}

// put sets a request's token.
func (s *session) put(h http.Header, raw string) {
	if s.Header != "" {
		h.Set(s.Header, raw)
		return
	}
	h.Set("Cookie", s.Cookie+"="+raw)
}

// present gives the local application the session that was read elsewhere.
func (ex *exchange) present(h http.Header) {
	ex.stripStamps(h)
	if f := ex.fetched; f != nil && f.token == ex.session.token && f.document != "" {
		h[HeaderSession] = []string{f.document}
		h[HeaderSessionOrigin] = []string{f.region}
	}
}
