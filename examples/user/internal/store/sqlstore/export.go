package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
)

// exported has a table with its columns.
type exported struct{ table, columns string }

// What Export has: no verifiers, no sessions.
var (
	exportedMain = []exported{
		{"account", "phone, id, name, created_at"},
		{"entry", "id, transfer_id, phone, amount, created_at"},
		{"transfer", "payer, idempotency_key, id, payee, amount, created_at"},
		{"outbox", "seq, kind, record_key"},
		{"quarantine", "topic, part, record_offset, reason"},
	}
	exportedChanges = []exported{{"password", "phone, changed_at"}, {"profile", "phone, name, about, changed_at"}}
)

// Export calls row for each row that the region has, as each of its databases is at one moment.
func (s *Store) Export(ctx context.Context, row func(table string, columns map[string]any) error) error {
	main := exportedMain
	if s.changes.apart {
		if err := export(ctx, s.changes.read, s.changes.d, exportedChanges, row); err != nil {
			return err
		}
	} else {
		main = slices.Concat(main, exportedChanges)
	}
	return export(ctx, s.read, s.d, main, row)
}

func export(ctx context.Context, db *sql.DB, d dialect, tables []exported, row func(string, map[string]any) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: d.snapshot, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("beginning to export: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	for _, e := range tables {
		if err := exportTable(ctx, tx, e.table, e.columns, row); err != nil {
			return fmt.Errorf("exporting table %s: %w", e.table, err)
		}
	}
	return nil
}

func exportTable(ctx context.Context, tx *sql.Tx, table, columns string, row func(string, map[string]any) error) (err error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+columns+" FROM "+table+" ORDER BY 1, 2") //nolint:gosec // both are constants
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		out := map[string]any{}
		for i, name := range names {
			if text, ok := values[i].([]byte); ok {
				values[i] = string(text)
			}
			out[name] = values[i]
		}
		if err := row(table, out); err != nil {
			return err
		}
	}
	return rows.Err()
}
