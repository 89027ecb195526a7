package gateway

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"multiactive.dev/operator/internal/routing"
)

// MaxKeyBytes bounds a partition key after normalisation.
const MaxKeyBytes = 256

// key is a compiled partition key.
type key struct {
	name      string
	sources   []source
	normalize []func(string) string
	// session: the slot that is stamped into a session counts too.
	session bool
	// needsBody is set when a source reads the body.
	needsBody bool
}

// source is one compiled place of a key.
type source struct {
	routing.Source
	// pointer into the body or the token's claims.
	pointer []string
	// label names the source in problem documents.
	label string
}

// headerName is the header that the source reads; "" when it reads none.
func (s *source) headerName() string {
	switch s.Type {
	case routing.SourceHeader:
		return s.Name
	case routing.SourceJWTClaim:
		return s.Header
	case routing.SourceCookie, routing.SourceQuery, routing.SourcePath, routing.SourceJSONBody, routing.SourceSession:
	}
	return ""
}

// compileKey checks a declared key; errors name the field.
func compileKey(decl routing.Key) (*key, error) {
	k := &key{name: decl.Name}
	for i, s := range decl.From {
		field := fmt.Sprintf("keys[%s].from[%d]", decl.Name, i)
		c := source{Source: s}
		if s.Type == routing.SourceSession {
			k.session = true
			continue
		}
		if s.Name == "" && s.Type != routing.SourceJSONBody {
			return nil, fmt.Errorf("%s.name: must not be empty", field)
		}
		switch s.Type {
		case routing.SourceHeader:
			c.Name = http.CanonicalHeaderKey(s.Name)
			c.label = "header " + c.Name
		case routing.SourceCookie:
			c.label = "cookie " + s.Name
		case routing.SourceQuery:
			c.label = "query parameter " + s.Name
		case routing.SourcePath:
			c.label = "path variable " + s.Name
		case routing.SourceJSONBody:
			pointer, err := parsePointer(s.Name)
			if err != nil {
				return nil, fmt.Errorf("%s.name: %w", field, err)
			}
			c.pointer, c.label = pointer, "JSON body at "+s.Name
			k.needsBody = true
		case routing.SourceJWTClaim:
			c.pointer, c.label = []string{s.Name}, "token claim "+s.Name
			if c.Header == "" {
				c.Header = "Authorization"
			}
			c.Header = http.CanonicalHeaderKey(c.Header)
		default:
			return nil, fmt.Errorf("%s.type: %q is not known to this gateway; upgrade it", field, s.Type)
		}
		k.sources = append(k.sources, c)
	}
	for i, n := range decl.Normalize {
		f, ok := normalizers[n]
		if !ok {
			return nil, fmt.Errorf("keys[%s].normalize[%d]: %q is not known to this gateway; upgrade it", decl.Name, i, n)
		}
		k.normalize = append(k.normalize, f)
	}
	return k, nil
}

var normalizers = map[string]func(string) string{
	"Trim":      strings.TrimSpace,
	"Lowercase": strings.ToLower,
	"DigitsOnly": func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, s)
	},
}

// requestParts is what a key may be read from.
type requestParts struct {
	header http.Header
	url    *url.URL
	match  match
	// body is the whole JSON body; nil when there is none or it is not JSON.
	body []byte
}

// find reads the key from all its sources. Two that differ after normalisation are a problem.
func (k *key) find(parts *requestParts) (value string, found bool, p *problem) {
	var label string
	for i := range k.sources {
		s := &k.sources[i]
		p := s.each(parts, func(raw string) *problem {
			v, p := k.check(raw, s.label)
			switch {
			case p != nil:
				return p
			case !found:
				value, label, found = v, s.label, true
			case v != value:
				return problemOf(ReasonConflictingKeys, "partition key %s: %s and %s differ; send the same key in both, or only one",
					k.name, label, s.label)
			}
			return nil
		})
		if p != nil {
			return "", false, p
		}
	}
	return value, found, nil
}

// missing is the problem of a request that needs a key and has none.
func (k *key) missing() *problem {
	if len(k.sources) == 0 && !k.session {
		return problemOf(ReasonMissingKey, "partition key %s has no source that this gateway reads; add one to the MultiActiveService", k.name)
	}
	return problemOf(ReasonMissingKey, "this flow is served where its user is at home, which partition key %s tells; send it as %s",
		k.name, k.places())
}

// places lists where the key may be.
func (k *key) places() string {
	labels := make([]string, 0, len(k.sources)+1)
	for _, s := range k.sources {
		labels = append(labels, s.label)
	}
	if k.session {
		labels = append(labels, "the session token of a login")
	}
	return strings.Join(labels, ", or ")
}

