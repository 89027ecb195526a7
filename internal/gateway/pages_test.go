package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
)

func TestEndpoints(t *testing.T) {
	w := newWorld(t, nil)
	w.setState("beijing", ownership.RegionLost)
	w.setState("shenzhen", ownership.RegionReturning)
	w.publish(t)
	resp, text := w.call(t, "shanghai", "GET", "/.multiactive/endpoints", nil, nil)
	want := Endpoints{Service: "accounts/user", Region: "shanghai", Epoch: w.config.Epoch, Regions: []RegionEndpoint{
		{"beijing", "", w.places["beijing"].server.URL, false, ownership.RegionLost},
		{"shanghai", "", w.places["shanghai"].server.URL, true, ownership.RegionServing},
		{"shenzhen", "", w.places["shenzhen"].server.URL, true, ownership.RegionReturning},
	}}
	if diff := cmp.Diff(want, decode[Endpoints](t, text)); diff != "" || resp.StatusCode != http.StatusOK {
		t.Errorf("%d, endpoints (-want +got):\n%s", resp.StatusCode, diff)
	}
	resp, text = w.call(t, "beijing", "GET", "/.multiactive/healthz", nil, nil)
	if h := decode[Health](t, text); resp.StatusCode != http.StatusServiceUnavailable || h.Serves || !strings.Contains(h.Why, "Lost") {
		t.Errorf("health of a lost region: %d %s", resp.StatusCode, text)
	}
	resp, text = w.call(t, "shenzhen", "GET", "/.multiactive/healthz", nil, nil)
	if h := decode[Health](t, text); resp.StatusCode != http.StatusOK || !h.Serves {
		t.Errorf("health of a returning region: %d %s", resp.StatusCode, text)
	}
	w.places["shanghai"].gateway.Drain()
	if resp, text = w.call(t, "shanghai", "GET", "/.multiactive/healthz", nil, nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("health while shutting down: %d %s", resp.StatusCode, text)
	}
}

func TestOwnPagesStayWithTheGateway(t *testing.T) {
	w := newWorld(t, nil)
	resp, text := w.call(t, "beijing", "GET", "/.multiactive/routing?key=1", nil, nil)
	wantProblem(t, resp, text, http.StatusNotFound, ReasonNotFound)
	resp, text = w.call(t, "beijing", "POST", "/.multiactive/healthz", nil, nil)
	wantProblem(t, resp, text, http.StatusMethodNotAllowed, ReasonMethodNotAllowed)
}

func TestUnconfiguredGateway(t *testing.T) {
	_, g := newAgentClient(t)
	for _, path := range []string{"/v1/login", "/.multiactive/endpoints"} {
		rec := httptest.NewRecorder()
		g.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		wantProblem(t, rec.Result(), rec.Body.String(), http.StatusServiceUnavailable, ReasonNotConfigured)
	}
	for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/metrics": 200, "/.multiactive/routing?key=1": 503} {
		rec := httptest.NewRecorder()
		g.AdminHandler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}

func TestRoutingExplains(t *testing.T) {
	w := newWorld(t, nil)
	w.setState("shenzhen", ownership.RegionLost)
	w.publish(t)
	p := w.places["beijing"]
	admin := p.gateway.AdminHandler()
	ask := func(query string) (int, string) {
		rec := httptest.NewRecorder()
		admin.ServeHTTP(rec, httptest.NewRequest("GET", "/.multiactive/routing?"+query, nil))
		text, _ := io.ReadAll(rec.Body)
		return rec.Code, string(text)
	}
	type answer struct {
		Home, Owner string
		Reason      Reason
	}
	explain := func(home string) answer {
		code, text := ask("key=" + url.QueryEscape(" "+keyHomedIn(t, home)+" "))
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
		e := decode[Explanation](t, text)
		if e.Incomplete != (home == "shenzhen") {
			t.Errorf("incomplete is %t: %s", e.Incomplete, text)
		}
		if len(e.Rank) != 3 || e.Rank[0] != home || e.Summary == "" || e.Version == "" || e.Slot != ownership.Slot(keyHomedIn(t, home)) {
			t.Errorf("explanation lacks something: %s", text)
		}
		return answer{e.Home, e.Owner, e.Reason}
	}
	got := map[string]answer{"here": explain("beijing"), "elsewhere": explain("shanghai"), "lost": explain("shenzhen")}
	p.agent.leave(true)
	p.clock.jump(w.lease)
	got["here without lease"] = explain("beijing")
	want := map[string]answer{
		"here":               {"beijing", "beijing", ""},
		"elsewhere":          {"shanghai", "shanghai", ""},
		"lost":               {"shenzhen", "shanghai", ReasonHomeLost},
		"here without lease": {"beijing", "beijing", ReasonFenced},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("explanations (-want +got):\n%s", diff)
	}
	if code, text := ask("key=1&name=mail"); code != http.StatusBadRequest || !strings.Contains(text, "phone") {
		t.Errorf("an unknown key: %d %s", code, text)
	}
	if code, text := ask("key="); code != http.StatusBadRequest || !strings.Contains(text, "empty") {
		t.Errorf("an empty key: %d %s", code, text)
	}
}
