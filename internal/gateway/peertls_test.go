package gateway

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/routing"
)

func TestHopsOverMutualTLS(t *testing.T) {
	m := newMutualWorld(t)
	key := keyHomedIn(t, "shanghai")
	resp, text := m.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": key}, strings.NewReader(`{"phone": "`+key+`"}`))
	if got := decode[seen](t, text); resp.StatusCode != http.StatusOK || got.Region != "shanghai" || got.Body == "" || got.Header.Get(HeaderOwner) != "shanghai" {
		t.Fatalf("a home request: %d %s", resp.StatusCode, text)
	}
	if n := m.mutual["shanghai"].serials[m.serial()]; n != 1 {
		t.Errorf("beijing's certificate came with %d requests, want 1", n)
	}
	resp, text = m.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": key, "Content-Type": "application/grpc"}, nil)
	if resp.StatusCode != http.StatusOK || decode[seen](t, text).Region != "shanghai" {
		t.Errorf("gRPC: %d %s", resp.StatusCode, text)
	}
	// An upgrade needs HTTP/1.1 on the way between the regions.
	m.places["shanghai"].handle(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.ProtoMajor != 1 {
			t.Errorf("the application got an upgrade to %q over %s", r.Header.Get("Upgrade"), r.Proto)
		}
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", m.places["beijing"].server.URL+"/v1/profile", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-User-Phone": {key}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	upgraded, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = upgraded.Body.Close() // the connection is the caller's now
	if upgraded.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("an upgrade: %d", upgraded.StatusCode)
	}
}

// TestPeersTaken tells the agent whose requests are taken: those of whoever could be judged, dialled or not.
func TestPeersTaken(t *testing.T) {
	m := newMutualWorld(t)
	g := m.places["shanghai"].gateway
	taken := func(want ...string) {
		t.Helper()
		if got := g.peersTaken(); !slices.Equal(got, want) {
			t.Errorf("takes requests from %q, want %q", got, want)
		}
	}
	others := slices.DeleteFunc(slices.Clone(worldRegions), func(r string) bool { return r == "shanghai" })
	taken(others...)

	// Beijing dials shanghai, and is not dialled yet.
	i := slices.IndexFunc(m.config.Regions, func(r routing.Region) bool { return r.Name == "beijing" })
	m.config.Regions[i].PeerEndpoint, m.config.PlainHopsRefused = "", false
	m.publish(t)
	taken(others...)
	key := keyHomedIn(t, "shanghai")
	resp, text := m.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": key}, nil)
	if resp.StatusCode != http.StatusOK || decode[seen](t, text).Region != "shanghai" || m.mutual["shanghai"].serials[m.serial()] == 0 {
		t.Errorf("a request of who is not dialled: %d %s", resp.StatusCode, text)
	}

	m.trusts(t, "beijing")
	taken(slices.DeleteFunc(slices.Clone(others), func(r string) bool { return r == "beijing" })...)
	files := m.mutual["shanghai"].files
	files.mu.Lock()
	files.ca = ownca.PEM(m.mutual["beijing"].authority.Certificate)
	files.mu.Unlock()
	g.identity.look()
	taken(others...) // by its own file, which holds for all regions

	for name, o := range map[string]Options{"no port": {}, "no certificate": {ListensForPeers: true}} {
		o.Agent, o.Namespace, o.Name, o.Gateway = g.options.Agent, "accounts", "user", "other"
		other, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		other.state.install(&snapshot{router: g.state.load().router})
		if !o.ListensForPeers {
			other.identity.current.Store(g.identity.current.Load())
		}
		if got := other.peersTaken(); got != nil {
			t.Errorf("%s: takes requests from %q", name, got)
		}
	}
}

// TestRotation changes certificates and authorities of all regions while requests are under way.
func TestRotation(t *testing.T) {
	m := newMutualWorld(t)
	stop := make(chan struct{})
	var load sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); load.Wait() })
	defer end()
	var mu sync.Mutex
	answered := map[string]int{} // by the certificate that beijing showed last
	for n := range 4 {
		load.Go(func() {
			key := keyHomedIn(t, "shanghai")
			for {
				select {
				case <-stop:
					return
				default:
				}
				serial := m.serial()
				req, err := http.NewRequestWithContext(t.Context(), "POST", m.places["beijing"].server.URL+"/v1/accounts", strings.NewReader(`{"phone": "`+key+`"}`))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-User-Phone", key)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("caller %d: %d %s %v", n, resp.StatusCode, text, err)
					return
				}
				mu.Lock()
				answered[serial]++
				mu.Unlock()
			}
		})
	}
	settled := func() {
		t.Helper()
		deadline := time.Now().Add(patience)
		for {
			serial := m.serial()
			p := m.mutual["shanghai"]
			p.mu.Lock()
			shown := p.serials[serial]
			p.mu.Unlock()
			mu.Lock()
			done := answered[serial] >= 20 && shown > 0
			mu.Unlock()
			if done || t.Failed() {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("no requests were served with certificate %s", serial)
			}
			time.Sleep(time.Millisecond) // the load is what is waited for
		}
	}
	settled()
	for _, region := range worldRegions {
		m.shows(region, issue(t, m.mutual[region].authority, idOf(region)))
	}
	settled()
	for _, region := range worldRegions {
		before, next := m.mutual[region].authority, newAuthority(t, region)
		m.trusts(t, region, before.Certificate, next.Certificate)
		m.shows(region, issue(t, next, idOf(region)))
		settled()
		m.trusts(t, region, next.Certificate)
		m.mutual[region].authority = next
		settled()
	}
	end()
	if n := len(answered); n < 3 {
		t.Errorf("requests were served with %d certificates of beijing, want at least 3", n)
	}
}