// check normalises a raw key and refuses what cannot be one. It never repeats the key.
func (k *key) check(raw, label string) (string, *problem) {
	v := raw
	for _, f := range k.normalize {
		v = f(v)
	}
	why := ""
	switch {
	case v == "":
		why = "is empty"
	case len(v) > MaxKeyBytes:
		why = fmt.Sprintf("is longer than %d bytes", MaxKeyBytes)
	case !utf8.ValidString(v) || strings.ContainsRune(v, utf8.RuneError):
		why = "is not valid UTF-8"
	case strings.ContainsFunc(v, unicode.IsControl):
		why = "has control characters"
	case strings.TrimSpace(v) != v:
		// A header cannot carry outer spaces, so the application would see another key.
		why = "starts or ends with a space"
	}
	if why != "" {
		return "", problemOf(ReasonInvalidKey, "partition key %s from %s %s", k.name, label, why)
	}
	return v, nil
}

// each calls yield with every value that the source has in the request.
func (s *source) each(parts *requestParts, yield func(string) *problem) *problem {
	switch s.Type {
	case routing.SourceSession: // no source of these: its slot is in the token's stamp
	case routing.SourceHeader:
		return all(parts.header[s.Name], yield)
	case routing.SourceQuery:
		return s.query(parts.url.RawQuery, yield)
	case routing.SourceCookie:
		for _, line := range parts.header["Cookie"] {
			if p := s.cookies(line, yield); p != nil {
				return p
			}
		}
	case routing.SourcePath:
		if parts.match.pattern != nil {
			if v, ok := parts.match.pattern.variable(parts.match.path, s.Name); ok {
				return yield(v)
			}
		}
	case routing.SourceJSONBody:
		if len(parts.body) > 0 {
			return s.scalar(parts.body, yield)
		}
	case routing.SourceJWTClaim:
		for _, h := range parts.header[s.Header] {
			if p := s.claim(h, yield); p != nil {
				return p
			}
		}
	}
	return nil
}

func all(values []string, yield func(string) *problem) *problem {
	for _, v := range values {
		if p := yield(v); p != nil {
			return p
		}
	}
	return nil
}

// cookies calls yield with every cookie of the source's name. One that net/http would leave out, since it has
// characters that it may not have or comes after very many others, is there for the application.
func (s *source) cookies(line string, yield func(string) *problem) *problem {
	for pair := range strings.SplitSeq(line, ";") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(name) != s.Name {
			continue
		}
		value = strings.TrimSpace(value)
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
			return problemOf(ReasonInvalidKey, "the %s, which may hold the partition key, has characters that no cookie has", s.label)
		}
		if p := yield(value); p != nil {
			return p
		}
	}
	return nil
}

func (s *source) query(raw string, yield func(string) *problem) *problem {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return problemOf(ReasonInvalidKey, "the query that may hold the partition key (%s) is malformed", s.label)
	}
	return all(values[s.Name], yield)
}

func (s *source) scalar(doc []byte, yield func(string) *problem) *problem {
	v, found, err := scalarAt(doc, s.pointer)
	if err != nil {
		return problemOf(ReasonMalformedBody, "%s: %s", s.label, describeJSON(err))
	}
	if !found {
		return nil
	}
	return yield(v)
}

// claim reads a JSON web token without verifying it: it only routes, the application decides.
// A token of another form has no claims.
func (s *source) claim(header string, yield func(string) *problem) *problem {
	token := header
	if scheme, rest, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(rest)
	}
	claims, err := claimsOf(token)
	if err != nil {
		return problemOf(ReasonInvalidKey, "%s: the token in header %s is malformed", s.label, s.Header)
	}
	if claims == nil {
		return nil
	}
	v, found, err := scalarAt(claims, s.pointer)
	if err != nil {
		return problemOf(ReasonInvalidKey, "%s in header %s: %s", s.label, s.Header, describeJSON(err))
	}
	if !found {
		return nil
	}
	return yield(v)
}

// claimsOf returns the claims of a JSON Web Token, unverified; nil: it is a token of another form.
func claimsOf(token string) ([]byte, error) {
	if strings.Count(token, ".") != 2 {
		return nil, nil
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
}

// claimOf returns one claim of a token, if that is a JSON Web Token that has it.
func claimOf(token, name string) (string, bool) {
	claims, err := claimsOf(token)
	if err != nil || len(claims) == 0 {
		return "", false
	}
	value, found, err := scalarAt(claims, []string{name})
	return value, found && err == nil && value != ""
}
