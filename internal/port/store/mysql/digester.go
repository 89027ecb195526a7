package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// digester reads one table.
type digester struct {
	pool    *pool
	hash    func(text string) string
	table   string
	rows    int
	columns []column
	key     []column
}

// check refuses keys whose order differs from that of their texts' comparison.
func (d *digester) check(table string) error {
	if len(d.key) == 0 {
		return fmt.Errorf("digests of table %s: it has no primary key: %w", table, store.ErrUnsupported)
	}
	for _, one := range d.key {
		if slices.Contains([]string{"enum", "set", "float", "double", "bit", "json"}, one.kind) {
			return fmt.Errorf("digests of table %s: column %s of its primary key is of type %s: %w", table, one.name, one.kind, store.ErrUnsupported)
		}
	}
	return nil
}

// bound chooses the next part: up to rows of them after a key.
func (d *digester) bound(ctx context.Context, after []string) (storage.Digest, bool, error) {
	first, err := d.keyAt(ctx, after, "", 0)
	if err != nil || first == nil {
		return storage.Digest{}, true, err
	}
	to, err := d.keyAt(ctx, after, "", d.rows-1)
	last := err == nil && to == nil
	if last {
		// Fewer rows than a part has: the rest of the table.
		to, err = d.keyAt(ctx, after, " DESC", 0)
	}
	return storage.Digest{From: keyText(first), To: keyText(to)}, last, err
}

// keyAt reads the key that many rows further than the first one after a key, nil when there is none.
func (d *digester) keyAt(ctx context.Context, after []string, direction string, further int) ([]string, error) {
	var texts, order []string
	for _, one := range d.key {
		texts = append(texts, one.text())
		order = append(order, identifier(one.name)+direction)
	}
	where, args := d.between(after, nil)
	query := fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT 1 OFFSET %d",
		strings.Join(texts, ", "), d.table, where, strings.Join(order, ", "), further)
	key := make([]string, len(d.key))
	into := make([]any, len(d.key))
	for i := range key {
		into[i] = &key[i]
	}
	err := d.pool.row(ctx, query, args, into...)
	if noRows(err) {
		return nil, nil
	}
	return key, err
}

// sum reads a part. Two halves of a row's digest are combined so that order does not matter.
func (d *digester) sum(ctx context.Context, after, upTo []string) (rows int64, sum string, err error) {
	var values []string
	for _, one := range d.columns {
		values = append(values, one.value(d.hash))
	}
	where, args := d.between(after, upTo)
	half := "COALESCE(LOWER(HEX(BIT_XOR(CAST(CONV(SUBSTRING(h, %d, 16), 16, 10) AS UNSIGNED)))), '0')"
	query := fmt.Sprintf("SELECT COUNT(*), "+half+", "+half+" FROM (SELECT "+d.hash("CONCAT("+strings.Join(values, ", ',', ")+")")+" AS h FROM "+
		d.table+where+") parts", 1, 17)
	var high, low string
	err = d.pool.row(ctx, query, args, &rows, &high, &low)
	return rows, fmt.Sprintf("%016s%016s", high, low), err
}

// between makes a condition on the key: beyond one and up to another, nil for none. Written out, for servers do
// not use an index for comparisons of rows.
func (d *digester) between(after, upTo []string) (string, []any) {
	var conditions []string
	var args []any
	add := func(key []string, strict, final string) {
		var alternatives []string
		for i := range d.key {
			var all []string
			for j := range i {
				all = append(all, identifier(d.key[j].name)+" = "+d.key[j].parameter())
				args = append(args, key[j])
			}
			compare := strict
			if i == len(d.key)-1 {
				compare = final
			}
			all = append(all, identifier(d.key[i].name)+" "+compare+" "+d.key[i].parameter())
			args = append(args, key[i])
			alternatives = append(alternatives, "("+strings.Join(all, " AND ")+")")
		}
		conditions = append(conditions, "("+strings.Join(alternatives, " OR ")+")")
	}
	if after != nil {
		add(after, ">", ">")
	}
	if upTo != nil {
		add(upTo, "<", "<=")
	}
	if len(conditions) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conditions, " AND "), args
}

// keyText and keyFrom write a key and read it.
func keyText(key []string) string {
	text, err := json.Marshal(key)
	if err != nil {
		panic(err) // texts can always be written
	}
	return string(text)
}

func keyFrom(text string, parts int) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var key []string
	if err := json.Unmarshal([]byte(text), &key); err != nil || len(key) != parts {
		return nil, fmt.Errorf("%q is not a key of %d columns", text, parts)
	}
	return key, nil
}
