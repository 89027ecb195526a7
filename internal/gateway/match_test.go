package gateway

import (
	"net/http/httptest"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/routing"
)

func TestMatch(t *testing.T) {
	flows := []routing.Flow{
		{Name: "all", Match: []routing.Match{{Path: "/"}}},
		{Name: "v1", Match: []routing.Match{{Path: "/v1/"}}},
		{Name: "user", Match: []routing.Match{{Path: "/v1/users/{id}"}}},
		{Name: "me", Match: []routing.Match{{Path: "/v1/users/me"}}},
		{Name: "user-delete", Match: []routing.Match{{Method: "DELETE", Path: "/v1/users/{id}"}}},
		{Name: "orders", Match: []routing.Match{{Path: "/v1/users/{id}/orders/"}}},
		{Name: "order", Match: []routing.Match{{Path: "/v1/users/{id}/orders/{order}"}}},
		{Name: "first-order", Match: []routing.Match{{Path: "/v1/users/{id}/orders/1"}}},
		{Name: "public", Match: []routing.Match{{Path: "/v1/public/"}}},
		{Name: "admin", Match: []routing.Match{{Host: "Admin.example.com", Path: "/v1/"}}},
	}
	cases := map[string]struct{ method, host, target, want string }{
		"root":                         {"GET", "", "/", "all"},
		"anything":                     {"GET", "", "/x/y", "all"},
		"prefix itself":                {"GET", "", "/v1/", "v1"},
		"prefix without slash":         {"GET", "", "/v1", "all"},
		"below prefix":                 {"GET", "", "/v1/x", "v1"},
		"variable":                     {"GET", "", "/v1/users/7", "user"},
		"exact before variable":        {"GET", "", "/v1/users/me", "me"},
		"exact before method":          {"DELETE", "", "/v1/users/me", "me"},
		"method before none":           {"DELETE", "", "/v1/users/7", "user-delete"},
		"empty variable":               {"GET", "", "/v1/users/", "v1"},
		"trailing slash is another":    {"GET", "", "/v1/users/7/", "v1"},
		"prefix with variable":         {"GET", "", "/v1/users/7/orders/8/items", "orders"},
		"two variables":                {"GET", "", "/v1/users/7/orders/8", "order"},
		"literal before variable":      {"GET", "", "/v1/users/7/orders/1", "first-order"},
		"host before path":             {"GET", "admin.example.com:8443", "/v1/users/me", "admin"},
		"host with dot and capitals":   {"GET", "ADMIN.example.com.", "/v1/x", "admin"},
		"other host":                   {"GET", "example.com", "/v1/x", "v1"},
		"host without its path":        {"GET", "admin.example.com", "/v2", "all"},
		"encoded letter":               {"GET", "", "/v1/%75sers/me", "me"},
		"encoded variable":             {"GET", "", "/v1/users/a%20b", "user"},
		"query does not matter":        {"GET", "", "/v1/users/me?a=/v1/x", "me"},
		"dot segment to another flow":  {"GET", "", "/v1/public/../users/me", "ambiguous"},
		"parameter to another flow":    {"GET", "", "/v1/public/..;/users/me", "ambiguous"},
		"parameter hides literal":      {"GET", "", "/v1/users/me;a=b", "ambiguous"},
		"encoded dots":                 {"GET", "", "/v1/public/%2e%2e/users/me", "ambiguous"},
		"double slash":                 {"GET", "", "/v1//users/me", "ambiguous"},
		"backslash":                    {"GET", "", `/v1/public/..%5Cusers/me`, "ambiguous"},
		"encoded slash changes flow":   {"GET", "", "/v1/users/a%2Forders", "ambiguous"},
		"encoded slash within a flow":  {"GET", "", "/v1/public/a%2Fb", "public"},
		"dot segment within a flow":    {"GET", "", "/v1/public/a/../b", "public"},
		"parameter of a variable":      {"GET", "", "/v1/users/7;a=b", "ambiguous"},
		"double slash within the rest": {"GET", "", "/x//y", "all"},
		"asterisk":                     {"OPTIONS", "", "*", "ambiguous"},
	}
	m, warnings := newMatcher(flows)
	if len(warnings) > 0 {
		t.Fatal(warnings)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, "/", nil)
			r.URL.Path = tc.target
			if tc.target != "*" {
				r = httptest.NewRequest(tc.method, tc.target, nil)
			}
			found, err := m.findRequest(r, tc.host)
			got := "none"
			switch {
			case err != nil:
				got = "ambiguous"
			case found.pattern != nil:
				got = flows[found.pattern.flow].Name
			}
			if got != tc.want {
				t.Errorf("%s %s%s is flow %s, want %s", tc.method, tc.host, tc.target, got, tc.want)
			}
		})
	}
}

