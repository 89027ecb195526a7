package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Files of a control plane's directory that hold its certificates and keys.
const (
	caCertFile         = "ca.crt"
	serverCertFile     = "server.crt"
	serverKeyFile      = "server.key"
	serviceAccountFile = "service-account.key"
)

// The certificates are for loopback only and made anew for every directory, so their dates need no
// clock: they cover every run.
var (
	notBefore = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2120, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// ensurePKI makes what the directory lacks, as a whole: a CA that signs once and is forgotten, a server
// certificate for host and the first address of services, and the key of service account tokens. It returns the CA's certificate as PEM.
func ensurePKI(dir, host, services string) ([]byte, error) {
	ca, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if err == nil {
		return ca, checkHost(dir, host)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the certificate authority: %w", err)
	}
	caTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "multiactive test kit"},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	if ca, err = sign(caTemplate, caTemplate, caKey, caKey); err != nil {
		return nil, fmt.Errorf("making the certificate authority: %w", err)
	}
	if err := serverFiles(dir, []net.IP{net.ParseIP(host), first(services)}, caTemplate, caKey); err != nil {
		return nil, err
	}
	if err := keyFile(filepath.Join(dir, serviceAccountFile)); err != nil {
		return nil, err
	}
	// Last, because its presence says that the rest is complete.
	if err := os.WriteFile(filepath.Join(dir, caCertFile), ca, 0o600); err != nil {
		return nil, fmt.Errorf("writing the certificate authority: %w", err)
	}
	return ca, nil
}

// checkHost refuses a directory whose server had another address: its kubeconfigs would all be void.
func checkHost(dir, host string) error {
	content, err := os.ReadFile(filepath.Join(dir, serverCertFile))
	if err != nil {
		return fmt.Errorf("reading the server certificate: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return fmt.Errorf("reading the server certificate: %s holds none; use an empty directory", filepath.Join(dir, serverCertFile))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("reading the server certificate: %w", err)
	}
	if err := cert.VerifyHostname(host); err != nil {
		return fmt.Errorf("option Host %s differs from the one that %s was made for; keep it, or use an empty directory: %w", host, dir, err)
	}
	return nil
}

func serverFiles(dir string, addresses []net.IP, ca *x509.Certificate, caKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the server certificate: %w", err)
	}
	cert, err := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: notBefore, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses,
		DNSNames:    []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}, ca, key, caKey)
	if err != nil {
		return fmt.Errorf("making the server certificate: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, serverCertFile), cert, 0o600); err != nil {
		return fmt.Errorf("writing the server certificate: %w", err)
	}
	return writeKey(filepath.Join(dir, serverKeyFile), key)
}

// first is the address of the Service "kubernetes", by which Pods reach the server.
func first(services string) net.IP {
	return net.IP(netip.MustParsePrefix(services).Masked().Addr().Next().AsSlice())
}

func keyFile(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making %s: %w", filepath.Base(path), err)
	}
	return writeKey(path, key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", filepath.Base(path), err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("writing a key: %w", err)
	}
	return nil
}

// sign returns the certificate for key's public half as PEM.
func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
