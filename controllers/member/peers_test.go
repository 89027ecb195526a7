package member_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peertls"
	"multiactive.dev/operator/internal/testkit"
)

const (
	peerSecret = "multiactive-peer-certificates"
	caSecret   = "multiactive-peer-authority"
	// peersNamespace has the services of TestPeerCertificates.
	peersNamespace = "peers"
)

var peerLifetimes = ownca.Lifetimes{Certificate: 24 * time.Hour, Authority: 240 * time.Hour}

// PutTrust implements peercerts.Agent.
func (r *region) PutTrust(_ context.Context, t ownership.Trust) error {
	r.mu.Lock()
	before := r.conf.Trusts[here]
	r.mu.Unlock()
	if slices.Equal(before.Authorities, t.Authorities) && maps.EqualFunc(before.Knows, t.Knows, slices.Equal) {
		return nil
	}
	r.trust(here, t)
	return nil
}

// RoutingTaken implements peercerts.Agent.
func (r *region) RoutingTaken(int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.behind
}

// trust has a region say something.
func (r *region) trust(name string, t ownership.Trust) {
	r.agree(func(c *ownership.Configuration) {
		c.Trusts = maps.Clone(c.Trusts)
		if c.Trusts == nil {
			c.Trusts = map[string]ownership.Trust{}
		}
		c.Trusts[name] = t
	})
}

// said is what this region has told the others.
func (r *region) said() ownership.Trust {
	c, _ := r.Snapshot()
	return c.Trusts[here]
}

func authorities(t *testing.T, of ownership.Trust) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, text := range of.Authorities {
		certs, err := peertls.ParseCertificates([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, certs...)
	}
	return out
}

// awaitAuthorities waits until the region says that it has so many.
func (w *world) awaitAuthorities(n int) []*x509.Certificate {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		if have := len(w.region.said().Authorities); have != n {
			return fmt.Errorf("the region has told of %d authorities, want %d", have, n)
		}
		return nil
	})
	return authorities(w.t, w.region.said())
}

// awaitOrder waits until the region says that it has these authorities, the one that signs first.
func (w *world) awaitOrder(want ...*x509.Certificate) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		if !slices.EqualFunc(authorities(w.t, w.region.said()), want, (*x509.Certificate).Equal) {
			return errors.New("the region has told of other authorities")
		}
		return nil
	})
}

// certificate waits until a service has a certificate of the authority other than the one with the serial, and
// returns it.
func (w *world) certificate(service string, by *x509.Certificate, not string) *x509.Certificate {
	w.t.Helper()
	var leaf *x509.Certificate
	testkit.Eventually(w.t, timeout, func() error {
		s, err := get(w, &corev1.Secret{}, peersNamespace, peerSecret)
		if err != nil {
			return err
		}
		identity, err := peertls.ParseIdentity(s.Data[service+".crt"], s.Data[service+".key"], nil)
		if err != nil {
			return err
		}
		if want := (peertls.ID{Region: here, Namespace: peersNamespace, Name: service}); identity.ID != want {
			return fmt.Errorf("the certificate is of %s", identity.ID)
		}
		leaf = identity.Certificate.Leaf
		if leaf.SerialNumber.Text(16) == not {
			return errors.New("the certificate is the one from before")
		}
		return peertls.Verify([]*x509.Certificate{leaf}, peertls.Pool([]*x509.Certificate{by}), x509.ExtKeyUsageClientAuth, w.time.Now())
	})
	return leaf
}

// withPeers makes a slice one whose gateways speak by certificates.
func withPeers(rs *v1alpha1.RegionalService) *v1alpha1.RegionalService {
	rs.Spec.Gateway.PeerTLS = &v1alpha1.PeerTLS{}
	for i := range rs.Spec.Peers {
		rs.Spec.Peers[i].PeerEndpoint = fmt.Sprintf("https://127.0.0.1:%d", 10+i)
	}
	return rs
}

// TestPeerCertificates goes through the life of certificates and authorities, with time that the test lets pass.
func TestPeerCertificates(t *testing.T) {
	w := newWorld(t)
	const ns = peersNamespace
	w.namespace(ns)
	first := w.awaitAuthorities(1)[0]
	for _, name := range []string{"user", "order"} {
		rs := withPeers(slice(ns, name))
		w.region.accept(rs, specHash)
		w.create(rs)
	}
	leaf := w.certificate("user", first, "")
	w.certificate("order", first, "")

	// Half of its life has passed: it is renewed when the service is looked at, which time alone brings about as well.
	w.time.Step(peerLifetimes.Certificate/2 + time.Minute)
	w.touch(ns)
	leaf = w.certificate("user", first, leaf.SerialNumber.Text(16))

	// The next authority is made, and signs nothing before the other region believes it.
	w.region.trust(there, ownership.Trust{Authorities: w.region.said().Authorities, Knows: map[string][]string{here: {ownca.Fingerprint(first)}}})
	w.time.Step(peerLifetimes.Authority * 3 / 4)
	next := w.awaitAuthorities(2)[1]
	w.touch(ns)
	leaf = w.certificate("user", first, leaf.SerialNumber.Text(16))
	w.region.trust(there, ownership.Trust{
		Authorities: w.region.said().Authorities, Knows: map[string][]string{here: {ownca.Fingerprint(first), ownca.Fingerprint(next)}},
	})
	leaf = w.certificate("user", next, leaf.SerialNumber.Text(16))
	w.certificate("order", next, "")
	// Certificates of the first authority may be in use still.
	w.awaitOrder(next, first)
	// Once nothing that it signed is valid any more, nobody need believe the first.
	w.time.Step(peerLifetimes.Certificate + time.Minute)
	w.awaitOrder(next)
	w.touch(ns)
	w.certificate("user", next, leaf.SerialNumber.Text(16))

	for _, text := range w.region.said().Authorities {
		if strings.Contains(text, "PRIVATE") {
			t.Error("a private key has left the region")
		}
	}
	s, err := get(w, &corev1.Secret{}, operator, caSecret)
	if err != nil || len(s.Data["previous.crt"]) > 0 || len(s.Data["next.key"]) > 0 || len(s.Data["current.key"]) == 0 {
		t.Errorf("the authority's Secret: %v, %v", slices.Sorted(maps.Keys(s.Data)), err)
	}

	// A service less, then none.
	if err := w.client.Delete(t.Context(), slice(ns, "order")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, timeout, func() error {
		s, err := get(w, &corev1.Secret{}, ns, peerSecret)
		if err != nil || s.Data["order.key"] != nil || s.Data["user.key"] == nil {
			return fmt.Errorf("the Secret has %v, %w", slices.Sorted(maps.Keys(s.Data)), err)
		}
		return nil
	})
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) { rs.Spec.Gateway.PeerTLS = nil })
	testkit.Eventually(t, timeout, func() error {
		if _, err := get(w, &corev1.Secret{}, ns, peerSecret); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Secret is there: %w", err)
		}
		return nil
	})
}

