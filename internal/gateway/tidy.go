package gateway

import (
	"net/http"
	"strconv"
	"strings"
)

// framingHeaders say where a request ends, what it is, or who sent it. Applications that see headers as
// environment variables take X_Y for X-Y, so a header of their name with underscores is not passed on.
var framingHeaders = []string{
	"Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect", "Host", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
}

// compileDeciding notes the headers that requests are decided by.
func (r *Router) compileDeciding() {
	r.deciding = map[string]string{}
	note := func(name string) {
		if name != "" {
			name = http.CanonicalHeaderKey(name)
			r.deciding[hyphenated(name)] = name
			r.underscored = r.underscored || strings.Contains(name, "_")
		}
	}
	for _, name := range framingHeaders {
		note(name)
	}
	for _, k := range r.keys {
		for i := range k.sources {
			note(k.sources[i].headerName())
		}
	}
	for _, s := range r.sessions {
		note(s.Header)
	}
	for i := range r.flows {
		if d := r.flows[i].deferral; d != nil {
			note(d.IdempotencyHeader)
		}
	}
}

// hyphenated is the header's name as it would be without underscores.
func hyphenated(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// aliased reports whether an application may take a header for another one, which this gateway decides by.
func (r *Router) aliased(name string) bool {
	if !r.underscored && !strings.Contains(name, "_") {
		return false
	}
	declared, decides := r.deciding[hyphenated(name)]
	return decides && declared != name
}

// tidy takes away what would tell the application something else than this gateway, before anything is decided:
// headers of this gateway's own, second names of others, and other ways to say
// address or protocol. What cannot be taken away is refused.
func (ex *exchange) tidy() *problem {
	r, router := ex.r, ex.snap.router
	if strings.ContainsFunc(r.Method, func(c rune) bool { return c >= 'a' && c <= 'z' }) {
		return problemOf(ReasonMethodNotAllowed, "methods are written in capitals")
	}
	if !plainHost(ex.host) {
		return problemOf(ReasonInvalidHost, "the host is no name or address with a port")
	}
	if refused := lengthProblem(r.Header["Content-Length"]); refused != nil {
		return refused
	}
	for name := range r.Header {
		switch {
		case reserved(name), router.aliased(name):
			delete(r.Header, name)
		case name == "Proxy", name == "X-Original-Url", name == "X-Rewrite-Url":
			delete(r.Header, name) // servers that believe these take them for a setting, or for the address
		case name == "Upgrade" && !upgradesToWebSocket(r):
			delete(r.Header, name) // inside another protocol, nobody would decide what goes where
		}
	}
	for name := range r.Trailer {
		if _, decides := router.deciding[hyphenated(name)]; decides || reserved(name) {
			delete(r.Trailer, name)
		}
	}
	if ex.body != nil {
		ex.body.declare(r)
	}
	return nil
}

// lengthProblem refuses lengths that the application may read otherwise. Those of HTTP/1.1 are refused before; in HTTP/2,
// net/http takes what is no number for 0.
func lengthProblem(lengths []string) *problem {
	switch {
	case len(lengths) == 0:
		return nil
	case len(lengths) > 1:
		return problemOf(ReasonMalformedBody, "the request has two lengths")
	}
	if _, err := strconv.ParseUint(lengths[0], 10, 63); err != nil {
		return problemOf(ReasonMalformedBody, "the request's length is no number")
	}
	return nil
}

// dropListed removes the headers that Connection lists: they end here, so nothing may be decided by them.
func dropListed(h http.Header, lists []string) {
	for _, list := range lists {
		for token := range strings.SplitSeq(list, ",") {
			switch name := http.CanonicalHeaderKey(strings.TrimSpace(token)); name {
			case "", "Close", "Keep-Alive", "Te", "Upgrade", "Connection":
			default:
				delete(h, name)
			}
		}
	}
}

// upgradesToWebSocket reports whether the request asks for that and nothing else.
func upgradesToWebSocket(r *http.Request) bool {
	if values := r.Header["Upgrade"]; r.ProtoMajor != 1 || len(values) != 1 || !strings.EqualFold(values[0], "websocket") {
		return false
	}
	for _, list := range r.Header["Connection"] {
		for token := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// hostBytes are those of a name, addressBytes those of an IPv6 address.
var (
	hostBytes    = setOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
	addressBytes = setOf("0123456789abcdefABCDEF:.")
	portBytes    = setOf("0123456789")
)

func setOf(bytes string) *[256]bool {
	var set [256]bool
	for i := range len(bytes) {
		set[bytes[i]] = true
	}
	return &set
}

func consistsOf(s string, set *[256]bool) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// plainHost reports whether every reader sees the same host. None is one, too.
func plainHost(host string) bool {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:i], host[i+1:]
	}
	if !consistsOf(port, portBytes) {
		return false
	}
	if inner, is := strings.CutPrefix(name, "["); is {
		inner, closed := strings.CutSuffix(inner, "]")
		return closed && consistsOf(inner, addressBytes)
	}
	return consistsOf(name, hostBytes) && !strings.Contains(name, "..") && (name != "" || host == "")
}

// overrides are headers by which some frameworks take one method for another.
var overrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// overridden refuses a request that an application could take for one of another method, if that would be
// decided otherwise.
func (ex *exchange) overridden(m match) *problem {
	for _, name := range overrides {
		for _, method := range ex.r.Header[name] {
			as := *ex.r
			as.Method = strings.ToUpper(strings.TrimSpace(method))
			other, err := ex.snap.router.matcher.findRequest(&as, ex.host)
			if err != nil || other.pattern != m.pattern || isSafe(&as) != ex.safe {
				return problemOf(ReasonAmbiguousMethod, "header %s names a method of another flow; send the request with that method", name)
			}
		}
	}
	return nil
}
