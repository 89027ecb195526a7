package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kinds of failure a caller treats differently. Match with errors.Is.
var (
	// ErrUnreachable: no broker answered in time. The region's Kafka is down,
	// cut off, or the addresses are wrong; retry later.
	ErrUnreachable = errors.New("kafka unreachable")
	// ErrAuthentication: the brokers refused user or password.
	ErrAuthentication = errors.New("kafka authentication failed")
	// ErrCertificate: TLS failed, because the brokers' certificate is not trusted
	// here, or names others, or because the brokers want one of the client's.
	ErrCertificate = errors.New("kafka certificate not trusted")
	// ErrAuthorization: the user is known but lacks a permission.
	ErrAuthorization = errors.New("kafka authorization failed")
	// ErrTopicExists: Create found a topic of that name.
	ErrTopicExists = errors.New("topic already exists")
)

// Error is a failed call: which kind, against which brokers, and what the
// client library said.
type Error struct {
	// Kind is one of the sentinels above, or nil for everything else.
	Kind error
	// Op says what was being done, such as "describing topics".
	Op string
	// Brokers are the bootstrap addresses that were tried.
	Brokers []string
	Err     error
}

// Error implements error.
func (e *Error) Error() string {
	at := strings.Join(e.Brokers, ",")
	switch {
	case errors.Is(e.Kind, ErrUnreachable):
		return fmt.Sprintf("%s: no broker of %s answered: %v; check that they run and that the addresses are right", e.Op, at, e.Err)
	case errors.Is(e.Kind, ErrAuthentication):
		return fmt.Sprintf("%s: brokers %s refused the credentials: %v; check mechanism, user and password in the Secret", e.Op, at, e.Err)
	case errors.Is(e.Kind, ErrCertificate):
		return fmt.Sprintf("%s: no TLS with brokers %s: %v; check that the CA in the Secret signed the brokers' certificates for these addresses", e.Op, at, e.Err)
	case errors.Is(e.Kind, ErrAuthorization):
		return fmt.Sprintf("%s: brokers %s refused the operation: %v; grant the user the ACL for it", e.Op, at, e.Err)
	default:
		return fmt.Sprintf("%s at %s: %v", e.Op, at, e.Err)
	}
}

// Unwrap makes both the kind and the cause visible to errors.Is and As.
func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Err}
	}
	return []error{e.Kind, e.Err}
}

// wrap turns a client library error into an Error. An outer context that ended
// is passed on as it is: the caller gave up, the brokers need not be at fault.
func wrap(outer context.Context, op string, brokers []string, err error) error {
	if err == nil {
		return nil
	}
	if outer.Err() != nil {
		return fmt.Errorf("%s: %w", op, context.Cause(outer))
	}
	return &Error{Kind: kind(err), Op: op, Brokers: brokers, Err: err}
}

func kind(err error) error {
	var (
		netErr net.Error
		eof    *kgo.ErrFirstReadEOF
	)
	switch {
	case failedTLS(err):
		return ErrCertificate
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return ErrAuthentication
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
		return ErrAuthorization
	case errors.Is(err, kerr.TopicAlreadyExists):
		return ErrTopicExists
	case errors.As(err, &eof), errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrUnreachable
	default:
		return nil
	}
}

// failedTLS: who answered is not trusted here, or did not trust this client.
func failedTLS(err error) bool {
	var (
		distrusted *tls.CertificateVerificationError
		alert      *net.OpError
	)
	// crypto/tls reports what the other side sent as an alert of its own kind in this one.
	return errors.As(err, &distrusted) || errors.As(err, &alert) && alert.Op == "remote error"
}
