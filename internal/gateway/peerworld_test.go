package gateway

import (
	"bytes"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/peertls"
)

const (
	testCertificate = 24 * time.Hour
	testAuthority   = 10 * testCertificate
)

// files stand for a gateway's mounted Secret.
type files struct {
	mu            sync.Mutex
	cert, key, ca []byte
}

func (f *files) read() (*peertls.Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return peertls.ParseIdentity(f.cert, f.key, f.ca)
}

func (f *files) write(p pair) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cert, f.key = p.cert, p.key
}

// pair is a certificate and its private key.
type pair struct{ cert, key []byte }

// mutualPlace is what mutual TLS adds to a region.
type mutualPlace struct {
	authority *ownca.Authority
	files     *files
	log       *logBuffer
	// serials of the certificates that peers have shown with their requests.
	mu      sync.Mutex
	serials map[string]int
}

// logBuffer may be written to by many at once.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// mutualWorld is a world whose regions speak to each other over mutual TLS.
type mutualWorld struct {
	*world
	mutual map[string]*mutualPlace
}

func idOf(region string) peertls.ID {
	return peertls.ID{Region: region, Namespace: "accounts", Name: "user"}
}

func newAuthority(t testing.TB, region string) *ownca.Authority {
	t.Helper()
	a, err := ownca.ForGateways(region)(time.Now(), testAuthority)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *ownca.Authority, id peertls.ID) pair {
	t.Helper()
	cert, key, err := a.Issue(id, time.Now(), testCertificate)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

func newMutualWorld(t *testing.T) *mutualWorld {
	t.Helper()
	m := &mutualWorld{mutual: map[string]*mutualPlace{}}
	m.world = newWorld(t, func(o *Options) {
		region := o.Gateway[len("gateway-"):]
		p := &mutualPlace{authority: newAuthority(t, region), files: &files{}, log: &logBuffer{}, serials: map[string]int{}}
		p.files.write(issue(t, p.authority, idOf(region)))
		o.ListensForPeers = true
		o.PeerIdentity, o.Log = p.files.read, slog.New(slog.NewJSONHandler(p.log, nil))
		m.mutual[region] = p
	})
	for i := range m.config.Regions {
		r := &m.config.Regions[i]
		r.PeerEndpoint = "https://" + m.mutual[r.Name].listen(t, m.places[r.Name].gateway)
		r.Authorities = string(ownca.PEM(m.mutual[r.Name].authority.Certificate))
	}
	m.config.PlainHopsRefused = true
	m.publish(t)
	for name := range m.places {
		m.places[name].gateway.identity.look() // has begun to, on its own time
	}
	return m
}

// listen opens the peers' port and returns its address.
func (p *mutualPlace) listen(t *testing.T, g *Gateway) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peers := g.PeerHandler()
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.mu.Lock()
			p.serials[r.TLS.PeerCertificates[0].SerialNumber.Text(16)]++
			p.mu.Unlock()
			peers.ServeHTTP(w, r)
		}),
		TLSConfig: g.PeerTLS(), ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.ServeTLS(g.PeerListener(l), "", ""); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving peers: %v", err)
		}
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().String()
}

// shows makes a region's gateway show another certificate.
func (m *mutualWorld) shows(region string, p pair) {
	m.mutual[region].files.write(p)
	m.places[region].gateway.identity.look()
}

// trusts makes the other regions trust these authorities for the region.
func (m *mutualWorld) trusts(t *testing.T, region string, authorities ...*x509.Certificate) {
	t.Helper()
	var all []byte
	for _, a := range authorities {
		all = append(all, ownca.PEM(a)...)
	}
	for i := range m.config.Regions {
		if m.config.Regions[i].Name == region {
			m.config.Regions[i].Authorities = string(all)
		}
	}
	m.publish(t)
}

// serial is that of the certificate that beijing's gateway shows.
func (m *mutualWorld) serial() string {
	return m.places["beijing"].gateway.identity.current.Load().Certificate.Leaf.SerialNumber.Text(16)
}
