package gateway

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// stillClock shows a time that the test sets.
type stillClock struct {
	SystemClock
	now time.Time
}

func (c *stillClock) Now() time.Time { return c.now }

func TestAppCheckLooksOnceInAWhile(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	upstream := &url.URL{Scheme: "http", Host: listener.Addr().String()}
	clock := &stillClock{now: time.Now()}
	c := &appCheck{clock: clock}
	look := func(want bool, why string) {
		t.Helper()
		if got := c.look(t.Context(), upstream); got != want {
			t.Errorf("takes connections: %t, want %t: %s", got, want, why)
		}
	}
	look(true, "somebody listens")
	_ = listener.Close()
	clock.now = clock.now.Add(appCheckEvery - 1)
	look(true, "somebody did a moment ago")
	clock.now = clock.now.Add(1)
	look(false, "nobody listens any more")
	if listener, err = net.Listen("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	look(false, "nobody did a moment ago")
	upstream = &url.URL{Scheme: "http", Host: strings.Replace(upstream.Host, "127.0.0.1", "localhost", 1)}
	look(true, "another address is another question")
}

func TestDialAddress(t *testing.T) {
	for base, want := range map[string]string{
		"http://10.0.0.7:8080": "10.0.0.7:8080", "http://app": "app:80", "https://app/": "app:443", "http://[fd00::7]:8080": "[fd00::7]:8080",
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		if got := dialAddress(u); got != want {
			t.Errorf("%s leads to %s, want %s", base, got, want)
		}
	}
}

// TestHealthOfTheApplication closes a region's application: whoever probes the region sees it, and
// neither the kubelet's probes nor what the agreed view says have to do with it.
func TestHealthOfTheApplication(t *testing.T) {
	const page = "/.multiactive/healthz/app"
	w := newWorld(t, nil)
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	p := w.places["beijing"]
	resp, text := w.call(t, "beijing", "GET", page, nil, nil)
	if h := decode[AppHealth](t, text); resp.StatusCode != http.StatusOK || h != (AppHealth{Reachable: true, Region: "beijing"}) {
		t.Errorf("a lost region whose application runs: %d %s", resp.StatusCode, text)
	}
	p.app.Close()
	for deadline := time.Now().Add(patience); resp.StatusCode == http.StatusOK && time.Now().Before(deadline); {
		resp, text = w.call(t, "beijing", "GET", page, nil, nil)
	}
	if h := decode[AppHealth](t, text); resp.StatusCode != http.StatusServiceUnavailable || h.Reachable || h.Why == "" {
		t.Errorf("an application that is down: %d %s", resp.StatusCode, text)
	}
	if strings.Contains(text, "127.0.0.1") {
		t.Errorf("the answer has an address of the cluster's: %s", text)
	}
	for _, probe := range []string{"/healthz", "/readyz"} {
		rec := httptest.NewRecorder()
		p.gateway.AdminHandler().ServeHTTP(rec, httptest.NewRequest("GET", probe, nil))
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d without the application; the gateway must go on", probe, rec.Code)
		}
	}
}

func TestHealthOfTheApplicationBeforeTheRouting(t *testing.T) {
	_, g := newAgentClient(t)
	rec := httptest.NewRecorder()
	g.ServeHTTP(rec, httptest.NewRequest("GET", "/.multiactive/healthz/app", nil))
	if h := decode[AppHealth](t, rec.Body.String()); rec.Code != http.StatusServiceUnavailable || h.Reachable || !strings.Contains(h.Why, "no routing") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
