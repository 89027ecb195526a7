package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/gateway"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peertls"
	"multiactive.dev/operator/internal/routing"
)

func TestPeerIdentity(t *testing.T) {
	dir := t.TempDir()
	read := peerIdentity(dir)
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "--peer-tls-dir") {
		t.Errorf("an empty directory: error is %v", err)
	}
	ca, err := ownca.ForGateways("here")(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(peertls.ID{Region: "here", Namespace: "a", Name: "u"}, time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("tls.crt", cert)
	put("tls.key", key[:len(key)/2])
	if _, err := read(); err == nil || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("half a key: error is %v", err)
	}
	put("tls.key", key)
	if identity, err := read(); err != nil || identity.Authorities != nil || identity.ID.Name != "u" {
		t.Errorf("without authorities: %+v, %v", identity, err)
	}
	put("ca.crt", ownca.PEM(ca.Certificate))
	if identity, err := read(); err != nil || identity.Authorities == nil {
		t.Errorf("with authorities: %+v, %v", identity, err)
	}
	put("ca.crt", []byte("no certificate"))
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("authorities that cannot be read: error is %v", err)
	}
}

// TestPeerPort asks the whole program over mutual TLS, and ends it.
func TestPeerPort(t *testing.T) {
	ca, err := ownca.ForGateways("there")(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Minute, Config: &routing.Config{
			Namespace: "a", Name: "u", UID: "x", Region: "here", Upstream: "http://127.0.0.1:1", PeerKey: make([]byte, 32),
			Regions: []routing.Region{
				{Name: "here", Weight: 1, Endpoint: "http://127.0.0.1:1", State: ownership.RegionServing},
				{
					Name: "there", Weight: 1, PeerEndpoint: "https://127.0.0.1:1", Authorities: string(ownca.PEM(ca.Certificate)),
					State: ownership.RegionServing,
				},
			},
		}})
	}))
	defer agent.Close()
	identity := func(region string) *peertls.Identity {
		t.Helper()
		cert, key, err := ca.Issue(peertls.ID{Region: region, Namespace: "a", Name: "u"}, time.Now(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		out, err := peertls.ParseIdentity(cert, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	own, theirs := identity("here"), identity("there")
	peers, public, admin := freeAddress(t), freeAddress(t), freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, &config{
			listen: public, adminListen: admin, peerListen: peers, headerTimeout: time.Minute, idleTimeout: time.Minute, drainTimeout: time.Minute,
			options: gateway.Options{
				Agent: agent.URL, Namespace: "a", Name: "u", Gateway: "g", Log: slog.New(slog.DiscardHandler),
				PeerIdentity: func() (*peertls.Identity, error) { return own, nil },
			},
		})
	}()
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{theirs.Certificate}, InsecureSkipVerify: true,
	}}}
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := client.Get("https://" + peers + "/x")
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), string(gateway.ReasonHopRefused)) || resp.ProtoMajor != 2 {
				t.Errorf("a request that is no hop: %s %s %s", resp.Proto, resp.Status, text)
			}
			if got := resp.TLS.PeerCertificates[0]; !got.Equal(own.Certificate.Leaf) {
				t.Errorf("the gateway shows %v", got.URIs)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // until it has its routing
	}
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Get("https://" + peers + "/x")
	if err == nil {
		_ = resp.Body.Close()
		t.Error("who shows no certificate got an answer")
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
}
