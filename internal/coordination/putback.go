package coordination

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// PutBack undoes what was done to a key of what was agreed on: it writes the value, or deletes the key when
// that is nil. It is refused when anybody has written the key since from, in which it is damaged.
func (t *Term) PutBack(ctx context.Context, from ownership.Configuration, key string, value any) (int64, error) {
	whole := t.store.prefix + key
	guards := t.guards(unwrittenSince(GuardRecord, whole, from.Revision))
	if value == nil {
		return t.store.commit(ctx, key, guards, clientv3.OpDelete(whole))
	}
	return t.store.write(ctx, key, guards, put{whole, value})
}
