package gateway

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/peertls"
)

// TestPeersThatAreRefused shows what a user is told when a peer's certificate is not what it must be, on each
// side of the connection. No application may see such a request.
func TestPeersThatAreRefused(t *testing.T) {
	other := peertls.ID{Region: "shanghai", Namespace: "accounts", Name: "orders"}
	cases := map[string]struct {
		// prepare makes shanghai's certificate wrong.
		prepare func(t *testing.T, m *mutualWorld)
		reason  peertls.Reason
	}{
		"authority that nobody trusts": {func(t *testing.T, m *mutualWorld) {
			m.shows("shanghai", issue(t, newAuthority(t, "shanghai"), idOf("shanghai")))
		}, peertls.ReasonUntrusted},
		"authority of another region": {func(t *testing.T, m *mutualWorld) {
			m.shows("shanghai", issue(t, m.mutual["shenzhen"].authority, idOf("shanghai")))
		}, peertls.ReasonUntrusted},
		"no authority known": {func(t *testing.T, m *mutualWorld) { m.trusts(t, "shanghai") }, peertls.ReasonNoAuthority},
		"expired": {func(t *testing.T, m *mutualWorld) {
			m.places["beijing"].clock.ahead.Store(int64(testCertificate + time.Minute))
			m.shows("beijing", issueAt(t, m.mutual["beijing"].authority, idOf("beijing"), time.Now().Add(testCertificate)))
		}, peertls.ReasonExpired},
		"not valid yet": {func(t *testing.T, m *mutualWorld) {
			m.shows("shanghai", issueAt(t, m.mutual["shanghai"].authority, idOf("shanghai"), time.Now().Add(3*time.Hour)))
		}, peertls.ReasonExpired},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMutualWorld(t)
			tc.prepare(t, m)
			key := keyHomedIn(t, "shanghai")
			resp, text := m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": key}, nil)
			p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonPeerNotAuthenticated)
			if p.Region != "shanghai" || !strings.Contains(p.Detail, "nothing was sent") {
				t.Errorf("the user is told %q of region %q", p.Detail, p.Region)
			}
			if m.places["shanghai"].last != nil {
				t.Error("the application got the request")
			}
			g := m.places["beijing"].counted(t)
			if n := testutil.ToFloat64(g.metrics.peers.WithLabelValues(sideClient, string(tc.reason))); n == 0 {
				t.Errorf("nothing was counted as %s; the log is %s", tc.reason, m.mutual["beijing"].log)
			}
			if log := m.mutual["beijing"].log.String(); !strings.Contains(log, string(tc.reason)) || strings.Contains(log, "PRIVATE") {
				t.Errorf("the log does not say %s, or says too much: %s", tc.reason, log)
			}
		})
	}
	t.Run("another service", func(t *testing.T) {
		m := newMutualWorld(t)
		imposter(t, m, issue(t, m.mutual["shanghai"].authority, other), peertls.ReasonOtherService, ReasonPeerNotAuthenticated)
	})
	t.Run("another region", func(t *testing.T) {
		m := newMutualWorld(t)
		imposter(t, m, issue(t, m.mutual["shenzhen"].authority, idOf("shenzhen")), peertls.ReasonOtherRegion, ReasonHopRefused)
	})
	t.Run("a region that the service is not in", func(t *testing.T) {
		m := newMutualWorld(t)
		imposter(t, m, issue(t, m.mutual["shanghai"].authority, idOf("mars")), peertls.ReasonOtherRegion, ReasonPeerNotAuthenticated)
	})
}

