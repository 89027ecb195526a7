package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

// identityEvery is how often the files of the certificate are looked at: they change under a running gateway.
const identityEvery = 5 * time.Second

// peerIdentity keeps what this gateway shows its peers up to date. A certificate that cannot be used changes
// nothing: the one before goes on being shown.
type peerIdentity struct {
	g       *Gateway
	current atomic.Pointer[peertls.Identity]

	mu sync.Mutex
	// failing is the last failure, to log each only once.
	failing string
	// logged is when refusals of a kind were logged last.
	logged map[string]time.Time
}

func newPeerIdentity(g *Gateway) *peerIdentity {
	return &peerIdentity{g: g, logged: map[string]time.Time{}}
}

// run looks at the files until ctx ends.
func (p *peerIdentity) run(ctx context.Context) {
	if p.g.options.PeerIdentity == nil {
		return
	}
	for ctx.Err() == nil {
		p.look()
		done, stop := after(p.g.options.Clock, identityEvery)
		select {
		case <-ctx.Done():
		case <-done:
		}
		stop()
	}
}

// look reads the files once.
func (p *peerIdentity) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &p.g.options
	next, err := o.PeerIdentity()
	if err == nil {
		err = next.Usable(o.Namespace, o.Name, o.Clock.Now())
	}
	if err != nil {
		if p.failing != err.Error() {
			p.failing = err.Error()
			o.Log.Warn("the certificate for peers cannot be used; going on with the one before, if there is one", slog.Any("error", err))
		}
		return
	}
	p.failing = ""
	old := p.current.Load()
	if old != nil && bytes.Equal(old.Certificate.Leaf.Raw, next.Certificate.Leaf.Raw) && old.Authorities.Equal(next.Authorities) {
		return
	}
	p.current.Store(next)
	leaf := next.Certificate.Leaf
	p.g.metrics.certificate.Set(float64(leaf.NotAfter.Unix()))
	o.Log.Info("the certificate for peers changed", slog.String("id", next.ID.String()), slog.Time("expires", leaf.NotAfter),
		slog.String("serial", leaf.SerialNumber.Text(16)))
	if old != nil {
		p.g.transports.mutual.renew()
	}
}

// errNoIdentity is why nobody can be shown anything.
var errNoIdentity = peertls.Refuse(peertls.ReasonNoIdentity, "this gateway has no certificate yet")

// certificate returns what peers are shown now.
func (p *peerIdentity) certificate() (*tls.Certificate, error) {
	if own := p.current.Load(); own != nil {
		return &own.Certificate, nil
	}
	return nil, errNoIdentity
}

// mayLog reports whether a refusal of a kind was not logged of late.
func (p *peerIdentity) mayLog(kind string) bool {
	now := p.g.options.Clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, was := p.logged[kind]; was && now.Sub(last) < refusalLogEvery {
		return false
	}
	p.logged[kind] = now
	return true
}
