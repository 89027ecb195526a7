package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// Rows are compared as texts, so everything that decides how a value is written is fixed.
var digestSettings = []string{
	"timezone = 'UTC'", "datestyle = 'ISO, YMD'", "intervalstyle = 'iso_8601'", "extra_float_digits = 1",
	"bytea_output = 'hex'", "xmlbinary = 'base64'", "lc_monetary = 'C'",
}

// keyColumn is a column of a table's primary key.
type keyColumn struct{ name, typ string }

// digester asks for digests of one table.
type digester struct {
	tx   pgx.Tx
	from string
	key  []keyColumn
	// row is the text of a row: its columns in the order of their names, as tables need not have them in one order.
	row string
}

// Bounds implements store.Server. Texts are ordered as in the C locale; a key of another collation is read without its index.
func (s *Server) Bounds(ctx context.Context, declared string, rows int, after string, parts int) (bounds []storage.Digest, end bool, err error) {
	err = s.digest(ctx, declared, rows, func(ctx context.Context, d *digester) (err error) {
		var behind []string
		if after != "" {
			if behind, err = d.decodeKey(after); err != nil {
				return err
			}
		}
		bounds, end, err = d.bounds(ctx, rows, behind, parts)
		return err
	})
	return bounds, end, err
}

// Digests implements store.Server. No row is left out, whatever was written since the bounds were chosen.
func (s *Server) Digests(ctx context.Context, declared string, rows int, bounds []storage.Digest, only []int) ([]storage.Digest, error) {
	var digests []storage.Digest
	err := s.digest(ctx, declared, rows, func(ctx context.Context, d *digester) (err error) {
		if bounds == nil {
			only = nil
			if bounds, _, err = d.bounds(ctx, rows, nil, 0); err != nil {
				return err
			}
		}
		digests, err = d.digests(ctx, bounds, only)
		return err
	})
	return digests, err
}

// digest reads a table in one transaction, so that all is asked with the same settings.
func (s *Server) digest(ctx context.Context, declared string, rows int, do func(context.Context, *digester) error) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	if rows < 1 {
		return fmt.Errorf("computing digests of table %s: parts of %d rows are none; give at least 1", declared, rows)
	}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		d, err := newDigester(ctx, tx, parseTable(declared))
		if err != nil {
			return err
		}
		return do(ctx, d)
	})
	return s.explain("computing digests of table "+declared, err)
}

