package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// FuzzPointer checks that what is found in a document is what any other reader finds there.
func FuzzPointer(f *testing.F) {
	for _, seed := range [][2]string{
		{"/phone", `{"phone":"138"}`}, {"", `"138"`}, {"/a/0/b", `{"a":[{"b":7}]}`}, {"/a~1b/m~0n", `{"a/b":{"m~n":"x"}}`},
		{"/phone", `{"phone":"138","phone":"139"}`}, {"/phone", `{"Phone":"138"}`}, {"/a", `{"a":1e3}`}, {"/0", `["x"]`}, {"/k", `{"K":"x"}`}, {"/a", `{"a":"\ud800"}`},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, pointer string, doc []byte) {
		tokens, err := parsePointer(pointer)
		if err != nil {
			return
		}
		value, found, err := scalarAt(doc, tokens)
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		var whole any
		if bad := dec.Decode(&whole); err == nil && bad != nil {
			t.Fatalf("%q was taken, and is no JSON: %v", doc, bad)
		}
		if err != nil || !found {
			if value != "" || err != nil && found {
				t.Errorf("found %q with %v", value, err)
			}
			return
		}
		for _, token := range tokens {
			switch x := whole.(type) {
			case map[string]any:
				whole = x[token]
			case []any:
				i, err := strconv.Atoi(token)
				if err != nil || i < 0 || i >= len(x) {
					t.Fatalf("%q in %q: no element %q", pointer, doc, token)
				}
				whole = x[i]
			}
		}
		switch x := whole.(type) {
		case string:
			if x != value {
				t.Errorf("%q in %q: %q for us, %q for others", pointer, doc, value, x)
			}
		case json.Number:
			if x.String() != value {
				t.Errorf("%q in %q: %q for us, %s for others", pointer, doc, value, x)
			}
		default:
			t.Errorf("%q in %q: %q for us, %v for others", pointer, doc, value, x)
		}
	})
}

// FuzzNormalize checks that a normalised key stays as it is: whoever normalises it again, the application or
// another gateway, finds the same slot, and a header carries it unchanged.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"138 0000", " A@Example.com ", "\u0130stanbul", "\u1e9e", "\u2003x\u2003", "+86-138", "\x85", "\u00a0", "e\u0301"} {
		f.Add(seed, byte(7))
	}
	f.Fuzz(func(t *testing.T, raw string, which byte) {
		decl := routing.Key{Name: "k"}
		for i, n := range []string{"Trim", "Lowercase", "DigitsOnly"} {
			if which&(1<<i) != 0 {
				decl.Normalize = append(decl.Normalize, n)
			}
		}
		if which&8 != 0 {
			slices.Reverse(decl.Normalize)
		}
		k, err := compileKey(decl)
		if err != nil {
			t.Fatal(err)
		}
		once, p := k.check(raw, "test")
		if p != nil {
			return
		}
		twice, p := k.check(once, "test")
		if p != nil || twice != once || ownership.Slot(twice) != ownership.Slot(once) {
			t.Errorf("%q became %q, and then %q (%v)", raw, once, twice, p)
		}
		if !httpguts.ValidHeaderFieldValue(once) || !utf8.ValidString(once) || strings.TrimSpace(once) != once {
			t.Errorf("%q cannot be a header", once)
		}
	})
}

// FuzzPattern checks that a pattern matches the paths that it is written for, with their variables, and that
// precedence is an order.
func FuzzPattern(f *testing.F) {
	f.Add("/v1/users/{id}", "/v1/users/me", "7")
	f.Add("/", "/v1/", "x")
	f.Add("/{a}/{b}/", "/{b}/c/", "..")
	f.Add("/v1//x", "/{", "")
	f.Fuzz(func(t *testing.T, one, other, value string) {
		p, err := parsePattern(routing.Match{Path: one}, "one")
		if err != nil {
			return
		}
		if value == "" || strings.Contains(value, "/") {
			value = "x"
		}
		path := ""
		for _, s := range p.segments {
			text := s.text
			if s.variable {
				text = value
			}
			path += "/" + text
		}
		if p.prefix || path == "" {
			path += "/"
		}
		if !p.matches(path) {
			t.Fatalf("%q does not match %q", one, path)
		}
		for _, s := range p.segments {
			if got, ok := p.variable(path, s.text); s.variable && (!ok || got != value) {
				t.Errorf("%q of %q in %q is %q, %t", s.text, one, path, got, ok)
			}
		}
		if strings.HasPrefix(other, "/") {
			p.matches(other) // whatever it is
		}
		q, err := parsePattern(routing.Match{Path: other}, "other")
		if err != nil {
			return
		}
		p.order, q.order = 0, 1
		if a, b := p.compare(&q), q.compare(&p); (a < 0) == (b < 0) || p.overlaps(&q) != q.overlaps(&p) {
			t.Errorf("%q and %q: %d and %d", one, other, a, b)
		}
	})
}

