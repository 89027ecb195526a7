// Package sqlstore implements package store in SQL, for MariaDB (and MySQL)
// and for SQLite embedded in the process. Every write that a user can see is
// one transaction; the fence row, where configured, is read in it and locked
// until it ends. It must never log values: they are personal data.
package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// Store is a SQL store. Open it with OpenMariaDB or OpenEmbedded.
type Store struct {
	write, read *sql.DB
	d           dialect
	o           Options
	changes     changes
}

// changes are where new passwords and profiles are.
type changes struct {
	write, read *sql.DB
	d           dialect
	// apart: it is a database of its own, which replicates.
	apart bool
}

var _ store.Store = (*Store)(nil)

// attempts bounds how often a transaction is tried that lost a deadlock or a lock wait.
const attempts = 4

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	for _, db := range []*sql.DB{s.read, s.changes.read} {
		var one int
		if err := db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
			return fmt.Errorf("asking the database: %w", err)
		}
	}
	return nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	if s.changes.apart {
		err = errors.Join(err, s.changes.write.Close())
	}
	return err
}

// inTx runs fn in a write transaction and commits when it returns nil.
func (s *Store) inTx(ctx context.Context, fn func(*sql.Tx) error) error {
	return inTx(ctx, s.write, s.d, fn)
}

func inTx(ctx context.Context, db *sql.DB, d dialect, fn func(*sql.Tx) error) error {
	var err error
	for range attempts {
		if err = tryTx(ctx, db, d, fn); err == nil || !d.transient(err) {
			return err
		}
	}
	return err
}

func tryTx(ctx context.Context, db *sql.DB, d dialect, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: d.isolation})
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := fn(tx); err != nil {
		// A failed rollback ends with the connection; the first error matters.
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// home runs fn in a transaction that the fence admits. The fence row stays
// share-locked until the end, so that whoever closes it waits for fn.
func (s *Store) home(ctx context.Context, tok *user.Token, fn func(*sql.Tx) error) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		if s.changes.apart {
			return fn(tx) // the fences are where the operator replicates
		}
		if err := s.checkFence(ctx, tx, s.d, tok); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (s *Store) checkFence(ctx context.Context, tx *sql.Tx, d dialect, tok *user.Token) error {
	if s.o.FenceService == "" {
		return nil
	}
	if tok == nil {
		return fmt.Errorf("%w: the request has no fencing token", user.ErrFenced)
	}
	var owner string
	var epoch int64
	var leased bool
	err := tx.QueryRowContext(ctx, d.guard, s.o.FenceService, tok.Slot).Scan(&owner, &epoch, &leased)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: no fence covers slot %d", user.ErrFenced, tok.Slot)
	case err != nil:
		return fmt.Errorf("reading the fence: %w", err)
	case owner == "":
		return fmt.Errorf("%w: slot %d is closed", user.ErrFenced, tok.Slot)
	case owner != tok.Owner || epoch > tok.Epoch:
		return fmt.Errorf("%w: slot %d belongs to %s since epoch %d, the request says %s at epoch %d",
			user.ErrFenced, tok.Slot, owner, epoch, tok.Owner, tok.Epoch)
	case !leased:
		return fmt.Errorf("%w: the lease of %s has run out", user.ErrFenced, owner)
	}
	return nil
}

// enqueue adds a message to the outbox in the transaction of what it tells.
func enqueue(ctx context.Context, tx *sql.Tx, kind store.Kind, key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (kind, record_key, value) VALUES (?, ?, ?)`, string(kind), key, b)
	if err != nil {
		return fmt.Errorf("adding to the outbox: %w", err)
	}
	return nil
}

func exists(ctx context.Context, tx *sql.Tx, phone string) (bool, error) {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM account WHERE phone = ?`, phone).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for an account: %w", err)
	}
	return true, nil
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
