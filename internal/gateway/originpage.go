package gateway

import (
	"context"
	"log/slog"
	"net/http"
)

// serveSession answers another gateway that asks for a session of this region. Nobody else gets past the
// hop: its proof covers the page's path and the token, and no request of a user is ever forwarded to it.
func (ex *exchange) serveSession() {
	g := ex.g
	leave, ok := ex.enter()
	defer leave()
	if !ok {
		return
	}
	if p := ex.verifyHop(); p != nil || ex.hop == nil {
		ex.refuse(unknownPage())
		return
	}
	s := ex.snap.router.sessionNamed(ex.r.URL.Query().Get(paramClass))
	if s == nil || s.forwards() {
		ex.refuse(problemOf(ReasonNotFound, "this region hands out no such sessions"))
		return
	}
	raw, _ := s.first(ex.r.Header)
	_, value := s.split(raw)
	m, token, state := s.read(value)
	proven := ex.r.URL.Query().Get(paramToken) == sessionProof(ex.snap.router.cfg, s.Class, raw)
	if state != genuine || m.region != ex.snap.router.cfg.Region || !proven {
		ex.refuse(problemOf(ReasonInvalidSession, "the token is none of this region"))
		return
	}
	body, contentType, err := ex.askForSession(s, s.replace(raw, func(string) string { return token }))
	if err != nil {
		g.options.Log.Warn("no session for another region", slog.String("region", ex.hop.from), slog.String("class", s.Class), slog.Any("error", err))
		ex.refuse(problemOf(ReasonUpstreamFailed, "the application does not hand out the session"))
		return
	}
	h := ex.w.Header()
	h.Set(HeaderAnswered, ex.snap.router.cfg.Region)
	h.Set("Cache-Control", "no-store")
	if body == nil {
		ex.w.WriteHeader(http.StatusNotFound)
		return
	}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	_, _ = ex.w.Write(body) // the caller may have gone
}

// askForSession asks the local application; without a session there is no body.
func (ex *exchange) askForSession(s *session, raw string) (body []byte, contentType string, err error) {
	ctx, cancel := context.WithTimeout(ex.r.Context(), s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ex.snap.router.upstream.JoinPath(s.FetchPath).String(), nil)
	if err != nil {
		return nil, "", err
	}
	req.Host = ex.hop.host
	s.put(req.Header, raw)
	resp, err := ex.g.transports.local.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to do with it
	switch {
	case resp.StatusCode == http.StatusOK:
		body, err := readSession(resp.Body)
		if body == nil {
			body = []byte{}
		}
		return body, resp.Header.Get("Content-Type"), err
	case resp.StatusCode >= http.StatusBadRequest && resp.StatusCode < http.StatusInternalServerError:
		return nil, "", nil
	default:
		return nil, "", errOriginFailed
	}
}
