package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/testkit"
)

// TestNotification is signed, repeated until it is taken, and follows nobody elsewhere.
func TestNotification(t *testing.T) {
	secret := []byte("the service's secret")
	d := newDeferring(t, func(o *Options) { o.NotifySecret = func() ([]byte, error) { return secret, nil } })
	r := newReceiver(t)
	r.answers(http.StatusTemporaryRedirect)
	d.notifying(t, r.URL+"/hook")
	d.lose(t)
	id := d.accepted(t, d.key, "lunch-1", "{}")
	d.restore(t)
	testkit.Eventually(t, patience, func() error {
		if len(r.notifications()) == 0 {
			return errors.New("nobody was told")
		}
		return nil
	})
	r.answers(http.StatusOK)
	testkit.Eventually(t, patience, func() error {
		if e, _ := d.places["beijing"].gateway.deferrals.get(id); !e.Notified {
			return errors.New("it is not noted")
		}
		return nil
	})
	got := r.notifications()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range got {
		h := r.headers[i]
		if n != got[0] || h.Get(HeaderNotification) != n.ID || h.Get("Idempotency-Key") != n.ID || !strings.HasPrefix(n.ID, id) {
			t.Errorf("notification %d is %+v", i, n)
		}
		if h.Get(HeaderSignature) != sign(secret, h.Get(HeaderTimestamp), []byte(r.bodies[i])) {
			t.Errorf("notification %d is signed %q", i, h.Get(HeaderSignature))
		}
		if strings.Contains(r.bodies[i], "t0ken") || strings.Contains(r.bodies[i], "s3cret") {
			t.Errorf("notification %d has a credential: %s", i, r.bodies[i])
		}
	}
	if n := got[0]; n.Subject != "user of "+d.key || n.IdempotencyKey != "lunch-1" || n.State != deferred.StateExecuted || n.Status != http.StatusCreated ||
		n.Service != "accounts/user" || n.Region != "beijing" {
		t.Errorf("told was %+v", n)
	}
}

func TestSignatureIsAsDocumented(t *testing.T) {
	// printf '1700000000.{}' | openssl dgst -sha256 -hmac key
	const want = "v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
	if got := sign([]byte("key"), "1700000000", []byte("{}")); got != want {
		t.Errorf("the signature is %q, want %q", got, want)
	}
	if sign([]byte("key"), "1", []byte("{}")) == sign([]byte("key"), "2", []byte("{}")) {
		t.Error("the timestamp is not signed")
	}
}

func TestRefusedAddresses(t *testing.T) {
	for text, refused := range map[string]bool{
		"10.0.0.7": false, "203.0.113.9": false, "2001:db8::7": false, "127.0.0.1": false,
		"169.254.169.254": true, "169.254.0.1": true, "fe80::1": true, "fe80::1%eth0": true, "::ffff:169.254.169.254": true,
		"64:ff9b::a9fe:a9fe": true, "64:ff9b::a00:7": false, "fd00:ec2::254": true, "100.100.100.200": true, "0.0.0.0": true, "::": true,
		"224.0.0.1": true, "ff02::1": true, "255.255.255.255": true,
	} {
		if got := refusedAddress(netip.MustParseAddr(text)); got != refused {
			t.Errorf("%s: refused is %t", text, got)
		}
	}
}

func TestMetadataIsNotDialled(t *testing.T) {
	for _, url := range []string{"http://169.254.169.254/latest", "http://[fe80::1%25lo]/", "http://0.0.0.0:1/", "http://[::ffff:169.254.169.254]/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := newNotifyClient(nil).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, errAddress) {
			t.Errorf("%s: error is %v, want %v", url, err, errAddress)
		}
	}
}
