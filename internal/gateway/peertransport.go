package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

// peerPingAfter and peerPingTimeout bound how long a connection on which nothing comes is taken for a good one:
// with HTTP/2 all requests to a region share it, and whatever is on the way may have forgotten it.
const (
	peerPingAfter   = 5 * time.Second
	peerPingTimeout = 3 * time.Second
)

// mutualTransports are the connections to peers over mutual TLS: every region has its own, for what is
// accepted at the other end differs.
type mutualTransports struct {
	g  *Gateway
	mu sync.Mutex
	of map[mutualKey]*mutualTransport
}

type mutualKey struct {
	region string
	h2     bool
}

func newMutualTransports(g *Gateway) *mutualTransports {
	return &mutualTransports{g: g, of: map[mutualKey]*mutualTransport{}}
}

// to returns the connections to a region's gateways.
func (m *mutualTransports) to(region string, h2 bool) *mutualTransport {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := mutualKey{region, h2}
	t := m.of[key]
	if t == nil {
		t = &mutualTransport{connections: newTransport(&m.g.options, peerConnectTimeout, h2)}
		t.connections.Protocols.SetUnencryptedHTTP2(false)
		t.connections.TLSClientConfig = m.g.clientTLS(region)
		t.connections.HTTP2 = &http.HTTP2Config{SendPingTimeout: peerPingAfter, PingTimeout: peerPingTimeout}
		m.of[key] = t
	}
	return t
}

// renew makes the next requests open connections of their own. Those under way end on the old ones, which
// are closed once they are idle.
func (m *mutualTransports) renew() {
	m.mu.Lock()
	old := m.of
	m.of = map[mutualKey]*mutualTransport{}
	m.mu.Unlock()
	for _, t := range old {
		t.connections.CloseIdleConnections()
	}
}

// mutualTransport tells failures to authenticate from those that may come after a request was sent.
type mutualTransport struct{ connections *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t *mutualTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	resp, err := t.connections.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err == nil || r.Context().Err() != nil {
		return resp, err
	}
	var op *net.OpError
	dialing := errors.As(err, &op) && op.Op == "dial"
	if !sent.Load() && !dialing || refusedByPeer(err) {
		return nil, &notAuthenticatedError{err}
	}
	return nil, err
}

// notAuthenticatedError is why there is no connection over mutual TLS. Nothing was sent to an application.
type notAuthenticatedError struct{ cause error }

// Error implements error.
func (e *notAuthenticatedError) Error() string { return "authenticating the peer: " + e.cause.Error() }

// Unwrap returns the cause.
func (e *notAuthenticatedError) Unwrap() error { return e.cause }

func notAuthenticated(err error) bool {
	_, is := errors.AsType[*notAuthenticatedError](err)
	return is
}

// whyNotAuthenticated words the cause for people, without what only a log should have.
func whyNotAuthenticated(err error) string {
	refused, is := errors.AsType[*peertls.RefusedError](err)
	switch {
	case is:
		return refused.Message
	case refusedByPeer(err):
		return "its gateway does not accept this gateway's certificate"
	default:
		return "the TLS handshake failed"
	}
}

// Alerts of TLS that are about the certificate of who receives them.
var certificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116}

// refusedByPeer reports whether the other end has refused this gateway's certificate. With TLS 1.3 it says so
// after this end's handshake is over, and so perhaps after the request was written; but it reads none before it
// has accepted the certificate.
func refusedByPeer(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	for _, alert := range certificateAlerts {
		if op.Err.Error() == alert.Error() {
			return true
		}
	}
	return false
}

// target is where an attempt at a region's gateway goes.
func (x *region) target() target {
	return target{url: x.endpoint, peer: x.Name, mutual: x.mutual}
}

// compilePeer reads how a region is spoken to over mutual TLS.
func compilePeer(x *region) error {
	field := fmt.Sprintf("regions[%s].peerEndpoint", x.Name)
	u, err := baseURL(x.PeerEndpoint, field)
	if err != nil {
		return err
	}
	if u.Scheme != "https" {
		return fmt.Errorf("%s: %q must be an https URL", field, x.PeerEndpoint)
	}
	x.endpoint, x.mutual = u, true
	return nil
}

// compileAuthorities reads who signs a region's certificates. Authorities that cannot be read are none: that region
// alone cannot be spoken to then.
func (r *Router) compileAuthorities(x *region) {
	if x.Authorities == "" {
		return
	}
	certs, err := peertls.ParseCertificates([]byte(x.Authorities))
	if err != nil {
		r.warn("regions[%s].authorities: %s", x.Name, err)
		return
	}
	x.authorities = peertls.Pool(certs)
}

// clientTLS is how connections to a region's gateways are made. The name in the certificate is the service's
// in the region, not the host's: the check below is instead of the library's, not beside it.
func (g *Gateway) clientTLS(region string) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		Time:                 g.options.Clock.Now,
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection does it, by other names
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return g.identity.certificate() },
		VerifyConnection: func(cs tls.ConnectionState) error {
			return g.noteRefused(sideClient, g.verifyPeer(cs.PeerCertificates, region, x509.ExtKeyUsageServerAuth))
		},
	}
}
