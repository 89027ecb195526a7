// Package redisstore keeps sessions in Redis. It must never keep anything
// that cannot be made again: the region's Redis is not copied anywhere.
package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// Sessions implements store.Sessions. Only a hash of the token is a key.
type Sessions struct{ c *redis.Client }

var _ store.Sessions = (*Sessions)(nil)

// Open returns sessions in the Redis at addr (host:port), with an empty
// password for none. It dials when first used; Ping tells whether it answers.
func Open(addr, password string) *Sessions {
	return &Sessions{c: redis.NewClient(&redis.Options{Addr: addr, Password: password})}
}

// Put implements store.Sessions.
func (k *Sessions) Put(ctx context.Context, token string, v user.Session) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the session: %w", err)
	}
	_, err = k.c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key(token), b, 0)
		p.PExpireAt(ctx, key(token), v.ExpiresAt)
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping the session: %w", err)
	}
	return nil
}

// Get implements store.Sessions.
func (k *Sessions) Get(ctx context.Context, token string) (user.Session, error) {
	b, err := k.c.Get(ctx, key(token)).Bytes()
	if errors.Is(err, redis.Nil) {
		return user.Session{}, user.ErrNotFound
	}
	if err != nil {
		return user.Session{}, fmt.Errorf("reading the session: %w", err)
	}
	var v user.Session
	if err := json.Unmarshal(b, &v); err != nil {
		return user.Session{}, fmt.Errorf("decoding the session: %w", err)
	}
	return v, nil
}

// Delete implements store.Sessions.
func (k *Sessions) Delete(ctx context.Context, token string) error {
	if err := k.c.Del(ctx, key(token)).Err(); err != nil {
		return fmt.Errorf("forgetting the session: %w", err)
	}
	return nil
}

// Ping implements store.Sessions.
func (k *Sessions) Ping(ctx context.Context) error {
	if err := k.c.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("asking Redis: %w", err)
	}
	return nil
}

// Close implements store.Sessions.
func (k *Sessions) Close() error { return k.c.Close() }

func key(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "session:" + hex.EncodeToString(sum[:])
}
