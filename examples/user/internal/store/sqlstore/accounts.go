package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

const insertAccount = `INSERT INTO account (phone, id, name, verifier, created_at) VALUES (?, ?, ?, ?, ?)`

// CreateAccount implements store.Accounts.
func (s *Store) CreateAccount(ctx context.Context, tok *user.Token, a user.Account, opening int64) error {
	return s.home(ctx, tok, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insertAccount, a.Phone, a.ID, a.Name, a.Verifier, micros(a.CreatedAt))
		if s.d.duplicate(err) {
			return user.ErrPhoneTaken
		}
		if err != nil {
			return fmt.Errorf("inserting the account: %w", err)
		}
		if err := enqueue(ctx, tx, store.KindAccount, a.Phone, a); err != nil {
			return err
		}
		if opening == 0 {
			return nil
		}
		return addEntry(ctx, tx, user.OpeningEntry(a, opening))
	})
}

// Account implements store.Accounts.
func (s *Store) Account(ctx context.Context, phone string) (user.Account, error) {
	a := user.Account{Phone: phone}
	var created int64
	err := s.read.QueryRowContext(ctx, `SELECT id, name, verifier, created_at FROM account WHERE phone = ?`, phone).
		Scan(&a.ID, &a.Name, &a.Verifier, &created)
	if err != nil {
		return user.Account{}, readError("reading the account", err)
	}
	err = s.changes.read.QueryRowContext(ctx, `SELECT verifier FROM password WHERE phone = ?`, phone).Scan(&a.Verifier)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return user.Account{}, fmt.Errorf("reading the new password: %w", err)
	}
	a.CreatedAt = fromMicros(created)
	return a, nil
}

// ChangePassword implements store.Accounts.
func (s *Store) ChangePassword(ctx context.Context, tok *user.Token, phone, verifier string, at time.Time) error {
	return s.change(ctx, tok, user.Change{Phone: phone, Verifier: verifier, At: at})
}

// Profile implements store.Accounts.
func (s *Store) Profile(ctx context.Context, phone string) (user.Profile, error) {
	p := user.Profile{Phone: phone}
	err := s.read.QueryRowContext(ctx, `SELECT name FROM account WHERE phone = ?`, phone).Scan(&p.Name)
	if err != nil {
		return user.Profile{}, readError("reading the profile", err)
	}
	err = s.changes.read.QueryRowContext(ctx, `SELECT name, about FROM profile WHERE phone = ?`, phone).Scan(&p.Name, &p.About)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return user.Profile{}, fmt.Errorf("reading the edited profile: %w", err)
	}
	return p, nil
}

// SaveProfile implements store.Accounts.
func (s *Store) SaveProfile(ctx context.Context, tok *user.Token, p user.Profile, at time.Time) error {
	return s.change(ctx, tok, user.Change{Phone: p.Phone, Name: p.Name, About: p.About, At: at})
}

// change makes a change of an account that exists, later than the one before it. Accounts are not deleted, so one that exists
// still does in the transaction.
func (s *Store) change(ctx context.Context, tok *user.Token, c user.Change) error {
	if _, err := s.Account(ctx, c.Phone); err != nil {
		return err
	}
	return inTx(ctx, s.changes.write, s.changes.d, func(tx *sql.Tx) error {
		if err := s.checkFence(ctx, tx, s.changes.d, tok); err != nil {
			return err
		}
		before, err := s.changedAt(ctx, tx, c)
		if err != nil {
			return err
		}
		c.At = fromMicros(max(micros(c.At), before+1))
		if err := put(ctx, tx, c); err != nil || s.changes.apart {
			return err
		}
		return enqueue(ctx, tx, store.KindChange, c.Phone, c)
	})
}

// ApplyChange implements store.Replica.
func (s *Store) ApplyChange(ctx context.Context, c user.Change) (store.Applied, error) {
	applied := store.Known
	err := inTx(ctx, s.changes.write, s.changes.d, func(tx *sql.Tx) error {
		before, err := s.changedAt(ctx, tx, c)
		if err != nil || before >= micros(c.At) {
			return err
		}
		applied = store.Inserted
		return put(ctx, tx, c)
	})
	return applied, err
}

// changedAt is when the password, or the profile, was changed last; 0 for never.
func (s *Store) changedAt(ctx context.Context, tx *sql.Tx, c user.Change) (int64, error) {
	query := `SELECT changed_at FROM password WHERE phone = ?`
	if c.Verifier == "" {
		query = `SELECT changed_at FROM profile WHERE phone = ?`
	}
	var at int64
	err := tx.QueryRowContext(ctx, query+s.changes.d.forUpdate, c.Phone).Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("looking for the last change: %w", err)
	}
	return at, nil
}

func put(ctx context.Context, tx *sql.Tx, c user.Change) (err error) {
	if c.Verifier != "" {
		_, err = tx.ExecContext(ctx, `REPLACE INTO password (phone, verifier, changed_at) VALUES (?, ?, ?)`, c.Phone, c.Verifier, micros(c.At))
	} else {
		_, err = tx.ExecContext(ctx, `REPLACE INTO profile (phone, name, about, changed_at) VALUES (?, ?, ?, ?)`, c.Phone, c.Name, c.About, micros(c.At))
	}
	if err != nil {
		return fmt.Errorf("changing the account: %w", err)
	}
	return nil
}

func readError(doing string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return user.ErrNotFound
	}
	return fmt.Errorf("%s: %w", doing, err)
}
