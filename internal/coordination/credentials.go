package coordination

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Files are the PEM files of a client of the store. They are read again for every connection, so that what
// is renewed counts without a restart. Empty: none.
type Files struct {
	// CA signs the members' certificates; without it the system's authorities do.
	CA string
	// Cert and Key are what the client shows.
	Cert, Key string
}

// Certificate is one that the connections to the store depend on.
type Certificate struct {
	// What it is, with where it is found, such as "the client's certificate in /tls/tls.crt".
	What string
	// NotBefore and NotAfter bound its validity.
	NotBefore, NotAfter time.Time
}

// Credentials make connections with what the files hold at that time.
type Credentials struct {
	files Files

	mu sync.Mutex
	// last is what was read last, for when the files are being replaced.
	last *tls.Config
	// unread is why the files cannot be used now, empty when they can.
	unread string
	// shown is what members have shown last, and refused why no connection came about, by their name.
	shown   map[string]Certificate
	refused map[string]string
}

// NewCredentials returns nil without any file, and an error that names the one that cannot be used.
func NewCredentials(files Files) (*Credentials, error) {
	if files == (Files{}) {
		return nil, nil //nolint:nilnil // no TLS is an answer: the endpoints are http URLs
	}
	c := &Credentials{files: files, shown: map[string]Certificate{}, refused: map[string]string{}}
	if _, err := c.config(); err != nil {
		return nil, err
	}
	return c, nil
}

// config reads the files. While they cannot be used it returns what they held last.
func (c *Credentials) config() (*tls.Config, error) {
	read, err := c.files.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = ""
	if err != nil {
		c.unread = err.Error()
		if c.last == nil {
			return nil, err
		}
		return c.last, nil
	}
	c.last = read
	return read, nil
}

func (f Files) read() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		content, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the authority of the store's certificates: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s holds no PEM certificate", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client's certificate %s and its key %s: %w", f.Cert, f.Key, err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *Credentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	secured, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
	c.noteRefused(authority, err)
	if err != nil {
		return nil, nil, err
	}
	if state, is := info.(credentials.TLSInfo); is && len(state.State.PeerCertificates) > 0 {
		leaf := state.State.PeerCertificates[0]
		c.mu.Lock()
		c.shown[authority] = Certificate{"the certificate that " + authority + " shows", leaf.NotBefore, leaf.NotAfter}
		c.mu.Unlock()
	}
	return secured, info, nil
}

// noteRefused keeps why a member and this client do not trust each other. What is slow, or broken off, says
// nothing of that: a member that refuses the client's certificate says so only later.
func (c *Credentials) noteRefused(authority string, err error) {
	why := Explain(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case why != "":
		c.refused[authority] = why
	case err == nil:
		delete(c.refused, authority)
	}
}

// Refused says, by member, why no connection comes about.
func (c *Credentials) Refused() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.refused)) {
		out = append(out, name+": "+c.refused[name])
	}
	return out
}

// ServerHandshake implements credentials.TransportCredentials: a client has no use for it.
func (*Credentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are the credentials of a client")
}

// Info implements credentials.TransportCredentials.
func (*Credentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials: what it keeps is shared.
func (c *Credentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials: the endpoints' own names count.
func (*Credentials) OverrideServerName(string) error { return nil }

// Certificates returns those that connections depend on now, by what they are: the files' and those that
// members have shown last.
func (c *Credentials) Certificates() []Certificate {
	var out []Certificate
	add := func(what, file string) {
		content, err := os.ReadFile(file)
		if err != nil {
			return // Unread tells it
		}
		for _, found := range parse(content) {
			out = append(out, Certificate{what + " in " + file, found.NotBefore, found.NotAfter})
		}
	}
	if c.files.Cert != "" {
		add("the client's certificate", c.files.Cert)
	}
	if c.files.CA != "" {
		add("the authority's certificate", c.files.CA)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.shown)) {
		out = append(out, c.shown[name])
	}
	return out
}

// Unread says why the files cannot be used now, and empty when they can.
func (c *Credentials) Unread() string {
	_, _ = c.config()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unread
}

func parse(content []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return out
		}
		if found, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, found)
		}
	}
}
