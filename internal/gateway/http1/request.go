package http1

import "strings"

// Verdict says what the reader knows of a request.
type Verdict int

const (
	// Foreign requests are not read here at all: where they end is for net/http to say.
	Foreign Verdict = iota
	// Framed requests are of a kind that is net/http's to serve, and end where Length says.
	Framed
	// Plain requests are all that a server has to know of.
	Plain
)

// Request is the head of a request.
type Request struct {
	Fields
	// Method is one of those that net/http names, CONNECT and TRACE aside.
	Method string
	// Target as it was sent: Path, which needs no decoding, and Query after a question mark.
	Target, Path, Query string
	Host                string
}

const version = " HTTP/1.1\r\n"

// Read reads a head with its empty line. Strings are parts of it.
func (r *Request) Read(head string) Verdict {
	r.reset()
	line, rest, ok := strings.Cut(head, version)
	if !ok || strings.ContainsAny(line, "\r\n") {
		return Foreign
	}
	method, target, ok := strings.Cut(line, " ")
	if !ok || !r.method(method) || !r.target(target) || !r.read(rest, true) {
		return Foreign
	}
	r.Host = r.host
	if r.hosts != 1 || !IsHost(r.Host) {
		return Foreign
	}
	for _, name := range notPlain {
		if _, there := r.Header[name]; there {
			return Framed
		}
	}
	return Plain
}

// notPlain headers end at this server, or make it do more than to pass the request on. net/http adds another
// header to requests with Pragma.
var notPlain = [...]string{"Expect", "Te", "Pragma", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Http2-Settings"}

// Body is the length of the request's body.
func (r *Request) Body() int64 { return max(r.Length, 0) }

func (r *Request) method(m string) bool {
	for _, known := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"} {
		if m == known {
			r.Method = known
			return true
		}
	}
	return false
}

// target takes paths that mean the same decoded, and queries without what applications read in several ways.
func (r *Request) target(t string) bool {
	if t == "" || t[0] != '/' {
		return false
	}
	r.Target = t
	var asked bool
	if r.Path, r.Query, asked = strings.Cut(t, "?"); asked && r.Query == "" {
		return false
	}
	return !strings.HasPrefix(r.Path, "//") && all(r.Path, classPath) && plainQuery(r.Query)
}

// plainQuery refuses semicolons and percent signs that encode nothing.
func plainQuery(q string) bool {
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '%':
			if i+2 >= len(q) || !isHex(q[i+1]) || !isHex(q[i+2]) {
				return false
			}
			i += 2
		case classes[c]&classQuery == 0:
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
