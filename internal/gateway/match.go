package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/routing"
)

// matcher finds the flow of a request.
type matcher struct {
	// byHost has patterns that name a host; anyHost the others.
	byHost  map[string]*patternSet
	anyHost *patternSet
}

// patternSet holds the patterns of one host.
type patternSet struct {
	// exact has the literal paths, each most specific first.
	exact map[string][]*pattern
	// others have variables or are prefixes, most specific first.
	others []*pattern
}

// match is a flow that was found, with what is needed to read path variables.
type match struct {
	pattern *pattern
	path    string
}

// newMatcher compiles the flows' matches and tells which can never be reached. Those do not keep
// the rest from being used: the requests that they mean go as unmatched ones.
func newMatcher(flows []routing.Flow) (m *matcher, warnings []string) {
	m = &matcher{byHost: map[string]*patternSet{}, anyHost: &patternSet{exact: map[string][]*pattern{}}}
	var all []*pattern
	for i, f := range flows {
		for j, decl := range f.Match {
			p, err := parsePattern(decl, fmt.Sprintf("flows[%s].match[%d]", f.Name, j))
			if err != nil {
				warnings = append(warnings, err.Error())
				continue
			}
			p.flow, p.order = i, len(all)
			if k := slices.IndexFunc(all, p.overlaps); k >= 0 {
				warnings = append(warnings, fmt.Sprintf(
					"flow %s: match %s %s is never used, for flow %s declares the same; remove one of them",
					f.Name, p.method, p.path, flows[all[k].flow].Name))
				continue
			}
			all = append(all, &p)
			m.add(&p)
		}
	}
	m.anyHost.sort()
	for _, s := range m.byHost {
		s.sort()
	}
	return m, warnings
}

func (m *matcher) add(p *pattern) {
	set := m.anyHost
	if p.host != "" {
		if set = m.byHost[p.host]; set == nil {
			set = &patternSet{exact: map[string][]*pattern{}}
			m.byHost[p.host] = set
		}
	}
	if p.literal && !p.prefix {
		set.exact[p.path] = append(set.exact[p.path], p)
		return
	}
	set.others = append(set.others, p)
}

func (s *patternSet) sort() {
	slices.SortFunc(s.others, (*pattern).compare)
	for _, list := range s.exact {
		slices.SortFunc(list, (*pattern).compare)
	}
}

func (s *patternSet) find(method, path string) *pattern {
	for _, p := range s.exact[path] {
		if p.method == "" || p.method == method {
			return p
		}
	}
	for _, p := range s.others {
		if (p.method == "" || p.method == method) && p.matches(path) {
			return p
		}
	}
	return nil
}

// find returns the most specific match; the zero match when there is none.
func (m *matcher) find(host, method, path string) match {
	if len(m.byHost) > 0 {
		if set := m.byHost[hostname(host)]; set != nil {
			if p := set.find(method, path); p != nil {
				return match{p, path}
			}
		}
	}
	if p := m.anyHost.find(method, path); p != nil {
		return match{p, path}
	}
	return match{}
}

// hostname is the host without port, brackets, final dot and capitals.
func hostname(hostport string) string {
	host := (&url.URL{Host: hostport}).Hostname()
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// errAmbiguousPath tells that applications may read a path as another flow's or another key's.
var errAmbiguousPath = fmt.Errorf("the path has dot segments, empty segments, encoded slashes, control characters or parameters " +
	"with which it could belong to another flow or key; write it without them")

// findRequest finds the flow of r at the given host. A path that applications could read in two
// ways (/public/..;/transfers) must mean the same flow and variables in both.
func (m *matcher) findRequest(r *http.Request, host string) (match, error) {
	if !strings.HasPrefix(r.URL.Path, "/") || hasControl(r.URL.Path) {
		return match{}, errAmbiguousPath
	}
	if plain(r.URL) {
		return m.find(host, r.Method, r.URL.Path), nil
	}
	asSent := m.find(host, r.Method, keepSlashes(r.URL))
	asCleaned := m.find(host, r.Method, clean(r.URL.Path))
	if asSent.pattern != asCleaned.pattern {
		return match{}, errAmbiguousPath
	}
	if p := asSent.pattern; p != nil {
		for _, s := range p.segments {
			a, _ := p.variable(asSent.path, s.text)
			b, _ := p.variable(asCleaned.path, s.text)
			if s.variable && a != b {
				return match{}, errAmbiguousPath
			}
		}
	}
	return asSent, nil
}

// hasControl reports whether a path has characters at which some applications end it, or a line.
func hasControl(path string) bool {
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return true
		}
	}
	return false
}

// plain reports whether a path can be read in one way only.
func plain(u *url.URL) bool {
	return u.RawPath == "" && !strings.Contains(u.Path, "//") && !strings.Contains(u.Path, "/.") &&
		!strings.ContainsAny(u.Path, `;\`)
}

// keepSlashes decodes a path except encoded slashes, so that segments stay as they were sent.
func keepSlashes(u *url.URL) string {
	escaped := u.EscapedPath()
	escaped = strings.NewReplacer("%2F", "%252F", "%2f", "%252F", "%5C", "%255C", "%5c", "%255C").Replace(escaped)
	decoded, err := url.PathUnescape(escaped)
	if err != nil {
		return u.Path
	}
	return decoded
}

// clean reads a path as the most eager application does: parameters dropped, backslashes taken
// for slashes, dot segments resolved, slashes merged.
func clean(decoded string) string {
	segments := strings.Split(strings.ReplaceAll(decoded, `\`, "/"), "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	joined := strings.Join(segments, "/")
	cleaned := path.Clean("/" + joined)
	if strings.HasSuffix(joined, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}
