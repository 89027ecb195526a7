package gateway

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
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
