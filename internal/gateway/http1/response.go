package http1

import "strings"

// Response is the head of an answer.
type Response struct {
	Fields
	Status int
}

// Read reads a head with its empty line, of an answer whose body ends where Length says. false: it is
// another one, and net/http's to read. Strings are parts of the head.
func (r *Response) Read(head string, toHEAD bool) bool {
	r.reset()
	line, rest, ok := strings.Cut(head, "\r\n")
	if !ok || !r.status(line) || !r.read(rest, false) {
		return false
	}
	_, pragma := r.Header["Pragma"]
	switch {
	case pragma:
		return false // net/http adds another header
	case r.Status < 200:
		return false // another one follows
	case r.Bodiless(toHEAD):
		return true
	default:
		return r.Length >= 0
	}
}

// Bodiless reports whether no body follows, whatever the length says.
func (r *Response) Bodiless(toHEAD bool) bool {
	return toHEAD || r.Status == 204 || r.Status == 304
}

// Body is the length of the body that follows.
func (r *Response) Body(toHEAD bool) int64 {
	if r.Bodiless(toHEAD) {
		return 0
	}
	return max(r.Length, 0)
}

func (r *Response) status(line string) bool {
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(rest) < len("200 ") || rest[3] != ' ' || !isValue(rest) {
		return false
	}
	r.Status = 0
	for i := range 3 {
		c := rest[i]
		if c < '0' || c > '9' {
			return false
		}
		r.Status = 10*r.Status + int(c-'0')
	}
	return r.Status >= 100
}
