package coordination

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"k8s.io/utils/clock"
)

// Defaults of Options.
const (
	DefaultPrefix         = "/multiactive/"
	DefaultDialTimeout    = 2 * time.Second
	DefaultRequestTimeout = 1500 * time.Millisecond
)

// A connection over which packets vanish silently is given up after keepAliveTimeout without an
// acknowledgement of something sent, or after keepAliveTime plus that while there is a watch on it.
// gRPC allows no shorter keepAliveTime, and etcd ends connections that are kept alive for nothing.
const (
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 2 * time.Second
)

// Pauses between attempts to connect to an endpoint.
const (
	firstRedial = 200 * time.Millisecond
	lastRedial  = 3 * time.Second
)

// Options say where the store is and how to talk to it.
type Options struct {
	// Endpoints of every member, as URLs (https://10.0.0.1:2379). At least one, in order of preference:
	// the first that answers is asked, so that the nearest should come first.
	Endpoints []string
	// Prefix of all keys. Default /multiactive/.
	Prefix string
	// TLS or Credentials are required unless the endpoints are http URLs. Credentials win.
	TLS         *tls.Config
	Credentials *Credentials
	// DialTimeout bounds one connection attempt. Default 2 s.
	DialTimeout time.Duration
	// RequestTimeout bounds every call. Default 1.5 s; keep it below a quarter of regionLease, so
	// that one dead endpoint does not cost the lease.
	RequestTimeout time.Duration
	// Clock measures sessions, and for how long a member has been in doubt. Default: the system's.
	Clock clock.WithTicker
	// Known is the highest position that the caller has kept from earlier runs (R2). Zero: none.
	Known Position
	// Restored: the known store has come back with a lower revision before, as kept from earlier
	// runs. It is refused whatever its revision is by now.
	Restored bool
}

// Position is a point in a store's history.
type Position struct {
	ClusterID uint64
	Revision  int64
}

// Store is a client of the coordination store. It is safe for concurrent use.
type Store struct {
	members     *members
	clock       clock.WithTicker
	credentials *Credentials // nil: no TLS
	prefix      string
	timeout     time.Duration

	mu    sync.Mutex
	known Position
	// refused is what the latest answer was refused for, nil when it was not.
	refused *OtherStoreError
	// restored is set for good once the known store answered with a lower revision: what is written
	// since raises the revision past the known one, and makes nothing of it newer.
	restored *OtherStoreError
}

// Connect returns a Store. It does not wait for an endpoint to answer, so that a region starts
// while the store is away; the first call tells.
func Connect(o Options) (*Store, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("connecting to the coordination store: no endpoints; name every member's client URL")
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	// Left alone, gRPC waits for up to two minutes before it dials again, once a store was away for long.
	dial := []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: firstRedial, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastRedial}, MinConnectTimeout: o.DialTimeout,
	})}
	if o.Credentials != nil {
		dial = append(dial, grpc.WithTransportCredentials(o.Credentials))
	}
	// A call is tried once: the next one asks another member.
	all, err := dialMembers(o, clientv3.Config{
		TLS: o.TLS, DialOptions: dial, DialTimeout: o.DialTimeout, MaxUnaryRetries: 1,
		DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, err
	}
	s := &Store{
		members: all, clock: o.Clock, credentials: o.Credentials, prefix: normalisePrefix(o.Prefix), timeout: o.RequestTimeout, known: o.Known,
	}
	if o.Restored && o.Known.ClusterID != 0 {
		s.restored = &OtherStoreError{Known: o.Known, Seen: o.Known, Restored: true}
	}
	return s, nil
}

// Close ends the connections. Watches and terms end with it.
func (s *Store) Close() error {
	if err := s.members.close(); err != nil {
		return fmt.Errorf("closing the coordination store: %w", err)
	}
	return nil
}

// Position returns the highest position known. Callers keep it over restarts (R2).
func (s *Store) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// Advance raises the known position to one that was kept meanwhile, by another process of the region. One
// of another store is left alone.
func (s *Store) Advance(p Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known.ClusterID == 0 {
		s.known = p
	}
	if s.known.ClusterID == p.ClusterID {
		s.known.Revision = max(s.known.Revision, p.Revision)
	}
}

// Refusal returns what the latest answer was refused for, nil when it was not (R2).
func (s *Store) Refusal() *OtherStoreError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// accept notes the position of an answer, or refuses the answer if it is not of the store known
// before the question was asked (R2).
func (s *Store) accept(before, seen Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.judge(before, seen); err != nil {
		s.refused = err
		return err
	}
	s.refused = nil
	s.known.ClusterID = seen.ClusterID
	s.known.Revision = max(s.known.Revision, seen.Revision)
	return nil
}

// judge returns why the answer is refused, nil if it is not. The caller holds the lock.
func (s *Store) judge(before, seen Position) *OtherStoreError {
	switch {
	case before.ClusterID != 0 && before.ClusterID != seen.ClusterID:
		return &OtherStoreError{Known: before, Seen: seen}
	case s.known.ClusterID != 0 && s.known.ClusterID != seen.ClusterID:
		return &OtherStoreError{Known: s.known, Seen: seen}
	case s.restored == nil && seen.Revision < before.Revision:
		s.restored = &OtherStoreError{Known: before, Seen: seen, Restored: true}
	}
	return s.restored
}

// bounded returns a context that ends after the request timeout.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}
