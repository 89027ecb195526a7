package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
)

// layout of a table, for statements about its rows.
type layout struct {
	table   table
	columns []keyColumn
	key     []string
}

// layouts are asked for once.
type layouts struct {
	server *Server
	known  map[table]*layout
}

func newLayouts(s *Server) *layouts { return &layouts{server: s, known: map[table]*layout{}} }

// of returns the layout of a table.
func (ls *layouts) of(ctx context.Context, t table) (*layout, error) {
	if l, ok := ls.known[t]; ok {
		return l, nil
	}
	l := &layout{table: t}
	var id uint32
	var fires bool
	err := ls.server.pool.QueryRow(ctx, `SELECT c.oid, EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('A', 'R'))
			OR EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_enabled IN ('A', 'R'))
		FROM pg_class c WHERE c.oid = to_regclass($1)`, t.quoted()).Scan(&id, &fires)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, unsettled("table %s is not there any more", t)
	case err != nil:
		return nil, err
	case fires:
		return nil, unsettled("table %s has triggers or rules that are carried out for replicated rows too (ENABLE ALWAYS, ENABLE REPLICA)", t)
	}
	rows, err := ls.server.pool.Query(ctx, `SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`, id)
	if err != nil {
		return nil, err
	}
	if l.columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (keyColumn, error) {
		var c keyColumn
		err := row.Scan(&c.name, &c.typ)
		return c, err
	}); err != nil {
		return nil, err
	}
	rows, err = ls.server.pool.Query(ctx, `SELECT a.attname FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE i.indrelid = $1 AND i.indisprimary ORDER BY k.place`, id)
	if err != nil {
		return nil, err
	}
	if l.key, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, err
	}
	if len(l.key) == 0 {
		return nil, unsettled("table %s has no primary key", t)
	}
	ls.known[t] = l
	return l, nil
}

// unsettled says what is not taken back.
func unsettled(format string, args ...any) error {
	return &store.UnsettledError{Why: fmt.Sprintf(format, args...) + ": what this region had not shipped is not taken back, and nothing of it arrives elsewhere; " +
		"without dataClasses.conflict all of it arrives as it is"}
}

// fits tells whether rows of the log have the table's columns.
func (l *layout) fits(columns []string) bool {
	return len(columns) == len(l.columns) && !slices.ContainsFunc(l.columns, func(c keyColumn) bool { return !slices.Contains(columns, c.name) })
}

// knows tells whether the table has all columns of a row.
func (l *layout) knows(r row) bool {
	for name := range r {
		if !slices.ContainsFunc(l.columns, func(c keyColumn) bool { return c.name == name }) {
			return false
		}
	}
	return true
}

// keyOf is the key of a row as people read it: {"id":"1"}.
func (l *layout) keyOf(r row) string {
	return encode(l.key, r)
}

func (l *layout) names() []string {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.name
	}
	return names
}

func (l *layout) where(r row) string {
	parts := make([]string, len(l.key))
	for i, name := range l.key {
		parts[i] = quote(name) + " = " + constant(r[name])
	}
	return " WHERE " + strings.Join(parts, " AND ")
}

func constant(value *string) string {
	if value == nil {
		return "NULL"
	}
	return literal(*value)
}

func (l *layout) delete(r row) string { return "DELETE FROM " + l.table.quoted() + l.where(r) }

func (l *layout) insert(r row) string {
	var names, values []string
	for _, name := range l.names() {
		if value, has := r[name]; has {
			names, values = append(names, quote(name)), append(values, constant(value))
		}
	}
	return "INSERT INTO " + l.table.quoted() + " (" + strings.Join(names, ", ") + ") OVERRIDING SYSTEM VALUE VALUES (" + strings.Join(values, ", ") + ")"
}

// look reads the row with the key of another, and holds it until the transaction ends; nil when there is none.
func (l *layout) look(ctx context.Context, tx pgx.Tx, of row) (row, error) {
	texts := make([]*string, len(l.columns))
	into := make([]any, len(l.columns))
	shown := make([]string, len(l.columns))
	for i, c := range l.columns {
		// A cast to text would cut the blanks of a char(n) off; a composite value IS NULL when its parts are.
		shown[i], into[i] = fmt.Sprintf("CASE WHEN num_nulls(%[1]s) = 0 THEN format('%%s', %[1]s) END", quote(c.name)), &texts[i]
	}
	err := tx.QueryRow(ctx, "SELECT "+strings.Join(shown, ", ")+" FROM "+l.table.quoted()+l.where(of)+" FOR UPDATE").Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := row{}
	for i, c := range l.columns {
		r[c.name] = texts[i]
	}
	return r, nil
}

// replace has a row be as given, on this server and on all others, whatever they have: what is only updated would not arrive where it is not.
func (l *layout) replace(ctx context.Context, tx pgx.Tx, was, is row) error {
	if was != nil {
		if _, err := tx.Exec(ctx, l.delete(was)); err != nil {
			return err
		}
	}
	if is == nil {
		return nil
	}
	_, err := tx.Exec(ctx, l.insert(is))
	return err
}

// same tells whether two rows are equal, as far as the other one has columns: some may have been added since.
func (r row) same(other row) bool {
	if r == nil || other == nil {
		return r == nil && other == nil
	}
	for name, value := range other {
		have, known := r[name]
		if !known || (have == nil) != (value == nil) || have != nil && *have != *value {
			return false
		}
	}
	return true
}

// with fills in what an update left as it was.
func (r row) with(was row) (row, bool) {
	if r == nil {
		return nil, true
	}
	filled := maps.Clone(r)
	for name, value := range filled {
		if value == unchanged {
			old, known := was[name]
			if !known || old == unchanged {
				return nil, false
			}
			filled[name] = old
		}
	}
	return filled, true
}

// encode writes columns of a row as a JSON object, in their order; "" for no row.
func encode(columns []string, r row) string {
	if r == nil {
		return ""
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for _, name := range columns {
		value, has := r[name]
		if !has {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		out.Write(jsonOf(name))
		out.WriteByte(':')
		out.Write(jsonOf(value))
	}
	out.WriteByte('}')
	return out.String()
}

func jsonOf(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // texts only
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// decode reads what encode wrote.
func decode(text string) (row, error) {
	if text == "" {
		return nil, nil
	}
	var r row
	err := json.Unmarshal([]byte(text), &r)
	return r, err
}

// sum of a row, whatever the order of its columns; none of no row.
func (r row) sum() []string {
	if r == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(encode(slices.Sorted(maps.Keys(r)), r)))
	return []string{hex.EncodeToString(sum[:])}
}

// shortKey of a row, for people.
func shortKey(key string) string {
	const longest = 128
	if len(key) <= longest {
		return key
	}
	return strings.ToValidUTF8(key[:longest], "") + "…"
}
