package coordination_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/ports"
)

// authority signs certificates, as a platform's would.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, key: key, cert: cert}
}

// write puts the authority's certificate in a file.
func (a *authority) write(file string) {
	a.t.Helper()
	a.pem(file, "CERTIFICATE", a.cert.Raw)
}

// issue writes a certificate that is valid for the time, and its key.
func (a *authority) issue(cert, key, host string, from, until time.Duration) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "coordination"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.ParseIP(host)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	a.pem(cert, "CERTIFICATE", der)
	a.pem(key, "EC PRIVATE KEY", encoded)
}

func (a *authority) pem(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// secured is a member that demands clients' certificates, and the files of its clients.
type secured struct {
	t                           *testing.T
	ca                          *authority
	host, endpoint              string
	trusted, server, serverKey  string
	clientCA, client, clientKey string
	store                       *etcdstore.Store
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	s := &secured{
		t: t, ca: newAuthority(t, "clients"), host: ports.Host(),
		trusted: in("trusted.crt"), server: in("server.crt"), serverKey: in("server.key"),
		clientCA: in("ca.crt"), client: in("tls.crt"), clientKey: in("tls.key"),
	}
	s.ca.write(s.trusted)
	s.ca.write(s.clientCA)
	s.ca.issue(s.server, s.serverKey, s.host, -time.Hour, 24*365*time.Hour)
	s.ca.issue(s.client, s.clientKey, s.host, -time.Hour, 24*365*time.Hour)
	free, err := ports.Free(s.host, 3)
	if err != nil {
		t.Fatal(err)
	}
	plain := fmt.Sprintf("http://%s:%d", s.host, free[0])
	s.endpoint = fmt.Sprintf("https://%s:%d", s.host, free[2])
	s.store = testkit.StartStore(t, etcdstore.Options{
		HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second,
		Members: []etcdstore.MemberOptions{{Name: "beijing", Host: s.host, ClientPort: free[0], PeerPort: free[1]}},
		ExtraArgs: []string{
			"--listen-client-urls=" + plain + "," + s.endpoint, "--advertise-client-urls=" + s.endpoint,
			"--cert-file=" + s.server, "--key-file=" + s.serverKey, "--trusted-ca-file=" + s.trusted, "--client-cert-auth=true",
		},
	})
	return s
}

func (s *secured) connect() *coordination.Store {
	s.t.Helper()
	credentials, err := coordination.NewCredentials(coordination.Files{CA: s.clientCA, Cert: s.client, Key: s.clientKey})
	if err != nil {
		s.t.Fatal(err)
	}
	return connect(s.t, coordination.Options{Endpoints: []string{s.endpoint}, Credentials: credentials, RequestTimeout: 5 * time.Second})
}

// restart ends every connection.
func (s *secured) restart() {
	s.t.Helper()
	if err := s.store.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// answers waits until the store answers, or does not any more.
func (s *secured) answers(store *coordination.Store, is bool) {
	s.t.Helper()
	testkit.Eventually(s.t, 60*time.Second, func() error {
		if _, err := store.Read(s.t.Context()); (err == nil) != is {
			return fmt.Errorf("want success %t, reading answers: %w", is, err)
		}
		return nil
	})
}

func (s *secured) reports(store *coordination.Store, broken, warning string) {
	s.t.Helper()
	h := store.Inspect(s.t.Context(), time.Now())
	for want, got := range map[string]string{broken: strings.Join(h.Broken, "\n"), warning: strings.Join(h.Warnings, "\n")} {
		if !strings.Contains(got, want) {
			s.t.Errorf("reported %q, want %q in it", got, want)
		}
	}
	if broken == "" && len(h.Broken) > 0 || warning == "" && broken == "" && len(h.Warnings) > 0 {
		s.t.Errorf("reported %q and %q, want nothing", h.Broken, h.Warnings)
	}
}

func TestCertificatesExpireAndAreRenewed(t *testing.T) {
	s := newSecured(t)
	store := s.connect()
	s.answers(store, true)
	s.reports(store, "", "")
	if h := store.Inspect(t.Context(), time.Now()); len(h.Certificates) != 3 {
		t.Errorf("certificates %+v, want the client's, the authority's and the member's", h.Certificates)
	}

	s.ca.issue(s.client, s.clientKey, s.host, -24*365*time.Hour, 72*time.Hour)
	s.reports(store, "", s.client+" expires on ")

	t.Log("a certificate that has expired is refused with the next connection, and reported with its file")
	s.ca.issue(s.client, s.clientKey, s.host, -time.Hour, -time.Minute)
	s.restart()
	s.answers(store, false)
	s.reports(store, s.client+" has expired on ", "")

	t.Log("a renewed one is taken up without a restart")
	s.ca.issue(s.client, s.clientKey, s.host, -time.Hour, 24*365*time.Hour)
	s.answers(store, true)
	s.reports(store, "", "")

	t.Log("half of a renewal is reported, and what was there before goes on to be used")
	if err := os.WriteFile(s.clientKey, []byte("-"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.answers(store, true)
	s.reports(store, s.clientKey, "")
}

func TestAuthorityIsReplaced(t *testing.T) {
	s := newSecured(t)
	store := s.connect()
	s.answers(store, true)
	next := newAuthority(t, "next")
	next.issue(s.server, s.serverKey, s.host, -time.Hour, 24*365*time.Hour)
	next.issue(s.client, s.clientKey, s.host, -time.Hour, 24*365*time.Hour)
	next.write(s.trusted)
	s.restart()
	s.answers(store, false)
	s.reports(store, "--coordination-ca-file does not hold", "")
	next.write(s.clientCA)
	s.answers(store, true)
	s.reports(store, "", "")
}

func TestCredentialsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, files := range map[string]coordination.Files{
		"missing": {CA: filepath.Join(dir, "missing")},
		empty:     {CA: empty},
		"no-cert": {Cert: filepath.Join(dir, "no-cert"), Key: empty},
	} {
		if _, err := coordination.NewCredentials(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error that names %s", files, err, want)
		}
	}
	if c, err := coordination.NewCredentials(coordination.Files{}); c != nil || err != nil {
		t.Errorf("without files: %v, %v", c, err)
	}
}
