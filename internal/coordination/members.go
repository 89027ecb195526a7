package coordination

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"
)

// doubtFor is for how long a member that did not answer is asked after the others: longer than a connection
// over which packets vanish is kept, so that a connection that is there afterwards was made since.
const doubtFor = 30 * time.Second

// members are the store's members, each with a client of its own, in order of preference. One client for
// all of them would go round: while packets to a member vanish, every third call would cost its whole time
// limit, and a watch or a session could hang on that member for as long as its connection is believed in.
type members struct {
	all   []*member
	clock clock.PassiveClock
	stop  context.CancelFunc
	gone  sync.WaitGroup
}

// member is one endpoint.
type member struct {
	endpoint string
	client   *clientv3.Client

	mu        sync.Mutex
	connected bool
	// doubted is when it last did not answer, zero when it has answered since.
	doubted time.Time
	// left is closed when the connection breaks or a call is not answered, and replaced.
	left chan struct{}
}

func dialMembers(o Options, config clientv3.Config) (*members, error) {
	ctx, stop := context.WithCancel(context.Background())
	m := &members{clock: o.Clock, stop: stop}
	for _, endpoint := range o.Endpoints {
		config.Endpoints = []string{endpoint}
		client, err := clientv3.New(config)
		if err != nil {
			_ = m.close()
			return nil, fmt.Errorf("connecting to the coordination store's member %s: %w", endpoint, err)
		}
		one := &member{endpoint: endpoint, client: client, left: make(chan struct{})}
		m.all = append(m.all, one)
		m.gone.Go(func() { one.follow(ctx) })
	}
	return m, nil
}

func (m *members) close() error {
	m.stop()
	var errs []error
	for _, one := range m.all {
		errs = append(errs, one.client.Close())
	}
	m.gone.Wait()
	return errors.Join(errs...)
}

// follow keeps the member connected, and notes whether it is.
func (m *member) follow(ctx context.Context) {
	connection := m.client.ActiveConnection()
	for ctx.Err() == nil {
		state := connection.GetState()
		if state == connectivity.Idle {
			connection.Connect()
		}
		m.mu.Lock()
		lost := m.connected && state != connectivity.Ready
		m.connected = state == connectivity.Ready
		if lost {
			m.leave()
		}
		m.mu.Unlock()
		connection.WaitForStateChange(ctx, state)
	}
}

// leave wakes who waits for something of this member. The caller holds the lock.
func (m *member) leave() {
	close(m.left)
	m.left = make(chan struct{})
}

// watched returns the member's client, and a channel that is closed when the member does not answer any more.
func (m *member) watched() (*clientv3.Client, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.client, m.left
}

// trust is what there is to say of a member, the best first.
type trust int

const (
	trusted trust = iota
	doubtful
	disconnected
)

func (m *member) trust(now time.Time) (trust, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.connected:
		return disconnected, m.doubted
	case m.doubted.IsZero() || now.Sub(m.doubted) >= doubtFor:
		return trusted, time.Time{}
	default:
		return doubtful, m.doubted
	}
}

// pick returns the member to ask: the first that is connected and not in doubt, else the one that has been
// in doubt for longest, else the same of those that are not connected.
func (m *members) pick() *member {
	now := m.clock.Now()
	var best *member
	var bestTrust trust
	var bestAt time.Time
	for _, one := range m.all {
		t, at := one.trust(now)
		if best == nil || t < bestTrust || t == bestTrust && at.Before(bestAt) {
			best, bestTrust, bestAt = one, t, at
		}
	}
	return best
}

// answered notes the outcome of a call. A refusal by the store is an answer.
func (m *members) answered(of *member, err error) {
	switch {
	case err == nil:
		of.mu.Lock()
		defer of.mu.Unlock()
		of.doubted = time.Time{}
	case unanswered(err):
		m.doubt(of)
	}
}

// doubt has the others asked before a member that did not answer.
func (m *members) doubt(of *member) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.doubted = m.clock.Now()
	of.leave()
}

// unanswered reports whether the error says that the member, or the store behind it, did not answer. That a
// caller has lost interest says nothing.
func unanswered(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	code := status.Code(err)
	if etcd := (rpctypes.EtcdError{}); errors.As(err, &etcd) {
		code = etcd.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// ask calls one member.
func ask[T any](ctx context.Context, s *Store, call func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	m := s.members.pick()
	answer, err := call(ctx, m.client)
	s.members.answered(m, err)
	return answer, err
}
