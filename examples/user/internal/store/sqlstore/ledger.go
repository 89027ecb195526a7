package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

const insertEntry = `INSERT INTO entry (id, transfer_id, phone, amount, created_at) VALUES (?, ?, ?, ?, ?)`

// Balance implements store.Ledger.
func (s *Store) Balance(ctx context.Context, phone string) (int64, error) {
	var sum int64
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT COALESCE(SUM(amount), 0) FROM entry WHERE phone = a.phone)
		FROM account a WHERE a.phone = ?`, phone).Scan(&sum)
	if err != nil {
		return 0, readError("reading the balance", err)
	}
	return sum, nil
}

// Transfer implements store.Ledger. The lock on the payer's account row makes
// the payer's transfers follow each other; the payee's row is only read, so
// two users who pay each other cannot deadlock.
func (s *Store) Transfer(ctx context.Context, tok *user.Token, t user.Transfer) (user.Transfer, error) {
	booked := t
	err := s.home(ctx, tok, func(tx *sql.Tx) error {
		if err := lockPayer(ctx, tx, s.d.forUpdate, t.From); err != nil {
			return err
		}
		before, found, err := earlier(ctx, tx, t)
		if err != nil {
			return err
		}
		if found {
			booked = before
			return nil
		}
		if err := covered(ctx, tx, t); err != nil {
			return err
		}
		return book(ctx, tx, t)
	})
	if err != nil {
		return user.Transfer{}, err
	}
	return booked, nil
}

func lockPayer(ctx context.Context, tx *sql.Tx, forUpdate, phone string) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM account WHERE phone = ?`+forUpdate, phone).Scan(&one)
	if err != nil {
		return readError("locking the payer", err)
	}
	return nil
}

// earlier finds what was booked under the same idempotency key.
func earlier(ctx context.Context, tx *sql.Tx, t user.Transfer) (user.Transfer, bool, error) {
	before := user.Transfer{From: t.From, IdempotencyKey: t.IdempotencyKey}
	var created int64
	err := tx.QueryRowContext(ctx, `SELECT id, payee, amount, created_at FROM transfer
		WHERE payer = ? AND idempotency_key = ?`, t.From, t.IdempotencyKey).
		Scan(&before.ID, &before.To, &before.Amount, &created)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if before, err = elsewhere(ctx, tx, t); err != nil || before.ID == "" {
			return user.Transfer{}, false, err
		}
	case err != nil:
		return user.Transfer{}, false, fmt.Errorf("looking for the idempotency key: %w", err)
	default:
		before.CreatedAt = fromMicros(created)
	}
	if before.To != t.To || before.Amount != t.Amount {
		return user.Transfer{}, false, user.ErrIdempotencyReuse
	}
	return before, true, nil
}

// elsewhere finds what another region has booked under the same idempotency
// key while the payer was its own: it has sent the entries. The ID is empty
// when there are none.
func elsewhere(ctx context.Context, tx *sql.Tx, t user.Transfer) (user.Transfer, error) {
	before := user.Transfer{From: t.From, IdempotencyKey: t.IdempotencyKey}
	entries := t.Entries()
	var debit, created int64
	err := tx.QueryRowContext(ctx, `SELECT d.transfer_id, d.amount, d.created_at, COALESCE(c.phone, ?)
		FROM entry d LEFT JOIN entry c ON c.id = ? WHERE d.id = ?`, t.To, entries[1].ID, entries[0].ID).
		Scan(&before.ID, &debit, &created, &before.To)
	if errors.Is(err, sql.ErrNoRows) {
		return user.Transfer{}, nil
	}
	if err != nil {
		return user.Transfer{}, fmt.Errorf("looking for the entries of the idempotency key: %w", err)
	}
	before.Amount, before.CreatedAt = -debit, fromMicros(created)
	return before, nil
}

// covered checks that the payee exists and the payer can pay.
func covered(ctx context.Context, tx *sql.Tx, t user.Transfer) error {
	found, err := exists(ctx, tx, t.To)
	if err != nil {
		return err
	}
	if !found {
		return user.ErrPayeeUnknown
	}
	var balance int64
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(amount), 0) FROM entry WHERE phone = ?`, t.From).Scan(&balance)
	if err != nil {
		return fmt.Errorf("reading the payer's balance: %w", err)
	}
	if balance < t.Amount {
		return user.ErrInsufficientFunds
	}
	return nil
}

func book(ctx context.Context, tx *sql.Tx, t user.Transfer) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO transfer (payer, idempotency_key, id, payee, amount, created_at)
		VALUES (?, ?, ?, ?, ?, ?)`, t.From, t.IdempotencyKey, t.ID, t.To, t.Amount, micros(t.CreatedAt))
	if err != nil {
		return fmt.Errorf("booking the transfer: %w", err)
	}
	for _, e := range t.Entries() {
		if err := addEntry(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// addEntry adds a line to the ledger and queues it for other regions.
func addEntry(ctx context.Context, tx *sql.Tx, e user.Entry) error {
	if _, err := tx.ExecContext(ctx, insertEntry, e.ID, e.TransferID, e.Phone, e.Amount, micros(e.CreatedAt)); err != nil {
		return fmt.Errorf("adding to the ledger: %w", err)
	}
	return enqueue(ctx, tx, store.KindLedger, e.Phone, e)
}
