package sqlstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// Sessions keeps logins in the embedded store, so that the playground needs no
// Redis. Only a hash of the token is stored.
type Sessions struct {
	s   *Store
	now func() time.Time
}

var _ store.Sessions = (*Sessions)(nil)

// NewSessions returns sessions in an embedded store; closing them leaves the
// store open.
func NewSessions(s *Store, now func() time.Time) *Sessions { return &Sessions{s: s, now: now} }

// Put implements store.Sessions, and forgets what has expired.
func (k *Sessions) Put(ctx context.Context, token string, v user.Session) error {
	if _, err := k.s.write.ExecContext(ctx, `DELETE FROM session WHERE expires_at <= ?`, micros(k.now())); err != nil {
		return fmt.Errorf("forgetting expired sessions: %w", err)
	}
	_, err := k.s.write.ExecContext(ctx, `REPLACE INTO session (token_hash, phone, account_id, expires_at)
		VALUES (?, ?, ?, ?)`, hash(token), v.Phone, v.AccountID, micros(v.ExpiresAt))
	if err != nil {
		return fmt.Errorf("keeping the session: %w", err)
	}
	return nil
}

// Get implements store.Sessions.
func (k *Sessions) Get(ctx context.Context, token string) (user.Session, error) {
	var v user.Session
	var expires int64
	err := k.s.read.QueryRowContext(ctx, `SELECT phone, account_id, expires_at FROM session
		WHERE token_hash = ? AND expires_at > ?`, hash(token), micros(k.now())).
		Scan(&v.Phone, &v.AccountID, &expires)
	if err != nil {
		return user.Session{}, readError("reading the session", err)
	}
	v.ExpiresAt = fromMicros(expires)
	return v, nil
}

// Delete implements store.Sessions.
func (k *Sessions) Delete(ctx context.Context, token string) error {
	if _, err := k.s.write.ExecContext(ctx, `DELETE FROM session WHERE token_hash = ?`, hash(token)); err != nil {
		return fmt.Errorf("forgetting the session: %w", err)
	}
	return nil
}

// Ping implements store.Sessions.
func (k *Sessions) Ping(ctx context.Context) error { return k.s.Ping(ctx) }

// Close implements store.Sessions. The store stays open.
func (k *Sessions) Close() error { return nil }

func hash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
