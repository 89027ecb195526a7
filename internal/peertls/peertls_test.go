package peertls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"testing"
	"time"
)

func TestIDOf(t *testing.T) {
	id := ID{Region: "beijing", Namespace: "accounts", Name: "user"}
	if got, err := IDOf(&x509.Certificate{URIs: []*url.URL{id.URI()}}); err != nil || got != id {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{
		"spiffe://multiactive.dev/region/beijing/ns/accounts", "spiffe://multiactive.dev/region//ns/accounts/service/user",
		"spiffe://other.dev/region/beijing/ns/accounts/service/user", "https://multiactive.dev/region/beijing/ns/accounts/service/user",
		"spiffe://multiactive.dev/region/beijing/ns/accounts/service/user/x", "spiffe://multiactive.dev/region/beijing/ns/accounts/service/user?x",
		"spiffe://multiactive.dev/region/bei%2Fjing/ns/accounts/service/user", "spiffe://multiactive.dev:443/region/beijing/ns/accounts/service/user",
		"spiffe:region/beijing/ns/accounts/service/user",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := IDOf(&x509.Certificate{URIs: []*url.URL{u}}); err == nil {
			t.Errorf("%s is taken for %v", text, got)
		}
	}
	for _, uris := range [][]*url.URL{nil, {id.URI(), id.URI()}} {
		if _, err := IDOf(&x509.Certificate{URIs: uris}); err == nil {
			t.Errorf("%d URIs are taken", len(uris))
		}
	}
}

// TestVerifyUsage refuses a certificate for servers alone in the hands of a client.
func TestVerifyUsage(t *testing.T) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	chain, roots := []*x509.Certificate{cert}, Pool([]*x509.Certificate{cert})
	if err := Verify(chain, roots, x509.ExtKeyUsageServerAuth, now); err != nil {
		t.Errorf("as a server: %v", err)
	}
	err = Verify(chain, roots, x509.ExtKeyUsageClientAuth, now)
	if refused, is := errors.AsType[*RefusedError](err); !is || refused.Reason != ReasonUntrusted {
		t.Errorf("as a client: %v", err)
	}
}
