package sqlstore

import (
	"context"
	"database/sql"

	"multiactive.dev/operator/examples/user/internal/user"
)

// HoldFenceForTest begins a home write that the fence admits, and returns
// what ends it.
func (s *Store) HoldFenceForTest(ctx context.Context, tok *user.Token) (func() error, error) {
	tx, err := s.write.BeginTx(ctx, &sql.TxOptions{Isolation: s.d.isolation})
	if err != nil {
		return nil, err
	}
	if err := s.checkFence(ctx, tx, s.d, tok); err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return tx.Rollback, nil
}
