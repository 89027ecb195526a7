package ownca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

const (
	// backdated is by how much certificates are valid before they are made: clocks of other regions may be
	// behind.
	backdated = time.Hour
	// serialBits are as many as a serial number may have.
	serialBits = 120
)

// Authority signs certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Maker makes an authority that is valid for a lifetime from now.
type Maker func(now time.Time, lifetime time.Duration) (*Authority, error)

// ForGateways makes authorities that sign for the gateways of a region.
func ForGateways(region string) Maker {
	return maker("MultiActive gateways of region "+region, func(template *x509.Certificate) {
		// Names of gateways and nothing else: whoever trusts this authority by mistake believes it no host name.
		template.PermittedURIDomains = []string{(peertls.ID{}).URI().Host}
		template.PermittedDNSDomains, template.PermittedDNSDomainsCritical = []string{"gateways.invalid"}, true
	})
}

// ForHost makes authorities that sign for one host and those below it.
func ForHost(name string) Maker {
	return maker("MultiActive "+name, func(template *x509.Certificate) {
		template.PermittedDNSDomains, template.PermittedDNSDomainsCritical = []string{name}, true
	})
}

func maker(name string, bound func(template *x509.Certificate)) Maker {
	return func(now time.Time, lifetime time.Duration) (*Authority, error) {
		key, serial, err := fresh()
		if err != nil {
			return nil, fmt.Errorf("making an authority: %w", err)
		}
		template := &x509.Certificate{
			SerialNumber: serial, NotBefore: now.Add(-backdated), NotAfter: now.Add(lifetime),
			Subject:  pkix.Name{CommonName: name, SerialNumber: serial.Text(16)},
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		}
		bound(template)
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, fmt.Errorf("making an authority: %w", err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("making an authority: %w", err)
		}
		return &Authority{cert, key}, nil
	}
}

// Made is when the authority was made.
func (a *Authority) Made() time.Time { return a.Certificate.NotBefore.Add(backdated) }

// Issue makes a certificate for the service's gateways of the region, with a private key of its own, in PEM.
// It is valid for a lifetime from now, and no longer than the authority.
func (a *Authority) Issue(id peertls.ID, now time.Time, lifetime time.Duration) (certificate, key []byte, err error) {
	return a.issue(&x509.Certificate{
		URIs: []*url.URL{id.URI()}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, now, lifetime)
}

// IssueHost is Issue for a server that is reached by a host's name.
func (a *Authority) IssueHost(name string, now time.Time, lifetime time.Duration) (certificate, key []byte, err error) {
	return a.issue(&x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, now, lifetime)
}

func (a *Authority) issue(template *x509.Certificate, now time.Time, lifetime time.Duration) (certificate, key []byte, err error) {
	private, serial, err := fresh()
	if err != nil {
		return nil, nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	until := now.Add(lifetime)
	if until.After(a.Certificate.NotAfter) {
		until = a.Certificate.NotAfter
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, now.Add(-backdated), until
	template.KeyUsage, template.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, private.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	if key, err = encodeKey(private); err != nil {
		return nil, nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, nil
}

// fresh returns a private key and a serial number.
func fresh() (*ecdsa.PrivateKey, *big.Int, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	return key, serial, err
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Encode returns certificate and private key in PEM.
func (a *Authority) Encode() (certificate, key []byte, err error) {
	key, err = encodeKey(a.key)
	return PEM(a.Certificate), key, err
}

// ParseAuthority reads what Encode returned. Its errors hold nothing of the key.
func ParseAuthority(certificate, key []byte) (*Authority, error) {
	certs, err := peertls.ParseCertificates(certificate)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errors.New("the private key is no PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, is := parsed.(*ecdsa.PrivateKey)
	if err != nil || !is || !private.PublicKey.Equal(certs[0].PublicKey) {
		return nil, errors.New("the private key cannot be read, or belongs to another certificate")
	}
	return &Authority{certs[0], private}, nil
}

// PEM returns a certificate in PEM.
func PEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// Fingerprint names a certificate.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:16])
}
