package peertls

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Reason says in one word why a peer was refused, for metrics and logs.
type Reason string

// The reasons.
const (
	// ReasonNoCertificate: the peer showed none.
	ReasonNoCertificate Reason = "no-certificate"
	// ReasonForeignName: its certificate is none of a gateway.
	ReasonForeignName Reason = "foreign-name"
	// ReasonOtherService: it belongs to another service.
	ReasonOtherService Reason = "other-service"
	// ReasonOtherRegion: it belongs to a region that is not meant, or none of the service's.
	ReasonOtherRegion Reason = "other-region"
	// ReasonUntrusted: none of the authorities of the region that it names has signed it.
	ReasonUntrusted Reason = "untrusted"
	// ReasonNoAuthority: no authority of that region is known yet.
	ReasonNoAuthority Reason = "no-authority"
	// ReasonExpired: it is not valid now.
	ReasonExpired Reason = "expired"
	// ReasonNoIdentity: this gateway has no certificate of its own yet.
	ReasonNoIdentity Reason = "no-identity"
)

// RefusedError is why a connection to or from a peer was refused. It may be shown to anybody.
type RefusedError struct {
	Reason  Reason
	Message string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

// Refuse returns a RefusedError.
func Refuse(reason Reason, format string, args ...any) *RefusedError {
	return &RefusedError{reason, fmt.Sprintf(format, args...)}
}

// errForeignName is all that is said of a name: it may be anything.
var errForeignName = errors.New("the certificate's URI does not name a gateway")

// Named returns whom a peer's certificates name, if that is a gateway of the service.
func Named(chain []*x509.Certificate, namespace, name string) (ID, error) {
	if len(chain) == 0 {
		return ID{}, Refuse(ReasonNoCertificate, "the peer shows no certificate")
	}
	id, err := IDOf(chain[0])
	if err != nil {
		return ID{}, Refuse(ReasonForeignName, "%s", err)
	}
	if id.Namespace != namespace || id.Name != name {
		return ID{}, Refuse(ReasonOtherService, "the certificate belongs to service %s/%s, not to %s/%s", id.Namespace, id.Name, namespace, name)
	}
	return id, nil
}

// Verify checks that one of the authorities has signed the peer's certificate for the usage, and that it is
// valid now. Nil authorities are none.
func Verify(chain []*x509.Certificate, authorities *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	if authorities == nil {
		return Refuse(ReasonNoAuthority, "no authority of the peer's region is known yet")
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: authorities, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err == nil {
		return nil
	}
	if now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return Refuse(ReasonExpired, "the certificate is valid from %s until %s, and it is %s", stamp(chain[0].NotBefore),
			stamp(chain[0].NotAfter), stamp(now))
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is && invalid.Reason == x509.IncompatibleUsage {
		return Refuse(ReasonUntrusted, "the certificate is not for this use: it must be for servers and for clients")
	}
	return Refuse(ReasonUntrusted, "no authority that is trusted for the peer's region has signed the certificate")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