func TestMatchOfEqualPatternsIsTheFirst(t *testing.T) {
	flows := []routing.Flow{
		{Name: "a", Match: []routing.Match{{Path: "/v1/users/{id}"}}},
		{Name: "b", Match: []routing.Match{{Path: "/v1/users/{name}"}, {Path: "/v1/users/{id}/{x}"}}},
		{Name: "c", Match: []routing.Match{{Path: "/v1/users/me/{x}"}}},
	}
	m, warnings := newMatcher(flows)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "flow b") || !strings.Contains(warnings[0], "flow a") {
		t.Errorf("warnings: %q", warnings)
	}
	if got := m.find("", "GET", "/v1/users/7"); got.pattern == nil || got.pattern.flow != 0 {
		t.Errorf("the first of equal patterns must win, got %+v", got.pattern)
	}
	if got := m.find("", "GET", "/v1/users/me/x"); got.pattern == nil || got.pattern.flow != 2 {
		t.Errorf("literals must go before variables, got %+v", got.pattern)
	}
}

func TestPatternErrors(t *testing.T) {
	for name, path := range map[string]string{
		"relative": "v1", "empty": "", "open brace": "/v1/{id", "no name": "/v1/{}", "twice": "/{a}/{a}",
		"brace inside": "/v1/a{b}", "dots": "/v1/../x", "empty segment": "/v1//x",
	} {
		t.Run(name, func(t *testing.T) {
			m, warnings := newMatcher([]routing.Flow{{Name: "login", Match: []routing.Match{{Path: path}, {Path: "/good"}}}})
			if len(warnings) != 1 || !strings.Contains(warnings[0], "flows[login].match[0].path") {
				t.Errorf("%q: got warnings %q, want one that names the field", path, warnings)
			}
			if m.find("", "GET", "/good").pattern == nil {
				t.Errorf("%q: the other match is not used", path)
			}
		})
	}
}

// FuzzMatch checks that no path is taken for a flow that a cleaning application would not see.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"/v1/public/x", "/v1/public/../transfers", "/v1/public/..;/transfers", "/v1/transfers", "/v1/users/a%2fb", "//", "/%", "/v1/users/;x"} {
		f.Add(seed)
	}
	m, warnings := newMatcher([]routing.Flow{
		{Name: "public", Match: []routing.Match{{Path: "/v1/public/"}}},
		{Name: "transfers", Match: []routing.Match{{Path: "/v1/transfers"}}},
		{Name: "user", Match: []routing.Match{{Path: "/v1/users/{id}"}}},
	})
	if len(warnings) > 0 {
		f.Fatal(warnings)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r := httptest.NewRequest("GET", "/", nil)
		u, err := r.URL.Parse("http://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = u.Parse(target); err != nil {
			return
		}
		found, err := m.findRequest(r, "")
		if err != nil {
			return
		}
		if again := m.find("", "GET", clean(r.URL.Path)); again.pattern != found.pattern {
			t.Errorf("%q: an application that cleans paths would see another flow", target)
		}
	})
}
