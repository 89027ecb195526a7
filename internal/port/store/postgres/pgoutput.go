package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// row by column name, each as its type's output function writes it, nil for NULL; a nil row is none.
type row map[string]*string

// unchanged stands for a long value that an update left as it was, and that the log does not repeat.
var unchanged = new(string)

// change of one row in a server's log.
type change struct {
	table   table
	columns []string
	// kind is one of the pgoutput's messages: I, U, D, or T for a table that was emptied.
	kind byte
	// before is the old row, or its key where not whole, or nil; after the new one.
	before, after row
	whole         bool
	// origin is empty for what was written on the server itself.
	origin string
	// at is where the transaction's commit begins in the log; a position beyond it has it.
	at      int64
	written time.Time
}

// described is a table as the log describes it.
type described struct {
	table   table
	columns []string
}

// decoder reads pgoutput's messages, version 1 (manual 55.9).
type decoder struct {
	take      func(change) error
	relations map[uint32]described
	origin    string
	at        int64
	written   time.Time
	message   *bytes.Reader
	failed    error
}

// readSlot hands take all changes that a slot of a server has and that are not before a position, in the order of their commits. The slot stays where it is.
func readSlot(ctx context.Context, db beginner, slot string, after int64, take func(change) error) error {
	return pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadWrite, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := set(ctx, tx, rowSettings); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', $2)`,
			slot, publication)
		if err != nil {
			return err
		}
		defer rows.Close()
		d := &decoder{relations: map[uint32]described{}, take: func(c change) error {
			if c.at < after {
				return nil
			}
			return take(c)
		}}
		for rows.Next() {
			var message []byte
			if err := rows.Scan(&message); err != nil {
				return err
			}
			if err := d.read(message); err != nil {
				return fmt.Errorf("reading slot %s: %w", slot, err)
			}
		}
		return rows.Err()
	})
}

// secondsTo2000 from 1970, where PostgreSQL's times begin.
const secondsTo2000 = 946_684_800

func (d *decoder) read(message []byte) error {
	if len(message) == 0 {
		return errors.New("a message is empty")
	}
	d.message, d.failed = bytes.NewReader(message[1:]), nil
	switch kind := message[0]; kind {
	case 'B':
		d.origin, d.at = "", int64(d.number(8))                                                          //nolint:gosec // far below
		d.written = time.Unix(secondsTo2000, 0).Add(time.Duration(d.number(8)) * time.Microsecond).UTC() //nolint:gosec // signed
		d.number(4)
	case 'O':
		d.number(8)
		d.origin = d.text()
	case 'R':
		d.describe()
	case 'I', 'U', 'D':
		return d.row(kind)
	case 'T':
		return d.truncate()
	case 'C', 'Y', 'M':
	default:
		return fmt.Errorf("message %q is not known", string(kind))
	}
	return d.failed
}

func (d *decoder) describe() {
	id := uint32(d.number(4)) //nolint:gosec // four bytes
	r := described{table: table{schema: d.text(), name: d.text()}}
	d.number(1)
	for range d.number(2) {
		d.number(1)
		r.columns = append(r.columns, d.text())
		d.number(8)
	}
	d.relations[id] = r
}

func (d *decoder) change(kind byte) (change, error) {
	r, known := d.relations[uint32(d.number(4))] //nolint:gosec // four bytes
	if !known {
		return change{}, errors.Join(d.failed, errors.New("a change is of a table that was not described"))
	}
	return change{table: r.table, columns: r.columns, kind: kind, origin: d.origin, at: d.at, written: d.written}, nil
}

func (d *decoder) row(kind byte) error {
	c, err := d.change(kind)
	if err != nil {
		return err
	}
	part := d.kind()
	if part == 'K' || part == 'O' {
		c.before, c.whole = d.tuple(c.columns), part == 'O'
		if kind == 'U' {
			part = d.kind()
		}
	}
	if part == 'N' {
		c.after = d.tuple(c.columns)
	}
	if d.failed != nil {
		return d.failed
	}
	return d.take(c)
}

func (d *decoder) truncate() error {
	count := d.number(4)
	d.number(1)
	for range count {
		c, err := d.change('T')
		if err == nil {
			err = d.take(c)
		}
		if err != nil {
			return err
		}
	}
	return d.failed
}

func (d *decoder) tuple(columns []string) row {
	r := row{}
	for i := range d.number(2) {
		if d.failed != nil || i >= uint64(len(columns)) {
			d.failed = errors.Join(d.failed, errors.New("a row has more columns than its table"))
			return r
		}
		switch kind := d.kind(); kind {
		case 'n':
			r[columns[i]] = nil
		case 'u':
			r[columns[i]] = unchanged
		case 't':
			value := string(d.bytes(int(d.number(4)))) //nolint:gosec // four bytes
			r[columns[i]] = &value
		default:
			d.failed = errors.Join(d.failed, fmt.Errorf("a value of the kind %q is not known", string(kind)))
		}
	}
	return r
}

// kind is a byte that says what follows.
func (d *decoder) kind() byte { return d.bytes(1)[0] }

// number of so many bytes.
func (d *decoder) number(size int) uint64 {
	var eight [8]byte
	copy(eight[8-size:], d.bytes(size))
	return binary.BigEndian.Uint64(eight[:])
}

func (d *decoder) bytes(size int) []byte {
	if size > d.message.Len() {
		d.failed = errors.Join(d.failed, errors.New("a message is too short"))
		return make([]byte, min(size, 8))
	}
	out := make([]byte, size)
	_, _ = d.message.Read(out)
	return out
}

func (d *decoder) text() string {
	var out []byte
	for {
		b, err := d.message.ReadByte()
		if err != nil {
			d.failed = errors.Join(d.failed, errors.New("a text has no end"))
			return ""
		}
		if b == 0 {
			return string(out)
		}
		out = append(out, b)
	}
}
