package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/deferred"
)

// passage is a deferred request on its way to be carried out. Another region's gateway believes what it
// says, which the user's request said by headers that are not kept; so it is proven, down to the body.
type passage struct {
	// To is the region that is to carry it out.
	To      string `json:"to,omitempty"`
	ID      string `json:"id"`
	Key     string `json:"key,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Header and Value are the idempotency key.
	Header string `json:"header"`
	Value  string `json:"value"`
	// Digest of method, path with query, and body.
	Digest string `json:"digest"`

	// answered: an application has answered; unsent: a peer says that none got the request.
	answered, unsent bool
}

func passageOf(e *deferred.Entry) *passage {
	r := e.Request
	return &passage{ID: e.ID, Key: r.Key, Subject: r.Subject, Header: r.IdempotencyHeader, Value: r.IdempotencyKey, Digest: r.Digest}
}

const passageVersion = "v1"

// sign returns the header's value for a region.
func (p *passage) sign(peerKey []byte, uid, to string) string {
	signed := *p
	signed.To = to
	content, _ := json.Marshal(signed) // strings always do
	encoding := base64.RawURLEncoding
	return passageVersion + "," + encoding.EncodeToString(content) + "," + encoding.EncodeToString(passageMAC(peerKey, uid, content))
}

func passageMAC(peerKey []byte, uid string, content []byte) []byte {
	m := hmac.New(sha256.New, peerKey)
	m.Write([]byte(digest("multiactive passage "+passageVersion, uid, string(content))))
	return m.Sum(nil)
}

// openPassage checks the header's value for a request that a peer sent to region.
func openPassage(value string, peerKey []byte, uid, region string) (*passage, bool) {
	parts := strings.Split(value, ",")
	if len(parts) != 3 || parts[0] != passageVersion || len(peerKey) < minPeerKey {
		return nil, false
	}
	encoding := base64.RawURLEncoding.Strict()
	content, err := encoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	mac, err := encoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(mac, passageMAC(peerKey, uid, content)) {
		return nil, false
	}
	p := &passage{}
	if err := json.Unmarshal(content, p); err != nil || p.To != region {
		return nil, false
	}
	return p, true
}

// receive takes up the proof of a deferred request that a peer has forwarded.
func (ex *exchange) receive() *problem {
	values := ex.r.Header[HeaderDeferred]
	if ex.hop == nil || len(values) == 0 {
		return nil
	}
	cfg := ex.snap.router.cfg
	body, problem := ex.wholeBody(ex.g.options.DeferredBodyBytes)
	if problem != nil {
		return problem
	}
	p, ok := openPassage(values[0], cfg.PeerKey, cfg.UID, cfg.Region)
	if !ok || len(values) > 1 || p.Digest != digest(ex.r.Method, requestURI(ex.r.URL), string(body)) {
		return problemOf(ReasonHopRefused, "the header %s does not prove that a gateway of this service kept the request", HeaderDeferred)
	}
	ex.passage = p
	ex.r.Header.Set(p.Header, p.Value)
	return nil
}

// pass puts the passage into an attempt: the application is told who asked, a peer gets the proof.
func (ex *exchange) pass(h http.Header) {
	p, cfg := ex.passage, ex.snap.router.cfg
	if peer := ex.target.peer; peer != "" {
		h.Set(HeaderDeferred, p.sign(cfg.PeerKey, cfg.UID, peer))
		return
	}
	h.Set(HeaderDeferred, p.ID)
	if p.Subject != "" {
		h.Set(HeaderSubject, p.Subject)
	}
	if ex.key != "" {
		h[HeaderKey] = []string{ex.key}
	}
}

// passed notes what an answer says about the passage, before the gateway's own headers are removed.
func (ex *exchange) passed(h http.Header) {
	ex.passage.answered = ex.target.peer == "" || h.Get(HeaderAnswered) == ex.target.peer
	ex.passage.unsent = ex.target.peer != "" && h.Get(HeaderRefused) != ""
}

// unsent reports whether a refused request reached no application.
func (ex *exchange) unsent() bool {
	if ex.problem == nil {
		return ex.passage.unsent
	}
	return ex.outcome != OutcomeFailed || notSentReason(ex.problem.reason)
}

func notSentReason(r Reason) bool {
	return r == ReasonUpstreamUnreachable || r == ReasonOwnerUnreachable || r == ReasonPeerNotAuthenticated
}

// tellUnsent lets the gateway that keeps the request know that no application got it.
func (ex *exchange) tellUnsent(p *problem) {
	if ex.outcome != OutcomeFailed || notSentReason(p.reason) {
		ex.w.Header().Set(HeaderRefused, strconv.FormatInt(ex.snap.router.cfg.Epoch, 10))
	}
}
