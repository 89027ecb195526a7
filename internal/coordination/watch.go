package coordination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// Read returns the whole configuration by a linearizable read. What is damaged in it is said in Damage.
func (s *Store) Read(ctx context.Context) (ownership.Configuration, error) {
	f, revision, err := s.readAll(ctx)
	if err != nil {
		return ownership.Configuration{}, err
	}
	return f.at(revision), nil
}

// Watch calls deliver with complete configurations in order of revision: first the result of a
// linearizable read, then one per revision that changed anything. It starts over by itself when
// the store has compacted what it had not delivered yet, when the member that it watches is lost, and
// when it stalls; no call ever has a lower revision than an earlier one. It returns when ctx ends or the
// store does not answer; the caller calls it again. deliver must not block.
func (s *Store) Watch(ctx context.Context, deliver func(ownership.Configuration)) error {
	for {
		err := s.watchOnce(ctx, deliver)
		again := errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errMemberLost) || errors.Is(err, errStalled)
		if !again || ctx.Err() != nil {
			return err
		}
	}
}

// errMemberLost ends a watch whose member does not answer any more.
var errMemberLost = errors.New("the member that is watched is lost")

func (s *Store) watchOnce(ctx context.Context, deliver func(ownership.Configuration)) error {
	f, revision, err := s.readAll(ctx)
	if err != nil {
		return err
	}
	p, deliver := s.pulsed(deliver)
	deliver(f.at(revision))

	ctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	defer cancel(nil)
	member := s.members.pick()
	client, lost := member.watched()
	go s.endStalled(ctx, p, cancel)
	go func() {
		select {
		case <-lost:
			cancel(errMemberLost)
		case <-ctx.Done():
		}
	}()
	for answer := range client.Watch(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
		if err := answer.Err(); err != nil {
			return fmt.Errorf("watching the coordination store: %w", err)
		}
		if err := s.sameCluster(answer.Header.GetClusterId()); err != nil {
			return fmt.Errorf("watching the coordination store: %w", err)
		}
		s.applyEvents(f, answer.Events, deliver)
	}
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, errStalled) {
			s.members.doubt(member)
		}
		return fmt.Errorf("watching the coordination store: %w", err)
	}
	return errors.New("watching the coordination store: the watch ended")
}

// applyEvents folds the events of one answer, which holds whole revisions in order.
func (s *Store) applyEvents(f *fold, events []*clientv3.Event, deliver func(ownership.Configuration)) {
	for i, e := range events {
		f.apply(e.Kv, e.Type == clientv3.EventTypeDelete)
		if last := i == len(events)-1; last || events[i+1].Kv.GetModRevision() != e.Kv.GetModRevision() {
			revision := e.Kv.GetModRevision()
			s.mu.Lock()
			s.known.Revision = max(s.known.Revision, revision)
			s.mu.Unlock()
			deliver(f.at(revision))
		}
	}
}

// sameCluster refuses what a watch says of another store, or of one that was restored under its old
// identity: such a watch goes on in the middle of another history.
func (s *Store) sameCluster(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.judge(s.known, Position{ClusterID: id, Revision: s.known.Revision})
	if err == nil {
		return nil
	}
	s.refused = err
	return err
}

// readAll reads everything below the prefix at one revision.
func (s *Store) readAll(ctx context.Context) (*fold, int64, error) {
	answer, seen, err := s.get(ctx, s.prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("reading the coordination store: %w", err)
	}
	f := newFold(s.prefix, seen.ClusterID)
	for _, kv := range answer.Kvs {
		f.apply(kv, false)
	}
	// What was deleted before this read leaves no revision behind.
	f.conf.Decided = seen.Revision
	return f, seen.Revision, nil
}

// read reads one key by a linearizable read. It returns at which revision the key was last written, 0: it is
// not there, and whether it can be read: what cannot is not there, as in a configuration.
func (s *Store) read(ctx context.Context, key string, into any) (written int64, there bool, err error) {
	answer, _, err := s.get(ctx, key)
	if err != nil {
		return 0, false, fmt.Errorf("reading %s: %w", key, err)
	}
	if len(answer.Kvs) == 0 {
		return 0, false, nil
	}
	return answer.Kvs[0].ModRevision, json.Unmarshal(answer.Kvs[0].Value, into) == nil, nil
}

// get reads by one linearizable read of bounded time, and says at which position. An answer of another store, or
// of an earlier state of this one, is refused (R2).
func (s *Store) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, Position, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	before := s.Position()
	answer, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
		return c.Get(ctx, key, options...)
	})
	if err != nil {
		return nil, Position{}, err
	}
	seen := Position{ClusterID: answer.Header.GetClusterId(), Revision: answer.Header.GetRevision()}
	if err := s.accept(before, seen); err != nil {
		return nil, Position{}, err
	}
	return answer, seen, nil
}
