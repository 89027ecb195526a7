package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// longestKey that is told of, in bytes.
const longestKey = 256

// keysSQL returns the primary key of a table, and of a unique constraint or index of it, the names of their columns and their types.
// Indexes of expressions, and of a part of the rows, say nothing that could be looked for.
const keysSQL = `SELECT i.indisprimary, c.relname = $2,
	array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k(n, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
		WHERE k.place <= i.indnkeyatts ORDER BY k.place),
	array(SELECT format_type(a.atttypid, a.atttypmod) FROM unnest(i.indkey) WITH ORDINALITY k(n, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
		WHERE k.place <= i.indnkeyatts ORDER BY k.place)
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND (i.indisprimary OR c.relname = $2)`

// tableKey is a primary key, or another unique one.
type tableKey struct {
	primary, violated bool
	columns, types    []string
}

// inTheWay returns the primary key of the row here that keeps a change from being applied, such as (id)=(4); "" where that cannot be
// told. A key of other columns, which the log quotes, is never told itself: it may be a user's address.
func (s *Server) inTheWay(ctx context.Context, said *workerError) string {
	if said.constraint == "" || said.values == "" || said.table == "" {
		return ""
	}
	rows, err := s.pool.Query(ctx, keysSQL, parseTable(said.table).quoted(), said.constraint)
	if err != nil {
		return ""
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (tableKey, error) {
		var k tableKey
		err := row.Scan(&k.primary, &k.violated, &k.columns, &k.types)
		return k, err
	})
	violated := slices.IndexFunc(keys, func(k tableKey) bool { return k.violated })
	primary := slices.IndexFunc(keys, func(k tableKey) bool { return k.primary })
	if err != nil || violated < 0 || primary < 0 {
		return ""
	}
	if violated == primary {
		return shownKey(keys[primary].columns, said.values)
	}
	values := []string{said.values}
	if len(keys[violated].columns) > 1 {
		values = strings.Split(said.values, ", ")
	}
	if len(values) != len(keys[violated].columns) {
		return "" // one of them has a comma in it
	}
	found, err := s.primaryOf(ctx, parseTable(said.table), keys[primary], keys[violated], values)
	if err != nil {
		return ""
	}
	return shownKey(keys[primary].columns, strings.Join(found, ", "))
}

// primaryOf reads the primary key of the row with these values of another key.
func (s *Server) primaryOf(ctx context.Context, t table, primary, by tableKey, values []string) ([]string, error) {
	var selected, conditions []string
	for _, column := range primary.columns {
		selected = append(selected, quote(column)+"::text")
	}
	args := []any{}
	for i, column := range by.columns {
		conditions = append(conditions, fmt.Sprintf("%s = $%d::text::%s", quote(column), i+1, by.types[i]))
		args = append(args, values[i])
	}
	var found []string
	query := "SELECT ARRAY[" + strings.Join(selected, ", ") + "] FROM " + t.quoted() + " WHERE " + strings.Join(conditions, " AND ")
	err := s.pool.QueryRow(ctx, query, args...).Scan(&found)
	return found, err
}

// shownKey is a key as the server writes it, "" where it is too long to be told.
func shownKey(columns []string, values string) string {
	text := "(" + strings.Join(columns, ", ") + ")=(" + values + ")"
	if len(text) > longestKey {
		return ""
	}
	return text
}
