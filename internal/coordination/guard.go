package coordination

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// guard is one comparison of a guarded write (R1).
type guard struct {
	// name is one of the Guard constants.
	name string
	key  string
	cmp  clientv3.Cmp
	// holds repeats the comparison on the revisions at which the key was created and last written,
	// to say which guard failed. Both are 0 for a key that does not exist.
	holds func(created, modified int64) bool
}

// createdAt demands that the key is the one created at the revision.
func createdAt(name, key string, revision int64) guard {
	return guard{
		name: name, key: key, cmp: clientv3.Compare(clientv3.CreateRevision(key), "=", revision),
		holds: func(created, _ int64) bool { return created == revision },
	}
}

// writtenAt demands that the key was last written at the revision.
func writtenAt(name, key string, revision int64) guard {
	return guard{
		name: name, key: key, cmp: clientv3.Compare(clientv3.ModRevision(key), "=", revision),
		holds: func(_, modified int64) bool { return modified == revision },
	}
}

// unwrittenSince demands that the key was not written after the revision, so that it has the value
// which a configuration of that revision shows. Unlike a comparison of values it also refuses a
// value that came back, and is indifferent to how a newer version encodes it.
func unwrittenSince(name, key string, revision int64) guard {
	return guard{
		name: name, key: key, cmp: clientv3.Compare(clientv3.ModRevision(key), "<", revision+1),
		holds: func(_, modified int64) bool { return modified <= revision },
	}
}

// exists demands that the key is there.
func exists(name, key string) guard {
	return guard{
		name: name, key: key, cmp: clientv3.Compare(clientv3.CreateRevision(key), ">", 0),
		holds: func(created, _ int64) bool { return created > 0 },
	}
}

// put is one key to write.
type put struct {
	key   string
	value any
}

// write carries out the puts in one transaction if all guards hold, and returns the revision at
// which they are in the store. what names the write in errors.
func (s *Store) write(ctx context.Context, what string, guards []guard, puts ...put) (int64, error) {
	ops, err := s.encode(what, puts)
	if err != nil {
		return 0, err
	}
	return s.commit(ctx, what, guards, ops...)
}

// encode turns puts into the store's writes.
func (s *Store) encode(what string, puts []put) ([]clientv3.Op, error) {
	ops := make([]clientv3.Op, len(puts))
	for i, p := range puts {
		value, err := json.Marshal(p.value)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", what, err)
		}
		if dir, _ := split(strings.TrimPrefix(p.key, s.prefix)); checked(dir) {
			value = WithChecksum(value)
		}
		ops[i] = clientv3.OpPut(p.key, string(value))
	}
	return ops, nil
}

// writeChanged is write for a single key that leaves an equal value alone, so that repeating a
// proposal costs no revision.
func (s *Store) writeChanged(ctx context.Context, what string, guards []guard, p put) (int64, error) {
	value, err := json.Marshal(p.value)
	if err != nil {
		return 0, fmt.Errorf("encoding %s: %w", what, err)
	}
	return s.commit(ctx, what, guards, clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value(p.key), "=", string(value))},
		nil,
		[]clientv3.Op{clientv3.OpPut(p.key, string(value))},
	))
}

func (s *Store) commit(ctx context.Context, what string, guards []guard, ops ...clientv3.Op) (int64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	cmps := make([]clientv3.Cmp, len(guards))
	reads := make([]clientv3.Op, len(guards))
	for i, g := range guards {
		cmps[i] = g.cmp
		reads[i] = clientv3.OpGet(g.key, clientv3.WithKeysOnly())
	}
	before := s.Position()
	answer, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).If(cmps...).Then(ops...).Else(reads...).Commit()
	})
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", what, err)
	}
	seen := Position{ClusterID: answer.Header.GetClusterId(), Revision: answer.Header.GetRevision()}
	if err := s.accept(before, seen); err != nil {
		return 0, fmt.Errorf("writing %s: %w", what, err)
	}
	if answer.Succeeded {
		return seen.Revision, nil
	}
	refused := &GuardError{Write: what}
	for i, g := range guards {
		var created, modified int64
		for _, kv := range answer.Responses[i].GetResponseRange().GetKvs() {
			created, modified = kv.GetCreateRevision(), kv.GetModRevision()
		}
		if !g.holds(created, modified) {
			refused.Failed = append(refused.Failed, g.name)
			if modified == 0 {
				refused.Gone = append(refused.Gone, g.name)
			}
		}
	}
	return 0, refused
}
