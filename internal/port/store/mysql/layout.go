package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/port/store"
)

// kind of a column: how its values are written and compared.
type kind int

const (
	kindUnknown kind = iota
	kindNumber       // as it is written
	kindFloat
	kindOrdinal // ENUM, SET, BIT: by number
	kindMoment
	kindText  // UTF-8
	kindBytes // anything else that is bytes, in a character set or none
)

var kinds = map[string]kind{
	"tinyint": kindNumber, "smallint": kindNumber, "mediumint": kindNumber, "int": kindNumber, "bigint": kindNumber,
	"year": kindNumber, "decimal": kindNumber, "float": kindFloat, "double": kindFloat,
	"enum": kindOrdinal, "set": kindOrdinal, "bit": kindOrdinal,
	"date": kindMoment, "datetime": kindMoment, "timestamp": kindMoment, "time": kindMoment,
	"char": kindText, "varchar": kindText, "tinytext": kindText, "text": kindText, "mediumtext": kindText, "longtext": kindText,
	"binary": kindBytes, "varbinary": kindBytes, "tinyblob": kindBytes, "blob": kindBytes, "mediumblob": kindBytes, "longblob": kindBytes,
}

// unicodeSets are character sets whose bytes are text as they are.
var unicodeSets = []string{"utf8mb4", "utf8mb3", "utf8", "ascii"}

// field is a column of a table.
type field struct {
	name, dataType, charset string
	kind                    kind
	unsigned, generated     bool
	octets                  int
}

// layout is how a table's rows are written.
type layout struct {
	table   string
	columns []*field // as binary logs have them
	stored  []*field // without those that the server generates
	key     []*field
}

// layouts reads tables' layouts, each once.
type layouts struct {
	pool  *pool
	known map[string]*layout
}

// of returns a table's layout; an *UnsettledError if its rows cannot be taken back and written again as they were.
func (l *layouts) of(ctx context.Context, table string) (*layout, error) {
	if known := l.known[table]; known != nil {
		return known, nil
	}
	found := &layout{table: table}
	if err := l.read(ctx, found); err != nil {
		return nil, err
	}
	if why := found.unfit(); why != "" {
		return nil, unsettled("table %s %s", table, why)
	}
	if table != conflictTable {
		if err := l.check(ctx, table); err != nil {
			return nil, err
		}
	}
	l.known[table] = found
	return found, nil
}

// unsettled is an error with the way out for a person.
func unsettled(format string, args ...any) *store.UnsettledError {
	return &store.UnsettledError{Why: "what this region accepted and had not shipped when it was lost is not taken back: " + fmt.Sprintf(format, args...) +
		". Nothing from this region reaches the others meanwhile. Without dataClasses.conflict in the services that name the store all of it goes to them " +
		"as it is, also over what they have changed since: compare first"}
}

func (l *layout) unfit() string {
	if len(l.columns) == 0 {
		return "does not exist any more"
	}
	if len(l.key) == 0 {
		return "has no primary key"
	}
	for _, c := range l.stored {
		if c.kind == kindUnknown {
			return fmt.Sprintf("has the column %s, which is %s", c.name, c.dataType)
		}
	}
	return ""
}

func (l *layouts) read(ctx context.Context, into *layout) error {
	schema, name, _ := strings.Cut(into.table, ".")
	err := l.pool.each(ctx, "SELECT column_name, data_type, column_type, COALESCE(character_set_name, ''), COALESCE(character_octet_length, 0), "+
		"extra LIKE '%STORED GENERATED%' OR extra LIKE '%VIRTUAL GENERATED%' FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
		[]any{schema, name}, func(scan func(...any) error) error {
			c := &field{}
			var full string
			var octets int64
			if err := scan(&c.name, &c.dataType, &full, &c.charset, &octets, &c.generated); err != nil {
				return err
			}
			c.kind, c.unsigned, c.octets = kinds[c.dataType], strings.Contains(full, "unsigned"), int(min(octets, 1<<20))
			if c.kind == kindText && !slices.Contains(unicodeSets, c.charset) {
				c.kind = kindBytes
			}
			if strings.Contains(strings.ToLower(full), "compressed") {
				c.kind = kindUnknown
			}
			into.columns = append(into.columns, c)
			if !c.generated {
				into.stored = append(into.stored, c)
			}
			return nil
		})
	if err != nil {
		return err
	}
	return l.pool.each(ctx, "SELECT column_name FROM information_schema.key_column_usage WHERE table_schema = ? AND table_name = ? "+
		"AND constraint_name = 'PRIMARY' ORDER BY ordinal_position", []any{schema, name}, func(scan func(...any) error) error {
		var key string
		err := scan(&key)
		for _, c := range into.stored {
			if c.name == key {
				into.key = append(into.key, c)
			}
		}
		return err
	})
}

// check finds what would do more than is written: triggers, histories of rows.
func (l *layouts) check(ctx context.Context, table string) error {
	schema, name, _ := strings.Cut(table, ".")
	var engine, sort string
	var triggers int
	err := l.pool.row(ctx, "SELECT COALESCE(engine, ''), table_type FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		[]any{schema, name}, &engine, &sort)
	if err == nil {
		err = l.pool.row(ctx, "SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table = ?",
			[]any{schema, name}, &triggers)
	}
	switch {
	case err != nil:
		return err
	case !strings.EqualFold(engine, "InnoDB") || sort != "BASE TABLE":
		return unsettled("table %s is %s with the engine %s, and only tables of InnoDB without versions are", table, strings.ToLower(sort), shown(engine))
	case triggers > 0:
		return unsettled("table %s has triggers, which would run once more", table)
	}
	return nil
}

// rowOf turns an image of a binary log into a row.
func (l *layout) rowOf(image []any) (row, error) {
	if len(image) != len(l.columns) {
		return nil, unsettled("table %s has %d columns and had %d", l.table, len(l.columns), len(image))
	}
	r := row{}
	for i, c := range l.columns {
		if c.generated {
			continue
		}
		v, err := c.valueOf(image[i])
		if err != nil {
			return nil, unsettled("table %s: %v", l.table, err)
		}
		r[c.name] = v
	}
	return r, nil
}

// keyOf writes the primary key of a row.
func (l *layout) keyOf(r row) (string, error) { return encode(l.key, r) }

// where chooses the row of a key.
func (l *layout) where(r row) string {
	conditions := make([]string, len(l.key))
	for i, c := range l.key {
		conditions[i] = identifier(c.name) + " = " + c.literal(r[c.name])
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// same is a condition that holds if the row is exactly this one.
func (l *layout) same(r row) string {
	if r == nil {
		return "FALSE"
	}
	conditions := make([]string, len(l.stored))
	for i, c := range l.stored {
		conditions[i] = c.equals(r[c.name])
	}
	return "(" + strings.Join(conditions, " AND ") + ")"
}

func (l *layout) insert(r row) string {
	names, values := make([]string, len(l.stored)), make([]string, len(l.stored))
	for i, c := range l.stored {
		names[i], values[i] = identifier(c.name), c.literal(r[c.name])
	}
	return "INSERT INTO " + tableIdentifier(l.table) + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
}

func (l *layout) update(r row) string {
	sets := make([]string, len(l.stored))
	for i, c := range l.stored {
		sets[i] = identifier(c.name) + " = " + c.literal(r[c.name])
	}
	return "UPDATE " + tableIdentifier(l.table) + " SET " + strings.Join(sets, ", ") + l.where(r)
}

func (l *layout) delete(r row) string { return "DELETE FROM " + tableIdentifier(l.table) + l.where(r) }
