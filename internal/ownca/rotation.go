package ownca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

// Lifetimes of what is made.
type Lifetimes struct {
	// Certificate of a server. It is renewed when half of it has passed.
	Certificate time.Duration
	// Authority that signs them. The next one is made when two thirds of it have passed.
	Authority time.Duration
}

// Defaults of Lifetimes.
const (
	DefaultCertificate = 30 * 24 * time.Hour
	DefaultAuthority   = 365 * 24 * time.Hour
)

// minRatio leaves, in the last third of an authority, twice the lifetime of a certificate.
const minRatio = 6

// Check refuses lifetimes that leave no time to change authorities in.
func (l Lifetimes) Check() error {
	switch {
	case l.Certificate <= 0:
		return errors.New("the lifetime of a certificate must be more than 0")
	case l.Authority < minRatio*l.Certificate:
		return fmt.Errorf("the lifetime of an authority, %s, must be at least %d times that of a certificate, %s", l.Authority, minRatio, l.Certificate)
	}
	return nil
}

// State is all that is kept of one's authorities.
type State struct {
	// Current signs; nil before the first.
	Current *Authority
	// Next will sign once the others trust it; nil while none is due.
	Next *Authority
	// Previous signed before, without its key: certificates of it may be in use until Retires.
	Previous *x509.Certificate
	Retires  time.Time
}

// Trusted are the certificates that the others have to trust.
func (s *State) Trusted() []*x509.Certificate {
	var out []*x509.Certificate
	if s.Current != nil {
		out = append(out, s.Current.Certificate)
	}
	if s.Next != nil {
		out = append(out, s.Next.Certificate)
	}
	if s.Previous != nil {
		out = append(out, s.Previous)
	}
	return out
}

// Step says what was done to a State.
type Step string

// The steps.
const (
	// StepNone: everything stays.
	StepNone Step = ""
	// StepFirst: there was no usable authority; the others trust the new one a moment later.
	StepFirst Step = "First"
	// StepPrepare: the next authority was made, for the others to trust.
	StepPrepare Step = "Prepare"
	// StepPromote: the next authority signs from now on.
	StepPromote Step = "Promote"
	// StepRetire: nothing that the previous one signed is in use any more.
	StepRetire Step = "Retire"
)

// Advance takes at most one step, in place. everywhere reports whether all others trust a
// certificate.
func Advance(s *State, fresh Maker, now time.Time, l Lifetimes, everywhere func(*x509.Certificate) bool) (Step, error) {
	switch {
	case s.Current == nil || !valid(s.Current.Certificate, now):
		return s.begin(fresh, now, l)
	case s.Next != nil && (everywhere(s.Next.Certificate) || now.After(s.Current.Certificate.NotAfter.Add(-l.Certificate))):
		s.Previous, s.Retires = s.Current.Certificate, now.Add(l.Certificate)
		s.Current, s.Next = s.Next, nil
		return StepPromote, nil
	case s.Previous != nil && !now.Before(s.Retires):
		s.Previous, s.Retires = nil, time.Time{}
		return StepRetire, nil
	case s.Next == nil && s.Previous == nil && now.After(s.Current.Certificate.NotAfter.Add(-l.Authority/3)):
		next, err := fresh(now, l.Authority)
		if err != nil {
			return StepNone, err
		}
		s.Next = next
		return StepPrepare, nil
	}
	return StepNone, nil
}

// valid reports whether nobody refuses a certificate for its dates. One that begins later was made while the clock was wrong.
func valid(c *x509.Certificate, now time.Time) bool {
	return now.Before(c.NotAfter) && !now.Before(c.NotBefore)
}

// begin replaces an authority that is not there or not valid. The next one, if it is there, is known to some.
func (s *State) begin(fresh Maker, now time.Time, l Lifetimes) (Step, error) {
	if s.Next != nil && valid(s.Next.Certificate, now) {
		*s = State{Current: s.Next}
		return StepFirst, nil
	}
	first, err := fresh(now, l.Authority)
	if err != nil {
		return StepNone, err
	}
	*s = State{Current: first}
	return StepFirst, nil
}

// RenewAt is when a certificate that current has signed is to be renewed.
func RenewAt(leaf *x509.Certificate, l Lifetimes) time.Time {
	return leaf.NotAfter.Add(-l.Certificate / 2)
}

// Due reports whether the certificate in PEM, which may be anything, has to be made anew for the gateways, and
// else when it will be.
func Due(certificate, key []byte, id peertls.ID, current *Authority, now time.Time, l Lifetimes) (bool, time.Time) {
	have, err := peertls.ParseIdentity(certificate, key, nil)
	if err != nil || have.ID != id {
		return true, now
	}
	return current.due(have.Certificate.Leaf, now, l)
}

// DueHost is Due for a certificate of IssueHost.
func DueHost(certificate, key []byte, name string, current *Authority, now time.Time, l Lifetimes) (bool, time.Time) {
	have, err := tls.X509KeyPair(certificate, key)
	if err != nil || have.Leaf.VerifyHostname(name) != nil {
		return true, now
	}
	return current.due(have.Leaf, now, l)
}

func (a *Authority) due(leaf *x509.Certificate, now time.Time, l Lifetimes) (bool, time.Time) {
	if leaf.CheckSignatureFrom(a.Certificate) != nil || now.Before(leaf.NotBefore) {
		return true, now
	}
	at := RenewAt(leaf, l)
	return !now.Before(at), at
}
