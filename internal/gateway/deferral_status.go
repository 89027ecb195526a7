package gateway

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"multiactive.dev/operator/internal/deferred"
)

// DeferredPrefix and a request's ID are its status page.
const DeferredPrefix = OwnPrefix + "deferred/"

const (
	// statusTimeout bounds the question to another region.
	statusTimeout = 5 * time.Second
	// maxStatusBytes bounds its answer.
	maxStatusBytes = 16 << 10
)

// DeferredStatus is the answer of the status page, and of a request that was deferred. It has nothing of
// the request itself: whoever has the ID may see it.
type DeferredStatus struct {
	ID   string `json:"id"`
	Flow string `json:"flow"`
	// State is Pending, Executed, Refused or Expired.
	State      deferred.State `json:"state"`
	AcceptedAt time.Time      `json:"acceptedAt"`
	// ExpiresAt is when the request is not carried out any more.
	ExpiresAt time.Time  `json:"expiresAt"`
	DecidedAt *time.Time `json:"decidedAt,omitempty"`
	// Status that the application answered with.
	Status int    `json:"status,omitempty"`
	Why    string `json:"why,omitempty"`
	// MayHaveBeenExecuted of an expired request: it was sent to the application, which did not answer.
	MayHaveBeenExecuted bool `json:"mayHaveBeenExecuted,omitempty"`
}

func statusOf(e *deferred.Entry) DeferredStatus {
	s := DeferredStatus{
		ID: e.ID, Flow: e.Flow, State: e.State, AcceptedAt: e.AcceptedAt, ExpiresAt: e.ExpiresAt, Status: e.Status, Why: e.Why,
		MayHaveBeenExecuted: e.Unknown,
	}
	if !e.DecidedAt.IsZero() {
		s.DecidedAt = &e.DecidedAt
	}
	return s
}

// serveDeferred answers the status page.
func (ex *exchange) serveDeferred(id string) {
	region, _, _ := strings.Cut(id, ".")
	d := ex.g.deferrals
	switch {
	case ex.snap == nil:
		ex.refuse(problemOf(ReasonNotConfigured, "this gateway has not had its routing from the region's agent yet; try again"))
		return
	case region != ex.snap.router.cfg.Region:
		ex.askForStatus(region, id)
		return
	case d == nil:
		ex.refuse(problemOf(ReasonNotFound, "this service keeps no requests for later in this region"))
		return
	}
	e, ok := d.get(id)
	switch {
	case ok:
		writeJSON(ex.w, http.StatusOK, statusOf(&e))
	case !d.isCurrent():
		ex.refuse(problemOf(ReasonDeferralUnavailable, "this gateway is still reading the requests that wait; try again"))
	default:
		ex.refuse(problemOf(ReasonNotFound, "no deferred request has this ID, or its outcome is not kept any more"))
	}
}

// deferralIDs is what an ID looks like: a region, and letters that stand for nothing.
var deferralIDs = regexp.MustCompile(`^[a-z0-9-]{1,63}\.[a-z0-9]{1,64}$`)

func (d *deferrals) isCurrent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// askForStatus asks the region that keeps the request, once: endpoints may lead here by mistake.
func (ex *exchange) askForStatus(name, id string) {
	router := ex.snap.router
	i := router.index(name)
	if i == noRegion || router.regions[i].endpoint == nil || ex.g.deferrals == nil || len(ex.r.Header[HeaderHop]) > 0 || !deferralIDs.MatchString(id) {
		ex.refuse(problemOf(ReasonNotFound, "no deferred request has this ID, or its outcome is not kept any more"))
		return
	}
	leave, ok := ex.enter()
	defer leave()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ex.r.Context(), statusTimeout)
	defer cancel()
	peer := &router.regions[i]
	path := DeferredPrefix + id
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peer.endpoint.JoinPath(path).String(), nil)
	if err != nil {
		ex.refuse(problemOf(ReasonNotFound, "no deferred request has this ID"))
		return
	}
	proof := hop{from: router.cfg.Region, to: peer.Name, epoch: router.cfg.Epoch, nonce: newNonce(), host: ex.r.Host}
	req.Header.Set(HeaderHop, proof.sign(router.cfg.PeerKey, router.cfg.UID, req.Method, path))
	req.Header["Accept-Language"] = ex.r.Header["Accept-Language"]
	resp, err := ex.g.transports.to(peer.Name, peer.mutual, false).RoundTrip(req)
	if err != nil {
		p := problemOf(ReasonOwnerUnreachable, "region %s keeps this request and cannot be reached; the request goes on waiting there; try again", peer.Name)
		p.region = peer.Name
		ex.refuse(p)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	h := ex.w.Header()
	h["Content-Type"] = resp.Header["Content-Type"]
	h.Set("Cache-Control", "no-store")
	h.Set(HeaderSource, peer.Name)
	ex.w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(ex.w, io.LimitReader(resp.Body, maxStatusBytes)) // the caller may have gone
}