// touch has the member look at a namespace's services, of which user is one.
func (w *world) touch(namespace string) {
	w.t.Helper()
	edit(w, &v1alpha1.RegionalService{}, namespace, "user", func(rs *v1alpha1.RegionalService) { rs.Spec.Stamp.Generation++ })
}

// TestPeersBelieved tells the other regions whom the gateways believe, once they have taken it up.
func TestPeersBelieved(t *testing.T) {
	w := newWorld(t)
	w.awaitAuthorities(1)
	theirs, err := ownca.ForGateways(there)(w.time.Now(), peerLifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := ownca.Fingerprint(theirs.Certificate)
	w.region.mu.Lock()
	w.region.behind = true
	w.region.mu.Unlock()
	w.region.trust(there, ownership.Trust{Authorities: []string{string(ownca.PEM(theirs.Certificate))}})
	w.time.Step(time.Minute)
	if known := w.region.said().Knows[there]; len(known) > 0 {
		t.Errorf("a gateway lags, and the region says that all believe %v", known)
	}
	w.region.mu.Lock()
	w.region.behind = false
	w.region.mu.Unlock()
	testkit.Eventually(t, timeout, func() error {
		w.time.Step(time.Minute)
		if known := w.region.said().Knows[there]; !slices.Equal(known, []string{fingerprint}) {
			return fmt.Errorf("the region believes %v, want %s", known, fingerprint)
		}
		return nil
	})
}

// peersNotOurs leaves a Secret of somebody else alone, and says so.
func peersNotOurs(w *world) {
	const ns = "peers-not-ours"
	w.namespace(ns)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: peerSecret}, Data: map[string][]byte{"a": []byte("b")}})
	rs := withPeers(slice(ns, "user"))
	w.region.accept(rs, specHash)
	w.create(rs)
	w.makeAvailable(ns, "user-gateway")
	message := w.condition(ns, "user", v1alpha1.ConditionGatewayReady, metav1.ConditionFalse, v1alpha1.ReasonPeerCertificates)
	if !strings.Contains(message, peerSecret) || !strings.Contains(message, "rename or remove it") {
		w.t.Errorf("the message is %q", message)
	}
	s, err := get(w, &corev1.Secret{}, ns, peerSecret)
	if err != nil || string(s.Data["a"]) != "b" || len(s.Data) != 1 {
		w.t.Errorf("the Secret is %v, %v", s.Data, err)
	}
	if err := w.client.Delete(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	w.touch(ns)
	w.condition(ns, "user", v1alpha1.ConditionGatewayReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	testkit.Eventually(w.t, timeout, func() error {
		c, ok := w.region.routing(ns)
		if !ok || len(c.Regions) != 2 || c.Regions[1].PeerEndpoint == "" || !c.PlainHopsRefused {
			return fmt.Errorf("the gateways' routing is %v of %+v", ok, c.Regions)
		}
		return nil
	})
}

// peersAccepted tells the hub whose requests all gateways take, as they say it.
func peersAccepted(w *world) {
	const ns = "peers-accepted"
	w.namespace(ns)
	rs := withPeers(slice(ns, "user"))
	w.region.accept(rs, specHash)
	w.create(rs)
	w.makeAvailable(ns, "user-gateway")
	w.pod(ns, "user-gateway", "user-gateway-1", "")
	for _, taken := range [][]string{{there}, nil} {
		w.region.take(ns, taken)
		testkit.Eventually(w.t, timeout, func() error {
			have, err := get(w, &v1alpha1.RegionalService{}, ns, "user")
			if err != nil || !slices.Equal(have.Status.AcceptsPeers, taken) {
				return fmt.Errorf("the region accepts the requests of %v, want %v: %w", have.Status.AcceptsPeers, taken, err)
			}
			return nil
		})
	}
}

// take has the namespace's gateway say whose requests it takes.
func (r *region) take(namespace string, peers []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acks = slices.DeleteFunc(r.acks, func(a agent.Ack) bool { return a.Namespace == namespace })
	r.acks = append(r.acks, agent.Ack{Namespace: namespace, Name: "user", Gateway: "user-gateway-1", Epoch: r.conf.View.Epoch, Peers: peers})
	r.report(namespace)
}

// report counts a change of what a namespace's gateway says.
func (r *region) report(namespace string) {
	r.reports++
	if r.reported == nil {
		r.reported = map[string]int64{}
	}
	r.reported[namespace] = r.reports
}
