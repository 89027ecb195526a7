package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// column of a table.
type column struct {
	name string
	// kind is the data type as information_schema has it.
	kind string
	// key is the place in the primary key, from 1; 0: not in it.
	key int
}

// Bounds implements store.Server. Keys are written as a JSON list of texts, in hexadecimal digits where they are binary.
func (s *Server) Bounds(ctx context.Context, table string, rows int, after string, parts int) ([]storage.Digest, bool, error) {
	d, err := s.digester(ctx, table, rows)
	if err != nil {
		return nil, false, err
	}
	behind, err := keyFrom(after, len(d.key))
	if err != nil {
		return nil, false, fmt.Errorf("where table %s is to be divided from: %w", table, err)
	}
	var bounds []storage.Digest
	for {
		one, last, err := d.bound(ctx, behind)
		if err != nil {
			return nil, false, s.explain(ctx, "dividing table "+table, err)
		}
		bounds = append(bounds, one)
		if last || len(bounds) == parts {
			return bounds, last, nil
		}
		if behind, err = keyFrom(one.To, len(d.key)); err != nil {
			return nil, false, fmt.Errorf("bound %d of table %s: %w", len(bounds), table, err)
		}
	}
}

// Digests implements store.Server. A part is read by one statement, so it is a consistent view of its rows, and
// nobody waits.
func (s *Server) Digests(ctx context.Context, table string, rows int, bounds []storage.Digest, only []int) ([]storage.Digest, error) {
	d, err := s.digester(ctx, table, rows)
	if err != nil {
		return nil, err
	}
	if len(bounds) == 0 {
		only = nil
		if bounds, _, err = s.Bounds(ctx, table, rows, "", 0); err != nil {
			return nil, err
		}
	}
	digests := make([]storage.Digest, 0, len(bounds))
	var after []string
	for part, bound := range bounds {
		digest := storage.Digest{From: bound.From, To: bound.To}
		to, err := keyFrom(digest.To, len(d.key))
		if err != nil {
			return nil, fmt.Errorf("bound %d of table %s: %w", part, table, err)
		}
		upTo := to
		if part == len(bounds)-1 {
			upTo = nil
		}
		if only == nil || listed(only, part) {
			if digest.Rows, digest.Sum, err = d.sum(ctx, after, upTo); err != nil {
				return nil, s.explain(ctx, "reading table "+table, err)
			}
		}
		digests = append(digests, digest)
		after = to
	}
	return digests, nil
}

// digester of a table, in parts of so many rows.
func (s *Server) digester(ctx context.Context, table string, rows int) (*digester, error) {
	if rows < 1 {
		return nil, fmt.Errorf("digests of table %s: parts of %d rows are asked for, want at least 1", table, rows)
	}
	spoken, err := s.dialect(ctx)
	if err != nil {
		return nil, err
	}
	columns, err := s.columns(ctx, table)
	if err != nil {
		return nil, err
	}
	d := &digester{pool: s.plain, hash: spoken.hash, table: tableIdentifier(table), rows: rows, columns: columns, key: keyOf(columns)}
	if err := d.check(table); err != nil {
		return nil, err
	}
	return d, nil
}

// listed tells whether a part is one of those that are asked for, in ascending order.
func listed(only []int, part int) bool {
	_, found := slices.BinarySearch(only, part)
	return found
}

// columns of a table by name: their order differs between servers.
func (s *Server) columns(ctx context.Context, table string) ([]column, error) {
	schema, name, ok := strings.Cut(table, ".")
	if !ok {
		return nil, fmt.Errorf("table %q is not schema.table", table)
	}
	var columns []column
	err := s.plain.each(ctx, "SELECT c.column_name, c.data_type, COALESCE(k.ordinal_position, 0) FROM information_schema.columns c "+
		"LEFT JOIN information_schema.key_column_usage k ON k.table_schema = ? AND k.table_name = ? "+
		"AND k.column_name = c.column_name AND k.constraint_name = 'PRIMARY' "+
		"WHERE c.table_schema = ? AND c.table_name = ?", []any{schema, name, schema, name}, func(scan func(...any) error) error {
		var one column
		err := scan(&one.name, &one.kind, &one.key)
		columns = append(columns, one)
		return err
	})
	slices.SortFunc(columns, func(a, b column) int { return strings.Compare(a.name, b.name) })
	if err == nil && len(columns) == 0 {
		err = fmt.Errorf("table %s does not exist", table)
	}
	return columns, s.explain(ctx, "reading the columns of table "+table, err)
}

// keyOf returns the columns of the primary key in its order.
func keyOf(columns []column) []column {
	var key []column
	for _, one := range columns {
		if one.key > 0 {
			key = append(key, one)
		}
	}
	slices.SortFunc(key, func(a, b column) int { return a.key - b.key })
	return key
}

// binary columns are written in hexadecimal digits.
func (c column) binary() bool {
	return strings.HasSuffix(c.kind, "blob") || strings.HasSuffix(c.kind, "binary") || c.kind == "bit" || c.kind == "geometry"
}

// text is an expression for a column's value that is the same on all servers.
func (c column) text() string {
	if c.binary() {
		return "HEX(" + identifier(c.name) + ")"
	}
	return "CAST(" + identifier(c.name) + " AS CHAR CHARACTER SET utf8mb4)"
}

// value is what a row's sum has of a column. Lengths keep neighbours apart. What may be long goes in as a sum of
// its own: a text above max_allowed_packet would be NULL.
func (c column) value(hash func(string) string) string {
	if strings.HasSuffix(c.kind, "text") || strings.HasSuffix(c.kind, "blob") || c.kind == "json" {
		return "COALESCE(" + hash(identifier(c.name)) + ", '-')"
	}
	text := c.text()
	return "COALESCE(CONCAT(OCTET_LENGTH(" + text + "), ':', " + text + "), '-')"
}

// parameter takes a key's text back.
func (c column) parameter() string {
	if c.binary() {
		return "UNHEX(?)"
	}
	return "?"
}
