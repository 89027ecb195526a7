package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// mostListed tables in one finding.
const mostListed = 10

// Everything on a server is replicated, so tables that nobody declared matter as well.
const keyless = "SELECT CONCAT(t.table_schema, '.', t.table_name) FROM information_schema.tables t LEFT JOIN " +
	"information_schema.table_constraints c ON c.table_schema = t.table_schema AND c.table_name = t.table_name " +
	"AND c.constraint_type = 'PRIMARY KEY' WHERE t.table_type = 'BASE TABLE' AND c.constraint_name IS NULL AND t.table_schema NOT IN " +
	"('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1"

// Names are constants in each question: servers open every table for those that are joined to them.
const (
	engineOf = "SELECT COALESCE(engine, '') FROM information_schema.tables WHERE table_schema = ? AND table_name = ?"
	keysOf   = "SELECT COALESCE(SUM(column_key = 'PRI'), 0), COALESCE(SUM(extra LIKE '%auto_increment%'), 0) " +
		"FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
)

// tableFindings looks at tables; generated tells whether a declared one has keys that the server generates.
func (s *Server) tableFindings(ctx context.Context, w storage.Want) (found []storage.Finding, generated bool, err error) {
	for _, table := range w.Tables {
		one, generates, err := s.tableFinding(ctx, w, table)
		if err != nil {
			return nil, false, s.explain(ctx, "looking at table "+table, err)
		}
		found = append(found, one...)
		generated = generated || generates
	}
	more, err := s.keylessFindings(ctx, w)
	return append(found, more...), generated, err
}

// tableFinding looks at a declared table.
func (s *Server) tableFinding(ctx context.Context, w storage.Want, table string) (found []storage.Finding, generated bool, err error) {
	schema, name, _ := strings.Cut(table, ".")
	var engine string
	var keys, generates int
	err = s.plain.row(ctx, engineOf, []any{schema, name}, &engine)
	if noRows(err) {
		return []storage.Finding{{
			Check:   table,
			Problem: fmt.Sprintf("Table %s does not exist, and a service declares it: create it in one region, or correct the declaration.", table),
		}}, false, nil
	}
	if err == nil {
		err = s.plain.row(ctx, keysOf, []any{schema, name}, &keys, &generates)
	}
	if err != nil {
		return nil, false, err
	}
	if !strings.EqualFold(engine, "InnoDB") {
		found = append(found, storage.Finding{
			Check: table, Blocks: true,
			Problem:   fmt.Sprintf("Table %s has the engine %s, and has to be InnoDB: a crash leaves changes half applied, and they are applied twice.", table, shown(engine)),
			Statement: "ALTER TABLE " + tableIdentifier(table) + " ENGINE = InnoDB",
		})
	}
	if keys == 0 {
		found = append(found, storage.Finding{
			Check: table, Blocks: w.Mesh,
			Problem: fmt.Sprintf("Table %s has no primary key: rows cannot be told apart on other servers, updates search the whole table, and "+
				"servers cannot be compared. Add one in one region.", table),
		})
	}
	return found, generates > 0, nil
}

// keylessFor how long what is known of tables without a primary key is good: to find them, a server opens them all.
const keylessFor = 10 * time.Minute

// keylessFindings looks for tables without a primary key that nobody declared.
func (s *Server) keylessFindings(ctx context.Context, w storage.Want) ([]storage.Finding, error) {
	s.mu.Lock()
	known, fresh := s.keyless, !s.keylessAt.IsZero() && since(s.keylessAt) < keylessFor
	s.mu.Unlock()
	if !fresh {
		known = nil
		err := s.plain.each(ctx, keyless, nil, func(scan func(...any) error) error {
			var table string
			err := scan(&table)
			known = append(known, table)
			return err
		})
		if err != nil {
			return nil, s.explain(ctx, "looking for tables without a primary key", err)
		}
		s.mu.Lock()
		s.keyless, s.keylessAt = known, now()
		s.mu.Unlock()
	}
	others := slices.DeleteFunc(slices.Clone(known), func(table string) bool { return slices.Contains(w.Tables, table) })
	if len(others) == 0 {
		return nil, nil
	}
	listed := strings.Join(others[:min(mostListed, len(others))], ", ")
	if more := len(others) - mostListed; more > 0 {
		listed += fmt.Sprintf(" and %d more", more)
	}
	return []storage.Finding{{
		Check: "primary keys", Problem: "Tables without a primary key are replicated as well, slowly and without a way to compare them: " + listed + ".",
	}}, nil
}
