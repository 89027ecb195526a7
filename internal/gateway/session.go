package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/routing"
)

// defaultOriginRead bounds an origin read that declares nothing.
const defaultOriginRead = 200 * time.Millisecond

// session is a compiled routing.Session.
type session struct {
	routing.Session
	sealer
}

// read tells where the session of a token is: by its stamp, or by a claim of it. What a claim says is not verified: the
// application that the token is brought to does that.
func (s *session) read(value string) (stamp, string, stampState) {
	if s.OriginClaim == "" {
		return s.open(value)
	}
	if region, ok := claimOf(value, s.OriginClaim); ok {
		return stamp{region: region, slot: noSlot}, value, genuine
	}
	return stamp{}, value, unstamped
}

// forwards reports whether requests are sent to the origin, instead of asking it for the session.
func (s *session) forwards() bool { return s.FetchPath == "" }

// compileSessions prepares the sessions; what cannot be used is told and left out.
func (r *Router) compileSessions() {
	for _, decl := range r.cfg.Sessions {
		decl.Header = http.CanonicalHeaderKey(decl.Header)
		setDefault(&decl.Timeout, defaultOriginRead)
		s := &session{Session: decl, sealer: sealer{peerKey: r.cfg.PeerKey, uid: r.cfg.UID, class: decl.Class}}
		taken := slices.ContainsFunc(r.sessions, func(x *session) bool { return x.Cookie == s.Cookie && x.Header == s.Header })
		switch h := decl.Header; {
		case taken:
			r.warn("sessions[%s]: another class has its token in the same place", decl.Class)
		case (decl.Cookie == "") == (h == ""), h == "Cookie", h == "Set-Cookie", h == "Host", reserved(h):
			r.warn("sessions[%s]: the token must be in a cookie, or in a header of its own", decl.Class)
		default:
			r.sessions = append(r.sessions, s)
		}
	}
}

func (r *Router) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// sessionNamed returns a class's session; nil if it has none.
func (r *Router) sessionNamed(class string) *session {
	for _, s := range r.sessions {
		if s.Class == class {
			return s
		}
	}
	return nil
}

// sessionsNamed returns those of the classes that have one.
func (r *Router) sessionsNamed(classes []string) []*session {
	var out []*session
	for _, class := range classes {
		if s := r.sessionNamed(class); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// internal reports whether a path is one that only gateways may ask the application for, as any
// application could read it.
func (r *Router) internal(u *url.URL) bool {
	for _, s := range r.sessions {
		if s.forwards() {
			continue
		}
		if samePath(u.Path, s.FetchPath) || !plain(u) && (samePath(clean(u.Path), s.FetchPath) || samePath(keepSlashes(u), s.FetchPath)) {
			return true
		}
	}
	return false
}

func samePath(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

// presented is the session token of a request.
type presented struct {
	// session is nil when the request has no stamped token of a class that its flow reads.
	session *session
	stamp
	// token as the application issued it, raw as it came: the whole cookie's value, or header.
	token, raw string
	// origin is the index of the region that has the session; noRegion: it is none of the service's now.
	origin int
}

// slotFor returns the slot that a session gives for a key.
func (p *presented) slotFor(k *key) (int, bool) {
	if p.session == nil || !k.session || p.key != k.name || p.slot == noSlot {
		return 0, false
	}
	return p.slot, true
}

// readToken finds the session token of a flow that reads sessions. The first one that is there counts, as
// applications have it.
func (ex *exchange) readToken() *problem {
	ex.session = presented{}
	for _, s := range ex.flow.sessions {
		raw, found := s.first(ex.r.Header)
		if !found {
			continue
		}
		_, value := s.split(raw)
		m, token, state := s.read(value)
		switch state {
		case unstamped:
			continue
		case forged:
			p := problemOf(ReasonInvalidSession, "the session token was not issued by this service; log in again")
			p.regenerate = s.Class
			return p
		case genuine:
		}
		ex.session = presented{session: s, stamp: m, token: token, raw: raw, origin: ex.snap.router.index(m.region)}
		if ex.flow.key != nil && s.disagrees(ex.r.Header, &ex.session, ex.flow.key) {
			return problemOf(ReasonConflictingKeys, "partition key %s: the request has the sessions of two users; send one", ex.flow.key.name)
		}
		return nil
	}
	return nil
}

// disagrees reports whether another token of the request was issued to a user of another slot. Applications
// differ in which of two cookies they take.
func (s *session) disagrees(h http.Header, p *presented, k *key) bool {
	slot, ok := p.slotFor(k)
	if !ok {
		return false
	}
	another := func(raw string) bool {
		_, value := s.split(raw)
		m, _, state := s.read(value)
		return state == genuine && m.key == k.name && m.slot != slot
	}
	if s.Header != "" {
		return slices.ContainsFunc(h[s.Header], another)
	}
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if name, value, _ := strings.Cut(pair, "="); strings.TrimSpace(name) == s.Cookie && another(strings.TrimSpace(value)) {
				return true
			}
		}
	}
	return false
}

// first returns the first token of a request, as it came.
func (s *session) first(h http.Header) (raw string, found bool) {
	if s.Header != "" {
		if values := h[s.Header]; len(values) > 0 {
			return values[0], values[0] != ""
		}
		return "", false
	}
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if name, value, ok := strings.Cut(pair, "="); ok && strings.TrimSpace(name) == s.Cookie {
				value = strings.TrimSpace(value)
				return value, value != ""
			}
		}
	}
	return "", false
}

// split returns the token within a value and what comes before it: a header's scheme, or a cookie's quote,
// with which it also ends.
func (s *session) split(raw string) (before, token string) {
	if s.Header != "" {
		if i := strings.LastIndexByte(raw, ' '); i >= 0 {
			return raw[:i+1], raw[i+1:]
		}
		return "", raw
	}
	if len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' {
		return `"`, raw[1 : len(raw)-1]
	}
	return "", raw
}

// replace changes the token within a value.
func (s *session) replace(raw string, change func(string) string) string {
	before, token := s.split(raw)
	after := ""
	if s.Header == "" {
		after = before
	}
	return before + change(token) + after
}
