package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// Claim implements store.Outbox. A claim only spares the replicas of one
// region from publishing the same message; consumers accept repetitions.
func (s *Store) Claim(ctx context.Context, claimer string, now, until time.Time, limit int) ([]store.Message, error) {
	if waiting, err := s.outboxWaits(ctx); err != nil || !waiting {
		return nil, err
	}
	var claimed []store.Message
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		// The derived table is for MariaDB, which allows no LIMIT directly inside IN.
		_, err := tx.ExecContext(ctx, `UPDATE outbox SET claimer = ?, claimed_until = ? WHERE seq IN (
			SELECT seq FROM (SELECT seq FROM outbox WHERE claimer = ? OR claimed_until < ?
			ORDER BY seq LIMIT ?) AS oldest)`, claimer, micros(until), claimer, micros(now), limit)
		if err != nil {
			return fmt.Errorf("claiming messages: %w", err)
		}
		claimed, err = s.claimed(ctx, tx, claimer, limit)
		return err
	})
	return claimed, err
}

// outboxWaits spares an empty outbox, the usual case, a write transaction.
func (s *Store) outboxWaits(ctx context.Context) (bool, error) {
	var one int
	err := s.read.QueryRowContext(ctx, `SELECT 1 FROM outbox LIMIT 1`).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking into the outbox: %w", err)
	}
	return true, nil
}

func (s *Store) claimed(ctx context.Context, tx *sql.Tx, claimer string, limit int) (out []store.Message, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT seq, kind, record_key, value FROM outbox WHERE claimer = ?
		ORDER BY seq LIMIT ?`, claimer, limit)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m store.Message
		if err := rows.Scan(&m.Seq, &m.Kind, &m.Key, &m.Value); err != nil {
			return nil, fmt.Errorf("reading a message: %w", err)
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// Done implements store.Outbox.
func (s *Store) Done(ctx context.Context, seqs []int64) error {
	for batch := range slices.Chunk(seqs, 200) {
		marks := strings.TrimSuffix(strings.Repeat("?,", len(batch)), ",")
		args := make([]any, len(batch))
		for i, seq := range batch {
			args[i] = seq
		}
		stmt := `DELETE FROM outbox WHERE seq IN (` + marks + `)` //nolint:gosec // only question marks are added
		if _, err := s.write.ExecContext(ctx, stmt, args...); err != nil {
			return fmt.Errorf("removing published messages: %w", err)
		}
	}
	return nil
}

// ApplyAccount implements store.Replica.
func (s *Store) ApplyAccount(ctx context.Context, a user.Account) (store.Applied, error) {
	_, err := s.write.ExecContext(ctx, insertAccount, a.Phone, a.ID, a.Name, a.Verifier, micros(a.CreatedAt))
	if err == nil {
		return store.Inserted, nil
	}
	if !s.d.duplicate(err) {
		return "", fmt.Errorf("inserting an account from the queue: %w", err)
	}
	here, err := s.Account(ctx, a.Phone)
	if err != nil {
		return "", err
	}
	if here.ID != a.ID {
		return store.Conflict, nil
	}
	return store.Known, nil
}

// ApplyEntry implements store.Replica.
func (s *Store) ApplyEntry(ctx context.Context, e user.Entry) (store.Applied, error) {
	_, err := s.write.ExecContext(ctx, insertEntry, e.ID, e.TransferID, e.Phone, e.Amount, micros(e.CreatedAt))
	if err == nil {
		return store.Inserted, nil
	}
	if !s.d.duplicate(err) {
		return "", fmt.Errorf("inserting an entry from the queue: %w", err)
	}
	var phone string
	var amount int64
	err = s.read.QueryRowContext(ctx, `SELECT phone, amount FROM entry WHERE id = ?`, e.ID).Scan(&phone, &amount)
	if err != nil {
		return "", readError("reading the entry", err)
	}
	if phone != e.Phone || amount != e.Amount {
		return store.Conflict, nil
	}
	return store.Known, nil
}

// Reject implements store.Replica.
func (s *Store) Reject(ctx context.Context, r store.Rejected) error {
	_, err := s.write.ExecContext(ctx, `REPLACE INTO quarantine (topic, part, record_offset, reason, value)
		VALUES (?, ?, ?, ?, ?)`, r.Topic, r.Partition, r.Offset, r.Reason, r.Value)
	if err != nil {
		return fmt.Errorf("keeping a record aside: %w", err)
	}
	return nil
}

// Rejects implements store.Replica.
func (s *Store) Rejects(ctx context.Context, limit int) (out []store.Rejected, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT topic, part, record_offset, reason, value FROM quarantine
		ORDER BY topic, part, record_offset LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("listing records kept aside: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r store.Rejected
		if err := rows.Scan(&r.Topic, &r.Partition, &r.Offset, &r.Reason, &r.Value); err != nil {
			return nil, fmt.Errorf("reading a record kept aside: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