func newDigester(ctx context.Context, tx pgx.Tx, t table) (*digester, error) {
	for _, setting := range digestSettings {
		if _, err := tx.Exec(ctx, "SET LOCAL "+setting); err != nil {
			return nil, err
		}
	}
	rows, err := tx.Query(ctx, `SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_index i
		JOIN unnest(i.indkey) WITH ORDINALITY AS k(number, place) ON true JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
		WHERE i.indrelid = to_regclass($1) AND i.indisprimary ORDER BY k.place`, t.quoted())
	if err != nil {
		return nil, err
	}
	d := &digester{tx: tx, from: t.quoted()}
	d.key, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (keyColumn, error) {
		var k keyColumn
		err := row.Scan(&k.name, &k.typ)
		return k, err
	})
	if err != nil {
		return nil, err
	}
	if len(d.key) == 0 {
		return nil, errors.New("there is no such table, or it has no primary key")
	}
	var columns []string
	if err := tx.QueryRow(ctx, `SELECT array_agg(attname::text ORDER BY attname::text COLLATE "C") FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, t.quoted()).Scan(&columns); err != nil {
		return nil, err
	}
	for i, column := range columns {
		columns[i] = quote(column)
	}
	d.row = "ROW(" + strings.Join(columns, ", ") + ")::text"
	return d, nil
}

// collatable are types whose order depends on a collation.
func (k keyColumn) collatable() bool {
	return strings.HasPrefix(k.typ, "text") || strings.HasPrefix(k.typ, "character") || k.typ == "name" || strings.HasPrefix(k.typ, "citext")
}

func (k keyColumn) ordered() string {
	if k.collatable() {
		return quote(k.name) + ` COLLATE "C"`
	}
	return quote(k.name)
}

// keys are the columns as they are ordered, and as texts.
func (d *digester) keys() (ordered, texts string) {
	var o, t []string
	for _, k := range d.key {
		o = append(o, k.ordered())
		t = append(t, quote(k.name)+"::text")
	}
	return strings.Join(o, ", "), strings.Join(t, ", ")
}

// compare makes a condition on the key with a bound, whose values are parameters from the n-th on.
func (d *digester) compare(operator string, bound []string, n int) (condition string, parameters []any) {
	var o, p []string
	for i, k := range d.key {
		o = append(o, k.ordered())
		p = append(p, fmt.Sprintf("$%d::text::%s", n+i, k.typ))
		parameters = append(parameters, bound[i])
	}
	return "(" + strings.Join(o, ", ") + ") " + operator + " (" + strings.Join(p, ", ") + ")", parameters
}

// bounds walks through the key, from behind one of them on where there is one.
func (d *digester) bounds(ctx context.Context, rows int, last []string, parts int) (found []storage.Digest, end bool, err error) {
	ordered, texts := d.keys()
	for {
		where, parameters := "true", []any(nil)
		if last != nil {
			where, parameters = d.compare(">", last, 1)
		}
		query := fmt.Sprintf("SELECT ARRAY[%s] FROM %s WHERE %s ORDER BY %s LIMIT %d", texts, d.from, where, ordered, rows)
		answer, err := d.tx.Query(ctx, "SELECT (array_agg(k))[1:1], (array_agg(k))[count(*):count(*)] FROM ("+query+") AS p(k)", parameters...)
		if err != nil {
			return nil, false, err
		}
		part, err := pgx.CollectOneRow(answer, func(row pgx.CollectableRow) ([2][][]string, error) {
			var ends [2][][]string
			err := row.Scan(&ends[0], &ends[1])
			return ends, err
		})
		if err != nil {
			return nil, false, err
		}
		if len(part[0]) == 0 || len(part[1]) == 0 {
			if found == nil {
				found = []storage.Digest{{}} // no row is one part of no rows
			}
			return found, true, nil
		}
		last = part[1][0]
		found = append(found, storage.Digest{From: encodeKey(part[0][0]), To: encodeKey(last)})
		if len(found) == parts {
			return found, false, nil
		}
	}
}

func (d *digester) digests(ctx context.Context, bounds []storage.Digest, only []int) ([]storage.Digest, error) {
	done := make([]storage.Digest, 0, len(bounds))
	for i, bound := range bounds {
		digest := storage.Digest{From: bound.From, To: bound.To}
		if only != nil {
			if _, asked := slices.BinarySearch(only, i); !asked {
				done = append(done, digest)
				continue
			}
		}
		var conditions []string
		var parameters []any
		add := func(operator, key string) error {
			decoded, err := d.decodeKey(key)
			if err != nil {
				return err
			}
			condition, more := d.compare(operator, decoded, len(parameters)+1)
			conditions, parameters = append(conditions, condition), append(parameters, more...)
			return nil
		}
		if i > 0 {
			if err := add(">", bounds[i-1].To); err != nil {
				return nil, err
			}
		}
		if i < len(bounds)-1 {
			if err := add("<=", bound.To); err != nil {
				return nil, err
			}
		}
		// The first 60 bits of every row's MD5 sum are added up: the order of the rows does not count.
		query := "SELECT count(*), coalesce(sum(('x' || substr(md5(" + d.row + "), 1, 15))::bit(60)::bigint::numeric), 0)::text FROM " + d.from
		if len(conditions) > 0 {
			query += " WHERE " + strings.Join(conditions, " AND ")
		}
		if err := d.tx.QueryRow(ctx, query, parameters...).Scan(&digest.Rows, &digest.Sum); err != nil {
			return nil, err
		}
		done = append(done, digest)
	}
	return done, nil
}

func encodeKey(values []string) string {
	text, _ := json.Marshal(values) // texts always can be
	return string(text)
}

func (d *digester) decodeKey(key string) ([]string, error) {
	var values []string
	if err := json.Unmarshal([]byte(key), &values); err != nil || len(values) != len(d.key) {
		return nil, fmt.Errorf("bound %q is none of this table's: it needs %d values of its primary key", key, len(d.key))
	}
	return values, nil
}
