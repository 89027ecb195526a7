package gateway

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"multiactive.dev/operator/internal/routing"
)

// userKey may be in every kind of place.
func userKey() routing.Key {
	return routing.Key{Name: "phone", Normalize: []string{"Trim", "Lowercase"}, From: []routing.Source{
		{Type: routing.SourceHeader, Name: "x-user-phone"},
		{Type: routing.SourceCookie, Name: "phone"},
		{Type: routing.SourceQuery, Name: "phone"},
		{Type: routing.SourcePath, Name: "id"},
		{Type: routing.SourceJSONBody, Name: "/user/phones/0"},
		{Type: routing.SourceJWTClaim, Name: "phone"},
	}}
}

// extract reads a key that must be there.
func (k *key) extract(parts *requestParts) (string, *problem) {
	value, found, p := k.find(parts)
	if p == nil && !found {
		p = k.missing()
	}
	return value, p
}

func bearer(claims string) string {
	return "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

func TestExtract(t *testing.T) {
	cases := map[string]struct {
		target string
		header http.Header
		body   string
		want   string
		reason Reason
		detail string
	}{
		"header":              {header: http.Header{"X-User-Phone": {" A1 "}}, want: "a1"},
		"cookie":              {header: http.Header{"Cookie": {"a=b; phone=a1"}}, want: "a1"},
		"query":               {target: "/?phone=a%31", want: "a1"},
		"path":                {target: "/users/a1", want: "a1"},
		"body":                {body: `{"x":[1,{"y":2}],"user":{"phones":["a1",{}]}}`, want: "a1"},
		"body number":         {body: `{"user":{"phones":[13800000000123456789]}}`, want: "13800000000123456789"},
		"claim":               {header: http.Header{"Authorization": {bearer(`{"phone":"a1"}`)}}, want: "a1"},
		"opaque token":        {target: "/?phone=a1", header: http.Header{"Authorization": {"Bearer opaque"}}, want: "a1"},
		"null is absent":      {target: "/?phone=a1", body: `{"user":{"phones":[null]}}`, want: "a1"},
		"all agree":           {target: "/users/A1?phone=a1", header: http.Header{"X-User-Phone": {"a1"}}, body: `{"user":{"phones":["a1 "]}}`, want: "a1"},
		"beyond ASCII":        {target: "/?phone=%E5%8C%97%E4%BA%AC", want: "北京"},
		"longest":             {target: "/?phone=" + strings.Repeat("a", MaxKeyBytes), want: strings.Repeat("a", MaxKeyBytes)},
		"none":                {reason: ReasonMissingKey, detail: "header X-User-Phone, or cookie phone"},
		"elsewhere in body":   {body: `{"phone":"a1"}`, reason: ReasonMissingKey},
		"two differ":          {target: "/?phone=a2", header: http.Header{"X-User-Phone": {"a1"}}, reason: ReasonConflictingKeys, detail: "header X-User-Phone and query parameter phone"},
		"two headers":         {header: http.Header{"X-User-Phone": {"a1", "a2"}}, reason: ReasonConflictingKeys},
		"two cookies":         {header: http.Header{"Cookie": {"phone=a1; phone=a2"}}, reason: ReasonConflictingKeys},
		"two parameters":      {target: "/?phone=a1&phone=a2", reason: ReasonConflictingKeys},
		"body and path":       {target: "/users/a1", body: `{"user":{"phones":["a2"]}}`, reason: ReasonConflictingKeys, detail: "path variable id and JSON body at /user/phones/0"},
		"empty":               {target: "/?phone=", reason: ReasonInvalidKey, detail: "is empty"},
		"empty once trimmed":  {header: http.Header{"X-User-Phone": {"  "}}, reason: ReasonInvalidKey, detail: "is empty"},
		"too long":            {target: "/?phone=" + strings.Repeat("a", MaxKeyBytes+1), reason: ReasonInvalidKey, detail: "256"},
		"control":             {target: "/?phone=a%00b", reason: ReasonInvalidKey, detail: "control"},
		"control within body": {body: `{"user":{"phones":["a\u001fb"]}}`, reason: ReasonInvalidKey, detail: "control"},
		"not UTF-8":           {target: "/?phone=%ff", reason: ReasonInvalidKey, detail: "UTF-8"},
		"lone surrogate":      {body: `{"user":{"phones":["\ud800"]}}`, reason: ReasonInvalidKey, detail: "UTF-8"},
		"malformed query":     {target: "/?phone=a1;b=c", reason: ReasonInvalidKey},
		"malformed body":      {body: `{"user":`, reason: ReasonMalformedBody, detail: "JSON body at /user/phones/0"},
		"malformed later":     {body: `{"user":{"phones":["a1"]},}`, reason: ReasonMalformedBody},
		"two documents":       {body: `{"user":{"phones":["a1"]}} {}`, reason: ReasonMalformedBody, detail: "after the end"},
		"repeated member":     {body: `{"user":{"phones":["a1"]},"user":{"phones":["a2"]}}`, reason: ReasonMalformedBody, detail: "more than once"},
		"boolean":             {body: `{"user":{"phones":[true]}}`, reason: ReasonMalformedBody, detail: "neither a string nor a whole number"},
		"object":              {body: `{"user":{"phones":[{}]}}`, reason: ReasonMalformedBody},
		"fraction":            {body: `{"user":{"phones":[1.0]}}`, reason: ReasonMalformedBody},
		"exponent":            {body: `{"user":{"phones":[1e3]}}`, reason: ReasonMalformedBody},
		"minus zero":          {body: `{"user":{"phones":[-0]}}`, reason: ReasonMalformedBody},
		"malformed token":     {header: http.Header{"Authorization": {"Bearer a.!.c"}}, reason: ReasonInvalidKey},
		"malformed claims":    {header: http.Header{"Authorization": {bearer(`{"phone"`)}}, reason: ReasonInvalidKey, detail: "token claim phone"},
	}
	k, err := compileKey(userKey())
	if err != nil {
		t.Fatal(err)
	}
	m, _ := newMatcher([]routing.Flow{{Name: "user", Match: []routing.Match{{Path: "/users/{id}"}, {Path: "/"}}}})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/"+strings.TrimPrefix(tc.target, "/"), nil)
			found, err := m.findRequest(r, "")
			if err != nil {
				t.Fatal(err)
			}
			got, p := k.extract(&requestParts{header: tc.header, url: r.URL, match: found, body: []byte(tc.body)})
			var reason Reason
			var detail string
			if p != nil {
				reason, detail = p.reason, p.detail
			}
			if got != tc.want || reason != tc.reason || !strings.Contains(detail, tc.detail) {
				t.Errorf("got %q, reason %q, %q; want %q, reason %q, a detail with %q", got, reason, detail, tc.want, tc.reason, tc.detail)
			}
			if strings.Contains(detail, "a1") || strings.Contains(detail, "a2") {
				t.Errorf("the detail repeats the key: %s", detail)
			}
		})
	}
}

