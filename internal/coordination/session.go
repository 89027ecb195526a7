package coordination

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// session is a lease of the store that is kept alive by calls of their own: the client's stream of them
// stays with one member, also while packets to that vanish.
type session struct {
	store *Store
	id    clientv3.LeaseID
	ttl   time.Duration
	stop  context.CancelFunc
	done  chan struct{}
}

// openSession opens a session that lives for ttl, in whole seconds, rounded up, without news from its
// holder. It ends with ctx.
func (s *Store) openSession(ctx context.Context, ttl time.Duration) (*session, error) {
	ttl = (ttl + time.Second - 1).Truncate(time.Second)
	asked := s.clock.Now()
	granting, cancel := s.bounded(ctx)
	defer cancel()
	lease, err := ask(granting, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseGrantResponse, error) {
		return c.Grant(ctx, int64(ttl/time.Second))
	})
	if err != nil {
		return nil, fmt.Errorf("granting a session: %w", err)
	}
	x := &session{store: s, id: lease.ID, ttl: ttl, done: make(chan struct{})}
	ctx, x.stop = context.WithCancel(ctx)
	go x.keep(ctx, asked)
	return x, nil
}

// silence is for how many of its lives a session is held to be kept while the store says nothing: a store that
// elects a leader of its own begins every session's life anew, and answers then. Nothing that is written
// rests on it.
const silence = 2

// keep keeps the session alive, until the store says that it is over, or nothing for silence.
func (x *session) keep(ctx context.Context, heard time.Time) {
	defer close(x.done)
	ticker := x.store.clock.NewTicker(x.ttl / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return
		}
		asked := x.store.clock.Now()
		left := silence*x.ttl - asked.Sub(heard)
		if left <= 0 {
			return
		}
		err := x.keepOnce(ctx, min(left, x.ttl/3))
		switch {
		case err == nil:
			heard = asked
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		}
	}
}

func (x *session) keepOnce(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := ask(ctx, x.store, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseKeepAliveResponse, error) {
		return c.KeepAliveOnce(ctx, x.id)
	})
	return err
}

// close ends the session, in the store too if that answers.
func (x *session) close() {
	x.stop()
	<-x.done
	ctx, cancel := x.store.bounded(context.Background())
	defer cancel()
	_, _ = ask(ctx, x.store, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
		return c.Revoke(ctx, x.id)
	})
}
