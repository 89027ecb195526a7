package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Mechanism names a SASL mechanism.
type Mechanism string

// The supported mechanisms.
const (
	MechanismPlain       Mechanism = "PLAIN"
	MechanismScramSHA256 Mechanism = "SCRAM-SHA-256"
	MechanismScramSHA512 Mechanism = "SCRAM-SHA-512"
)

// SASL holds credentials. It prints without its password.
type SASL struct {
	Mechanism Mechanism
	User      string
	Password  string
}

// String hides the password.
func (s SASL) String() string { return fmt.Sprintf("%s user %q", s.Mechanism, s.User) }

// GoString hides the password from %#v.
func (s SASL) GoString() string { return s.String() }

// LogValue hides the password from structured logs.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Options say how to reach one Kafka cluster.
type Options struct {
	// Brokers are the bootstrap addresses, host:port; at least one.
	Brokers []string
	// ClientID appears in the brokers' logs and quotas. Default "multiactive".
	ClientID string
	// SASL is nil for brokers without authentication.
	SASL *SASL
	// TLS is nil for plain connections.
	TLS *tls.Config
	// Timeout bounds every administrative call. Default DefaultTimeout.
	Timeout time.Duration
}

func (o Options) timeout() time.Duration {
	if o.Timeout <= 0 {
		return DefaultTimeout
	}
	return o.Timeout
}

// ClientOptions checks o and turns it into options for a franz-go client,
// which producers and consumers extend with their own. The error names the
// field at fault.
func ClientOptions(o Options) ([]kgo.Opt, error) {
	if len(o.Brokers) == 0 {
		return nil, errors.New("brokers: none given; name at least one host:port")
	}
	for _, b := range o.Brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("brokers: %q is not host:port", b)
		}
	}
	id := o.ClientID
	if id == "" {
		id = "multiactive"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(id),
		kgo.DialTimeout(min(o.timeout(), 5*time.Second)),
		kgo.RequestTimeoutOverhead(o.timeout()),
		kgo.RetryTimeout(o.timeout()),
	}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if o.SASL != nil {
		m, err := o.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	if s.User == "" || s.Password == "" {
		return nil, errors.New("sasl: user and password are both needed")
	}
	switch s.Mechanism {
	case MechanismPlain:
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case MechanismScramSHA256:
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism(), nil
	case MechanismScramSHA512:
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("sasl.mechanism: %q is not supported; use %s, %s or %s",
			s.Mechanism, MechanismPlain, MechanismScramSHA256, MechanismScramSHA512)
	}
}