// FuzzProblem checks that a refusal is a document, or trailers, whatever it speaks of, and injects nothing.
func FuzzProblem(f *testing.F) {
	f.Add("nothing was sent", "Paused.", "beijing", "en")
	f.Add("a\r\nX-A: b", "\x00", "\xff", "zh-CN,en;q=0.1")
	f.Add("%", "\u2028</script>", "\"", strings.Repeat("a-", 200))
	f.Fuzz(func(t *testing.T, detail, announcement, region, accept string) {
		cfg := testConfig()
		cfg.Announcements = []routing.Announcement{{Flows: []string{"*"}, Text: []routing.LocalizedText{{Language: "en", Value: announcement}}}}
		router := mustCompile(t, cfg)
		for _, grpc := range []bool{false, true} {
			rec := httptest.NewRecorder()
			r := httptest.NewRequest("POST", "/v1/accounts", nil)
			r.Header["Accept-Language"] = []string{accept}
			if grpc {
				r.ProtoMajor, r.ProtoMinor = 2, 0
				r.Header.Set("Content-Type", "application/grpc")
			}
			conn := &connection{clock: SystemClock{}, ctl: http.NewResponseController(rec)}
			ex := &exchange{g: &Gateway{}, r: r, w: &responseWriter{ResponseWriter: rec, conn: conn}, snap: &snapshot{router: router}, flow: &router.flows[1]}
			p := problemOf(ReasonHomeLost, "%s", detail)
			p.region = region
			ex.refuse(p)
			for name, values := range rec.Header() {
				for _, v := range values {
					if !httpguts.ValidHeaderFieldName(strings.TrimPrefix(name, http.TrailerPrefix)) || !httpguts.ValidHeaderFieldValue(v) {
						t.Errorf("header %q: %q", name, v)
					}
				}
			}
			if grpc {
				text, err := url.PathUnescape(rec.Header().Get(http.TrailerPrefix + "Grpc-Message"))
				if err != nil || !strings.Contains(text, detail) || rec.Body.Len() > 0 {
					t.Errorf("the message is %q, %v", text, err)
				}
				continue
			}
			var doc Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
				t.Fatalf("%q: %v", rec.Body, err)
			}
			if doc.Detail != strings.ToValidUTF8(detail, "\ufffd") && utf8.ValidString(detail) || doc.Reason != ReasonHomeLost || doc.Flow != "register" {
				t.Errorf("got %+v of %q", doc, detail)
			}
		}
	})
}

// FuzzPassage checks that nobody speaks for a deferred request who has not signed it.
func FuzzPassage(f *testing.F) {
	key := []byte("0123456789abcdef")
	genuine := passage{ID: "beijing.a", Key: "138", Subject: "u", Header: "Idempotency-Key", Value: "k", Digest: digest("POST", "/x", "{}")}
	value := genuine.sign(key, "uid", "shanghai")
	f.Add(value)
	f.Add("")
	f.Add("v1,,")
	f.Add(strings.Replace(value, "v1,", "v1,,", 1))
	f.Add(genuine.sign(key, "uid", "beijing"))
	f.Fuzz(func(t *testing.T, value string) {
		p, ok := openPassage(value, key, "uid", "shanghai")
		if !ok {
			return
		}
		p.To = ""
		if *p != genuine {
			t.Errorf("%q was believed as %+v", value, p)
		}
	})
}
