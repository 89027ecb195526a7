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
	err := s.read.QueryRowContext(ctx, `SELECT a.id, a.name, COALESCE(p.verifier, a.verifier), a.created_at
		FROM account a LEFT JOIN password p ON p.phone = a.phone WHERE a.phone = ?`, phone).
		Scan(&a.ID, &a.Name, &a.Verifier, &created)
	if err != nil {
		return user.Account{}, readError("reading the account", err)
	}
	a.CreatedAt = fromMicros(created)
	return a, nil
}

// ChangePassword implements store.Accounts.
func (s *Store) ChangePassword(ctx context.Context, tok *user.Token, phone, verifier string, at time.Time) error {
	return s.change(ctx, tok, phone, `REPLACE INTO password (phone, verifier, changed_at) VALUES (?, ?, ?)`,
		phone, verifier, micros(at))
}

// Profile implements store.Accounts.
func (s *Store) Profile(ctx context.Context, phone string) (user.Profile, error) {
	p := user.Profile{Phone: phone}
	err := s.read.QueryRowContext(ctx, `SELECT COALESCE(p.name, a.name), COALESCE(p.about, '')
		FROM account a LEFT JOIN profile p ON p.phone = a.phone WHERE a.phone = ?`, phone).
		Scan(&p.Name, &p.About)
	if err != nil {
		return user.Profile{}, readError("reading the profile", err)
	}
	return p, nil
}

// SaveProfile implements store.Accounts.
func (s *Store) SaveProfile(ctx context.Context, tok *user.Token, p user.Profile, at time.Time) error {
	return s.change(ctx, tok, p.Phone, `REPLACE INTO profile (phone, name, about, changed_at) VALUES (?, ?, ?, ?)`,
		p.Phone, p.Name, p.About, micros(at))
}

// change runs one statement for an account that exists.
func (s *Store) change(ctx context.Context, tok *user.Token, phone, stmt string, args ...any) error {
	return s.home(ctx, tok, func(tx *sql.Tx) error {
		found, err := exists(ctx, tx, phone)
		if err != nil {
			return err
		}
		if !found {
			return user.ErrNotFound
		}
		if _, err := tx.ExecContext(ctx, stmt, args...); err != nil {
			return fmt.Errorf("changing the account: %w", err)
		}
		return nil
	})
}

func readError(doing string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return user.ErrNotFound
	}
	return fmt.Errorf("%s: %w", doing, err)
}