func issueAt(t testing.TB, a *ownca.Authority, id peertls.ID, now time.Time) pair {
	t.Helper()
	cert, key, err := a.Issue(id, now, testCertificate)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

// imposter puts a certificate in the place of shanghai's that no gateway of shanghai would take for its own,
// and expects that neither beijing speaks to it nor it gets a word in at beijing: a region's own certificate is
// taken there, and the hop, which is another's, is not.
func imposter(t *testing.T, m *mutualWorld, p pair, reason peertls.Reason, asClient Reason) {
	t.Helper()
	identity, err := peertls.ParseIdentity(p.cert, p.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.places["shanghai"].gateway.identity.current.Store(identity)
	resp, text := m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai")}, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonPeerNotAuthenticated)
	if n := testutil.ToFloat64(m.places["beijing"].counted(t).metrics.peers.WithLabelValues(sideClient, string(reason))); n == 0 {
		t.Errorf("as a server it was not refused as %s", reason)
	}
	resp, text = m.call(t, "shanghai", "POST", "/v1/payments", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	got := wantProblem(t, resp, text, reasons[asClient].status, asClient)
	if asClient == ReasonPeerNotAuthenticated && !strings.Contains(got.Detail, "nothing was sent") {
		t.Errorf("as a client it is told %q", got.Detail)
	}
	if m.places["shanghai"].last != nil || m.places["beijing"].last != nil {
		t.Error("an application got the request")
	}
}

// TestNoWayAroundMutualTLS tries the users' port, the peers' port without a hop, and plain text on both sides.
func TestNoWayAroundMutualTLS(t *testing.T) {
	m := newMutualWorld(t)
	cfg := m.configFor("shanghai")
	key := keyHomedIn(t, "shanghai")
	forged := hop{from: "beijing", to: "shanghai", epoch: cfg.Epoch, nonce: newNonce(), host: "user.example.com"}
	proof := forged.sign(cfg.PeerKey, cfg.UID, "POST", "/v1/payments")
	resp, text := m.call(t, "shanghai", "POST", "/v1/payments", map[string]string{"X-User-Phone": key, HeaderHop: proof}, nil)
	wantProblem(t, resp, text, http.StatusForbidden, ReasonHopRefused)

	to := &m.places["beijing"].gateway.state.load().router.regions[1]
	if to.Name != "shanghai" {
		t.Fatalf("region 1 is %s", to.Name)
	}
	over := m.places["beijing"].gateway.transports.to("shanghai", true, false)
	for name, header := range map[string]http.Header{
		"no hop":           {},
		"another region's": {HeaderHop: {(&hop{from: "shenzhen", to: "shanghai", nonce: "1"}).sign(cfg.PeerKey, cfg.UID, "POST", "/v1/payments")}},
	} {
		for _, path := range []string{"/v1/payments", OwnPrefix + "endpoints"} {
			if path != "/v1/payments" && name != "no hop" {
				continue // that page is everybody's
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", to.endpoint.String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header.Clone()
			resp, err := over.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s, %s: %d", name, path, resp.StatusCode)
			}
		}
	}
	if m.places["shanghai"].last != nil {
		t.Error("the application got a request")
	}

	plain, err := http.Get("http://" + to.endpoint.Host + "/v1/payments")
	if err != nil {
		t.Fatal(err)
	}
	_ = plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("plain text at the peers' port: %d", plain.StatusCode)
	}
	for i := range m.config.Regions {
		m.config.Regions[i].PeerEndpoint = strings.Replace(m.config.Regions[i].Endpoint, "http:", "https:", 1)
	}
	m.publish(t)
	resp, text = m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": key}, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonPeerNotAuthenticated)
	if m.places["shanghai"].last != nil {
		t.Error("the application got a request over plain text")
	}
}

// TestUnusableCertificateChangesNothing has files that are half written, of another service, or gone.
func TestUnusableCertificateChangesNothing(t *testing.T) {
	m := newMutualWorld(t)
	good := pair{m.mutual["beijing"].files.cert, m.mutual["beijing"].files.key}
	serial := m.serial()
	next := issue(t, m.mutual["beijing"].authority, idOf("beijing"))
	for name, bad := range map[string]pair{
		"half a certificate":  {next.cert[:len(next.cert)/2], next.key},
		"the other's key":     {next.cert, good.key},
		"no key":              {next.cert, nil},
		"gone":                {},
		"of another service":  issue(t, m.mutual["beijing"].authority, peertls.ID{Region: "beijing", Namespace: "a", Name: "b"}),
		"expired":             issueAt(t, m.mutual["beijing"].authority, idOf("beijing"), time.Now().Add(-2*testCertificate)),
		"not a gateway's key": {[]byte("x"), []byte("y")},
	} {
		m.shows("beijing", bad)
		if got := m.serial(); got != serial {
			t.Errorf("%s: another certificate is shown", name)
		}
		resp, text := m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai")}, nil)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	if log := m.mutual["beijing"].log.String(); !strings.Contains(log, "cannot be used") || strings.Contains(log, "PRIVATE") {
		t.Errorf("the log is %s", log)
	}
	m.shows("beijing", next)
	if m.serial() == serial {
		t.Error("a good certificate is not taken up after bad ones")
	}
}

// TestNoCertificateYet is a gateway whose Secret is not there: it speaks to no peer, and serves what is its own.
func TestNoCertificateYet(t *testing.T) {
	m := newMutualWorld(t)
	m.places["beijing"].gateway.identity.current.Store(nil)
	resp, text := m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai")}, nil)
	if got := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonPeerNotAuthenticated); !strings.Contains(got.Detail, "no certificate yet") {
		t.Errorf("the user is told %q", got.Detail)
	}
	if resp, text := m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a request of its own region: %d %s", resp.StatusCode, text)
	}
	if err := m.places["beijing"].gateway.verifyPeer(nil, "", 0); !errors.As(err, new(*peertls.RefusedError)) {
		t.Errorf("no certificate is judged as %v", err)
	}
}

// TestConnectionEndsAfterItsCertificate: whoever goes on with a connection whose certificate has expired is
// asked to open another.
func TestConnectionEndsAfterItsCertificate(t *testing.T) {
	m := newMutualWorld(t)
	send := func() {
		t.Helper()
		resp, text := m.call(t, "beijing", "POST", "/v1/payments", map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai")}, nil)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	send()
	first := m.serial()
	// The connection is in use, so that the new certificate alone does not end it.
	next := issueAt(t, m.mutual["beijing"].authority, idOf("beijing"), time.Now().Add(testCertificate))
	identity, err := peertls.ParseIdentity(next.cert, next.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.places["beijing"].gateway.identity.current.Store(identity)
	m.places["shanghai"].clock.ahead.Store(int64(testCertificate + time.Minute))
	send() // on the old connection
	deadline := time.Now().Add(patience)
	for {
		send()
		p := m.mutual["shanghai"]
		p.mu.Lock()
		with, without := p.serials[m.serial()], p.serials[first]
		p.mu.Unlock()
		if with > 0 {
			if without < 2 {
				t.Errorf("the old connection served %d requests", without)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection outlives its certificate")
		}
	}
}
