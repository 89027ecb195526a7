package peertls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Files of a Secret with a gateway's certificate, as cert-manager names them.
const (
	FileCertificate = "tls.crt"
	FileKey         = "tls.key"
	// FileAuthorities is only there in Secrets that the operator did not make. It then holds the
	// authorities of all the service's regions.
	FileAuthorities = "ca.crt"
)

// Identity is what one gateway shows its peers.
type Identity struct {
	Certificate tls.Certificate
	ID          ID
	// Authorities of all regions, nil when the routing names each region's own.
	Authorities *x509.CertPool
}

// ParseIdentity reads the files' contents; ca may be empty. Its errors name a file and hold nothing of it.
func ParseIdentity(cert, key, ca []byte) (*Identity, error) {
	if len(cert) == 0 || len(key) == 0 {
		return nil, fmt.Errorf("%s or %s is missing or empty", FileCertificate, FileKey)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// The library's text is of the form of the input alone, yet nothing of a key file is repeated.
		return nil, fmt.Errorf("%s and %s are no certificate with its private key", FileCertificate, FileKey)
	}
	out := &Identity{Certificate: pair}
	if out.ID, err = IDOf(pair.Leaf); err != nil {
		return nil, fmt.Errorf("%s: %w", FileCertificate, err)
	}
	if len(bytes.TrimSpace(ca)) > 0 {
		all, err := ParseCertificates(ca)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", FileAuthorities, err)
		}
		out.Authorities = Pool(all)
	}
	return out, nil
}

// Usable says what keeps the identity from being that of the service's gateways, nil if nothing does.
func (i *Identity) Usable(namespace, name string, now time.Time) error {
	if i.ID.Namespace != namespace || i.ID.Name != name {
		return fmt.Errorf("%s belongs to service %s/%s, not to %s/%s", FileCertificate, i.ID.Namespace, i.ID.Name, namespace, name)
	}
	if leaf := i.Certificate.Leaf; now.After(leaf.NotAfter) {
		return fmt.Errorf("%s expired at %s", FileCertificate, stamp(leaf.NotAfter))
	}
	return nil
}

// ParseCertificates reads PEM certificates, at least one.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("it holds something that is no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(out)+1, err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	return out, nil
}

// Pool returns a pool of certificates; nil for none.
func Pool(certs []*x509.Certificate) *x509.CertPool {
	if len(certs) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}
