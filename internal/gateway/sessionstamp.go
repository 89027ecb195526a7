package gateway

import (
	"net/http"
	"strings"
)

// maxCookieBytes of name and value is what browsers keep. A cookie that the stamp would make longer stays
// as it is: better a session that is not found elsewhere than none.
const maxCookieBytes = 4096

// stripStamps takes the stamps off the tokens of a request to the local application. What is no genuine
// stamp is the application's to judge. h is the request's own.
func (ex *exchange) stripStamps(h http.Header) {
	for _, s := range ex.snap.router.sessions {
		if s.OriginClaim != "" {
			continue // its tokens are as the application has issued them
		}
		name := "Cookie"
		if s.Header != "" {
			name = s.Header
		}
		for i, line := range h[name] {
			if strings.Contains(line, stampPrefix) {
				h[name][i] = s.stripped(line)
			}
		}
	}
}

// stripped returns a line of a header without the stamps in it.
func (s *session) stripped(line string) string {
	strip := func(value string) string {
		_, token, _ := s.open(value)
		return token
	}
	if s.Header != "" {
		return s.replace(line, strip)
	}
	pairs := strings.Split(line, ";")
	for i, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if ok && strings.TrimSpace(name) == s.Cookie {
			trimmed := strings.TrimSpace(value)
			pairs[i] = name + "=" + strings.Replace(value, trimmed, s.replace(trimmed, strip), 1)
		}
	}
	return strings.Join(pairs, ";")
}

// stampAnswer stamps the tokens that the local application issues.
func (ex *exchange) stampAnswer(h http.Header) {
	if !ex.snap.router.mayForward() {
		return // nobody could read them elsewhere
	}
	for _, s := range ex.snap.router.sessions {
		if s.OriginClaim != "" {
			continue
		}
		if s.Header != "" {
			for i, v := range h[s.Header] {
				if v != "" {
					h[s.Header][i] = s.replace(v, func(token string) string { return ex.stamped(s, token) })
				}
			}
			continue
		}
		for i, line := range h["Set-Cookie"] {
			h["Set-Cookie"][i] = ex.stampCookie(s, line)
		}
	}
}

// stampCookie stamps the cookie of a Set-Cookie header and leaves its attributes as they are. An empty one
// is being deleted.
func (ex *exchange) stampCookie(s *session, line string) string {
	pair, attributes, more := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	if _, token := s.split(strings.TrimSpace(value)); !ok || token == "" || strings.TrimSpace(name) != s.Cookie {
		return line
	}
	stamped := name + "=" + s.replace(strings.TrimSpace(value), func(token string) string { return ex.stamped(s, token) })
	if len(stamped) > maxCookieBytes {
		return line
	}
	if more {
		stamped += ";" + attributes
	}
	return stamped
}

// stamped returns a token that the local application issued with its stamp. One that the request brought
// from elsewhere, sent again with another lifetime say, is still from there.
func (ex *exchange) stamped(s *session, token string) string {
	if token == "" || strings.HasPrefix(token, stampPrefix) {
		return token
	}
	had := &ex.session
	if had.session == s && had.token == token {
		return s.seal(had.stamp, token)
	}
	m := stamp{region: ex.snap.router.cfg.Region, slot: noSlot}
	switch {
	case ex.slotted:
		m.key, m.slot = ex.flow.key.name, ex.slot
	case had.session == s && !ex.flow.issues(s):
		m.key, m.slot = had.key, had.slot // a new token for the same user
	}
	return s.seal(m, token)
}
