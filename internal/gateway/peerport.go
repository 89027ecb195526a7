package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

// Which side of a connection this gateway is.
const (
	sideClient = "client"
	sideServer = "server"
)

// PeerTLS is how connections from other regions' gateways are accepted: over TLS 1.3, from whoever has a
// certificate of this service in another of its regions.
func (g *Gateway) PeerTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Time:                   g.options.Clock.Now,
		ClientAuth:             tls.RequireAnyClientCert, // and VerifyConnection judges it
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.identity.certificate() },
		VerifyConnection: func(cs tls.ConnectionState) error {
			return g.noteRefused(sideServer, g.verifyPeer(cs.PeerCertificates, "", x509.ExtKeyUsageClientAuth))
		},
	}
}

// PeerHandler serves what other regions' gateways forward. Its connections must be made by PeerTLS.
func (g *Gateway) PeerHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "this port is for gateways with a certificate", http.StatusForbidden)
			return
		}
		leaf := r.TLS.PeerCertificates[0]
		id, err := peertls.IDOf(leaf)
		if err != nil { // the handshake has refused it
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if g.options.Clock.Now().After(leaf.NotAfter) {
			// The connection outlives its certificate by this request: the peer has another by now.
			w.Header().Set("Connection", "close")
		}
		g.handle(w, r, id.Region)
	})
}

// verifyPeer judges a peer's certificates by the present routing; region is which one is meant, empty: any other.
func (g *Gateway) verifyPeer(chain []*x509.Certificate, region string, usage x509.ExtKeyUsage) error {
	id, err := peertls.Named(chain, g.options.Namespace, g.options.Name)
	if err != nil {
		return err
	}
	snap, own := g.state.load(), g.identity.current.Load()
	if snap == nil || own == nil {
		return peertls.Refuse(peertls.ReasonNoIdentity, "this gateway has no routing or no certificate yet")
	}
	router := snap.router
	i := router.index(id.Region)
	switch {
	case region != "" && id.Region != region:
		return peertls.Refuse(peertls.ReasonOtherRegion, "the certificate belongs to region %s, not to %s", id.Region, region)
	case i == noRegion || i == router.self:
		return peertls.Refuse(peertls.ReasonOtherRegion, "the certificate belongs to region %s, which is no other region of the service", id.Region)
	}
	authorities := router.regions[i].authorities
	if own.Authorities != nil {
		authorities = own.Authorities
	}
	return peertls.Verify(chain, authorities, usage, g.options.Clock.Now())
}

// peersTaken names the regions whose gateways this one takes requests from over mutual TLS, and could send some to:
// those whose certificates it can judge, once it has one itself and listens for them.
func (g *Gateway) peersTaken() []string {
	snap, own := g.state.load(), g.identity.current.Load()
	if !g.options.ListensForPeers || snap == nil || own == nil {
		return nil
	}
	var names []string
	for i := range snap.router.regions {
		x := &snap.router.regions[i]
		if i != snap.router.self && (own.Authorities != nil || x.authorities != nil) {
			names = append(names, x.Name)
		}
	}
	return names
}

// refusalLogEvery is how often a refusal of the same kind is logged: anybody may cause them.
const refusalLogEvery = time.Minute

// noteRefused counts and logs a refused peer, and returns its error as it is.
func (g *Gateway) noteRefused(side string, err error) error {
	refused, is := errors.AsType[*peertls.RefusedError](err)
	if !is {
		return err
	}
	g.metrics.peers.WithLabelValues(side, string(refused.Reason)).Inc()
	if g.identity.mayLog(side + string(refused.Reason)) {
		g.options.Log.Warn("a peer was refused", slog.String("side", side), slog.String("reason", string(refused.Reason)), slog.String("why", refused.Message))
	}
	return err
}
