// Package http1 reads the heads of plain HTTP/1.1 messages, and nothing else. It is a filter before net/http,
// not in place of it: what it does not take for certain is left to net/http, and whatever it takes, net/http
// reads in the same way, which fuzzing holds it to. So nobody can hide a request from one of the two.
//
// It must never guess: no bare line feeds, no folded lines, no lengths that are said twice, no encodings.
package http1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strings"
)

var headEnd = []byte("\r\n\r\n")

// End returns where the head at the beginning of a buffer ends, after its empty line; -1 when it is not all
// there. The first seen bytes were looked at before.
func End(buf []byte, seen int) int {
	from := max(seen-len(headEnd)+1, 0)
	i := bytes.Index(buf[from:], headEnd)
	if i < 0 {
		return -1
	}
	return from + i + len(headEnd)
}

// Fields are the header of a message. They are kept to be used again: the map and the values are valid until
// the next head is read into them.
type Fields struct {
	// Header has the names as net/http writes them. Content-Length, Connection and, in requests, Host are
	// not in it.
	Header http.Header
	// Length is that of the body; -1: the head says nothing of one.
	Length int64
	// Close: the connection ends after the message.
	Close bool

	host   string
	hosts  int
	values []string
}

func (f *Fields) reset() {
	if f.Header == nil {
		f.Header = make(http.Header, 8)
	}
	clear(f.Header)
	f.values = f.values[:0]
	f.Length, f.Close, f.host, f.hosts = -1, false, "", 0
}

// read takes lines up to the empty one. It reports false for everything that is not plain.
func (f *Fields) read(lines string, request bool) bool {
	for lines != "\r\n" {
		line, rest, ok := strings.Cut(lines, "\r\n")
		if !ok {
			return false
		}
		lines = rest
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return false
		}
		value = strings.Trim(value, " \t")
		if !isValue(value) || !f.add(textproto.CanonicalMIMEHeaderKey(name), value, request) {
			return false
		}
	}
	return true
}

// add takes one line.
func (f *Fields) add(name, value string, request bool) bool {
	switch name {
	case "Content-Length":
		if f.Length >= 0 {
			return false
		}
		f.Length = length(value)
		return f.Length >= 0
	case "Transfer-Encoding", "Trailer", "Upgrade":
		return false
	case "Connection":
		return f.connection(value)
	case "Host":
		if request {
			f.host, f.hosts = value, f.hosts+1
			return f.hosts == 1
		}
	}
	if values, again := f.Header[name]; again {
		f.Header[name] = append(values, value)
		return true
	}
	n := len(f.values)
	f.values = append(f.values, value)
	f.Header[name] = f.values[n : n+1 : n+1]
	return true
}

// connection takes the options that everybody sends. Others name headers that end here.
func (f *Fields) connection(value string) bool {
	switch {
	case value == "", strings.EqualFold(value, "keep-alive"):
	case strings.EqualFold(value, "close"):
		f.Close = true
	default:
		return false
	}
	return true
}

// maxLength keeps sums of lengths from overflowing.
const maxLength = 1 << 50

// length reads a body's length; -1: it is none.
func length(text string) int64 {
	if text == "" {
		return -1
	}
	var n int64
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' || n > maxLength {
			return -1
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

// Classes of characters.
const (
	classToken = 1 << iota
	// classPath characters stand for themselves in a path, classQuery ones in a query.
	classPath
	classQuery
	classHost
)

var classes = func() (t [256]byte) {
	for c := range 256 {
		b := byte(c)
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if letter || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0 && b < 0x80 {
			t[c] |= classToken
		}
		if letter || b < 0x80 && strings.IndexByte("-._~$&+,=:@/", b) >= 0 {
			t[c] |= classPath
		}
		if letter || b < 0x80 && strings.IndexByte("-._~$&+,=:@/!'()*?[]", b) >= 0 {
			t[c] |= classQuery
		}
		if letter || b < 0x80 && strings.IndexByte("-._:[]", b) >= 0 {
			t[c] |= classHost
		}
	}
	return t
}()

func all(s string, class byte) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

func isToken(s string) bool { return s != "" && all(s, classToken) }

// isValue refuses control characters but tabs.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// Odd reports whether a head that is not all there can never become a plain one: it has a line feed without a
// carriage return, or does not begin as requests do. The first seen bytes were looked at before.
func Odd(buf []byte, seen int) bool {
	if len(buf) > 0 && (buf[0] < 'A' || buf[0] > 'Z') {
		return true
	}
	for i := seen; i < len(buf); i++ {
		if buf[i] == '\n' && (i == 0 || buf[i-1] != '\r') {
			return true
		}
	}
	return false
}

// IsHost reports whether a text can stand in a Host header as it is.
func IsHost(s string) bool { return s != "" && all(s, classHost) }
