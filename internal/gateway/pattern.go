package gateway

import (
	"fmt"
	"strings"

	"multiactive.dev/operator/internal/routing"
)

// pattern is one compiled routing.Match.
type pattern struct {
	host, method string
	// path is the declared text, for messages.
	path string
	// segments are literals or variables; of a prefix, those before its last slash.
	segments []segment
	prefix   bool
	literal  bool
	flow     int
	order    int
}

type segment struct {
	// text is the literal, or the variable's name.
	text     string
	variable bool
}

// parsePattern compiles m; field names it in errors.
func parsePattern(m routing.Match, field string) (pattern, error) {
	p := pattern{host: strings.ToLower(m.Host), method: m.Method, path: m.Path, literal: true}
	if !strings.HasPrefix(m.Path, "/") {
		return p, fmt.Errorf("%s.path: %q must start with a slash", field, m.Path)
	}
	rest := m.Path[1:]
	if rest == "" || strings.HasSuffix(rest, "/") {
		p.prefix = true
		rest = strings.TrimSuffix(rest, "/")
	}
	if rest == "" {
		return p, nil
	}
	seen := map[string]bool{}
	for text := range strings.SplitSeq(rest, "/") {
		s := segment{text: text}
		if name, ok := strings.CutPrefix(text, "{"); ok {
			name, closed := strings.CutSuffix(name, "}")
			if !closed || name == "" || seen[name] {
				return p, fmt.Errorf("%s.path: %q: write a variable as {name}, each name once", field, m.Path)
			}
			s = segment{text: name, variable: true}
			seen[name] = true
			p.literal = false
		} else if text == "" || text == "." || text == ".." || strings.ContainsAny(text, "{}") {
			return p, fmt.Errorf("%s.path: %q: segment %q can never match", field, m.Path, text)
		}
		p.segments = append(p.segments, s)
	}
	return p, nil
}

// matches reports whether a path (decoded, starting with a slash) fits the pattern.
func (p *pattern) matches(path string) bool {
	rest := path[1:]
	for i := range p.segments {
		text, tail, more := strings.Cut(rest, "/")
		if s := &p.segments[i]; s.variable && text == "" || !s.variable && text != s.text {
			return false
		}
		if last := i == len(p.segments)-1; last {
			return more == p.prefix
		}
		if !more {
			return false
		}
		rest = tail
	}
	return p.prefix || rest == ""
}

// variable returns the text at the named variable of a path that matches.
func (p *pattern) variable(path, name string) (string, bool) {
	rest := path[1:]
	for i := range p.segments {
		text, tail, _ := strings.Cut(rest, "/")
		if s := &p.segments[i]; s.variable && s.text == name {
			return text, true
		}
		rest = tail
	}
	return "", false
}

// compare orders patterns of one host, most specific first: exact before variables before
// prefixes, literals before variables from the left, longer before shorter, a method before any
// method, and then as declared.
func (p *pattern) compare(q *pattern) int {
	if p.prefix != q.prefix {
		return boolOrder(q.prefix)
	}
	for i := range min(len(p.segments), len(q.segments)) {
		if a, b := p.segments[i].variable, q.segments[i].variable; a != b {
			return boolOrder(b)
		}
	}
	if a, b := len(p.segments), len(q.segments); a != b {
		return b - a
	}
	if a, b := p.method != "", q.method != ""; a != b {
		return boolOrder(a)
	}
	return p.order - q.order
}

// boolOrder is negative when the first of two comes first.
func boolOrder(first bool) int {
	if first {
		return -1
	}
	return 1
}

// overlaps reports whether both patterns fit the same requests with the same precedence.
func (p *pattern) overlaps(q *pattern) bool {
	if p.host != q.host || p.method != q.method || p.prefix != q.prefix || len(p.segments) != len(q.segments) {
		return false
	}
	for i, s := range p.segments {
		if t := q.segments[i]; s.variable != t.variable || !s.variable && s.text != t.text {
			return false
		}
	}
	return true
}