func TestDigitsOnly(t *testing.T) {
	k, err := compileKey(routing.Key{Name: "phone", From: []routing.Source{{Type: routing.SourceQuery, Name: "p"}}, Normalize: []string{"DigitsOnly"}})
	if err != nil {
		t.Fatal(err)
	}
	got, p := k.extract(&requestParts{url: httptest.NewRequest("GET", "/?p=%2B86%20138-0000", nil).URL})
	if p != nil || got != "861380000" {
		t.Errorf("got %q, %v", got, p)
	}
}

func TestCompileKeyErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		key  routing.Key
		want string
	}{
		"unknown source":    {routing.Key{Name: "k", From: []routing.Source{{Type: "Moon", Name: "x"}}}, "keys[k].from[0].type"},
		"no name":           {routing.Key{Name: "k", From: []routing.Source{{Type: routing.SourceHeader}}}, "keys[k].from[0].name"},
		"pointer":           {routing.Key{Name: "k", From: []routing.Source{{Type: routing.SourceJSONBody, Name: "phone"}}}, "keys[k].from[0].name"},
		"pointer escape":    {routing.Key{Name: "k", From: []routing.Source{{Type: routing.SourceJSONBody, Name: "/a~2"}}}, "keys[k].from[0].name"},
		"unknown normalise": {routing.Key{Name: "k", Normalize: []string{"Rot13"}}, "keys[k].normalize[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := compileKey(tc.key); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that names %s", err, tc.want)
			}
		})
	}
}

func TestPointerTokens(t *testing.T) {
	doc := []byte(`{"a/b":"1","m~n":{"":"2"},"~1":"3","c":["x","4"]}`)
	for pointer, want := range map[string]string{"/a~1b": "1", "/m~0n/": "2", "/~01": "3", "/c/1": "4", "/c/01": "", "/c/-": "", "/c/2": ""} {
		tokens, err := parsePointer(pointer)
		if err != nil {
			t.Fatal(err)
		}
		if got, found, err := scalarAt(doc, tokens); err != nil || got != want || found != (want != "") {
			t.Errorf("%s: got %q, %v, %v; want %q", pointer, got, found, err, want)
		}
	}
}

// FuzzExtract checks that whatever is accepted is a key that a header can carry unchanged.
func FuzzExtract(f *testing.F) {
	f.Add("a1", "phone=a1", `{"user":{"phones":["a1"]}}`, "phone=a1")
	f.Add("", "", `{"user":{"phones":[1e400]}}`, "phone=\"")
	f.Add(bearer(`{"phone":"a1"}`), "%", `[[[[`, "")
	f.Add("a", "", `{"user":{"phones":["a"],"phones":["b"]}}`, "")
	k, err := compileKey(userKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header, query, body, cookie string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		if header != "" {
			r.Header["X-User-Phone"] = []string{header}
			r.Header["Authorization"] = []string{header}
		}
		if cookie != "" {
			r.Header["Cookie"] = []string{cookie}
		}
		key, p := k.extract(&requestParts{header: r.Header, url: r.URL, body: []byte(body)})
		if p != nil {
			if _, known := reasons[p.reason]; !known || key != "" {
				t.Errorf("refused with %q and key %q", p.reason, key)
			}
			return
		}
		if key == "" || len(key) > MaxKeyBytes || strings.ContainsFunc(key, unicode.IsControl) || strings.TrimSpace(key) != key {
			t.Errorf("accepted key %q", key)
		}
	})
}
