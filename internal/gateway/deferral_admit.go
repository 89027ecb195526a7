package gateway

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
	"unicode"

	"multiactive.dev/operator/internal/deferred"
)

const (
	// admitTimeout bounds the application's admission of a request.
	admitTimeout = 10 * time.Second
	// maxSubject bounds who asked, in bytes.
	maxSubject = 1024
)

// Headers between the gateway and the application about deferred requests.
const (
	// HeaderSubject on the application's admission names who asked; the gateway gives it back when the
	// request is carried out, in place of cookies and credentials, which are not kept.
	HeaderSubject = "Multiactive-Subject"
	// HeaderDeferred is the ID of the deferred request that is being carried out. Between gateways it is
	// the proof of one.
	HeaderDeferred = "Multiactive-Deferred"
	// HeaderFlow names the flow of a request that is to be admitted.
	HeaderFlow = "Multiactive-Flow"
)

// hopByHop headers are about one connection.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// endToEnd removes what is about one connection.
func endToEnd(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// admit asks the local application whether the request may be kept, with everything that identifies who
// asks. It reports false when the user has been answered.
func (ex *exchange) admit(request *deferred.Request) bool {
	to := *ex.snap.router.upstream
	to.Path, to.RawQuery = strings.TrimSuffix(to.Path, "/")+ex.flow.deferral.AdmitPath, ex.r.URL.RawQuery
	req, err := http.NewRequestWithContext(ex.r.Context(), http.MethodPost, to.String(), bytes.NewReader(request.Body))
	if err != nil {
		ex.reject(OutcomeFailed, problemOf(ReasonUpstreamFailed, "the flow's admitPath is not valid"))
		return false
	}
	req.Header = ex.r.Header.Clone()
	endToEnd(req.Header)
	delete(req.Header, "Expect")
	ex.stripStamps(req.Header)
	req.Host = ex.host
	if ex.key != "" {
		req.Header[HeaderKey] = []string{ex.key}
	}
	req.Header[HeaderFlow] = []string{ex.flow.name}
	resp, err := ex.g.deferrals.local.Do(req)
	err = withoutURL(err)
	switch {
	case err != nil && ex.r.Context().Err() != nil:
		ex.outcome = OutcomeAborted
		panic(http.ErrAbortHandler)
	case err != nil && notSent(err):
		ex.err = err
		ex.reject(OutcomeFailed, problemOf(ReasonUpstreamUnreachable, "the application must admit the request before it is kept; nothing was kept; try again"))
		return false
	case err != nil:
		ex.err = err
		ex.reject(OutcomeFailed, problemOf(ReasonDeferralUnavailable, "the application must admit the request before it is kept, and gave no answer; nothing was kept; try again"))
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		ex.passOn(resp)
		return false
	}
	request.Subject = resp.Header.Get(HeaderSubject)
	if len(request.Subject) > maxSubject || strings.ContainsFunc(request.Subject, func(r rune) bool { return !unicode.IsPrint(r) }) {
		ex.reject(OutcomeFailed, problemOf(ReasonDeferralUnavailable, "the application named a subject that cannot be kept; nothing was kept"))
		return false
	}
	return true
}

// passOn gives the user the application's answer.
func (ex *exchange) passOn(resp *http.Response) {
	ex.outcome = OutcomeLocal
	endToEnd(resp.Header)
	stripReserved(resp.Header)
	maps.Copy(ex.w.Header(), resp.Header)
	ex.w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(ex.w, resp.Body) // the caller may have gone
}
