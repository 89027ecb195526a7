package gateway

import (
	"net/http"
	"testing"

	"multiactive.dev/operator/internal/routing"
)

func TestPlainHost(t *testing.T) {
	for host, plain := range map[string]bool{
		"": true, "x": true, "x:80": true, "x:": true, "X_1-a.example.com.": true, "[::1]": true, "[::1]:80": true, "127.0.0.1:8080": true, ".": true,
		":80": false, "x:http": false, "a..b": false, "x..": false, "x,y": false, "%61": false, "u@x": false, "x/y": false, "[::1": false, "::1": false,
		"[::1%25lo]": false, "[x]": false, "x y": false, "北京": false, "x:80:81": false,
	} {
		if got := plainHost(host); got != plain {
			t.Errorf("%q: plain is %t", host, got)
		}
	}
}

// TestAliases: a header with underscores is another's second name only where the gateway decides by that.
func TestAliases(t *testing.T) {
	cfg := testConfig()
	cfg.Keys[0].From = append(cfg.Keys[0].From, routing.Source{Type: routing.SourceHeader, Name: "user_id"})
	r := mustCompile(t, cfg)
	for name, aliased := range map[string]bool{
		"X-User-Phone": false, "X_user_phone": true, "X-User_phone": true, "User_id": false, "User-Id": true, "Content_type": true, "Transfer_encoding": true,
		"Idempotency_key": true, "My_header": false, "Content-Type": false, "X-Forwarded_for": true,
	} {
		if got := r.aliased(name); got != aliased {
			t.Errorf("%s: aliased is %t", name, got)
		}
	}
	if plain := mustCompile(t, testConfig()); plain.aliased("User-Id") || plain.aliased("User_id") {
		t.Error("a header that nobody declares is taken for another's second name")
	}
}

func TestUpgradesToWebSocket(t *testing.T) {
	for name, tc := range map[string]struct {
		upgrade, connection []string
		major               int
		want                bool
	}{
		"as browsers do":         {[]string{"websocket"}, []string{"keep-alive, Upgrade"}, 1, true},
		"in capitals":            {[]string{"WebSocket"}, []string{"upgrade"}, 1, true},
		"not listed":             {[]string{"websocket"}, []string{"keep-alive"}, 1, false},
		"another one":            {[]string{"h2c"}, []string{"Upgrade"}, 1, false},
		"several":                {[]string{"websocket, h2c"}, []string{"Upgrade"}, 1, false},
		"several, in two fields": {[]string{"websocket", "h2c"}, []string{"Upgrade"}, 1, false},
		"HTTP/2":                 {[]string{"websocket"}, []string{"Upgrade"}, 2, false},
	} {
		r := &http.Request{ProtoMajor: tc.major, Header: http.Header{"Upgrade": tc.upgrade, "Connection": tc.connection}}
		if got := upgradesToWebSocket(r); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
