package coordination

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// PutBack undoes what was done to a key of what was agreed on: it writes the value, or deletes the key when
// that is nil. It is refused when anybody has written the key since from, in which it is damaged.
func (t *Term) PutBack(ctx context.Context, from ownership.Configuration, key string, value any) (int64, error) {
	whole := t.store.prefix + key
	op := clientv3.OpDelete(whole)
	if value != nil {
		encoded, err := json.Marshal(value)
		if err != nil {
			return 0, fmt.Errorf("encoding %s: %w", key, err)
		}
		op = clientv3.OpPut(whole, string(encoded))
	}
	return t.store.commit(ctx, key, t.guards(unwrittenSince(GuardRecord, whole, from.Revision)), op)
}
