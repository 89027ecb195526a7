package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"multiactive.dev/operator/internal/storage"
)

// late is one change that was withdrawn, or that not all regions have.
type late struct {
	region            string
	outage, number    int64
	table, key        string
	id, before, after row
	beforeText        string
	afterText         string
	resend            bool
	at                time.Time
	// written is how often the row was written, is as what by the last time, and had what the server had of others by then.
	written int64
	is      row
	had     storage.Positions
}

const (
	lateColumns = `SELECT l.region, l.outage, l.number, l.table_name, l.row_key, l.id_row, l.before_row, l.after_row, l.resend, l.written_at, l.written, l.is_row, l.had
		FROM multiactive.late_change l `
	decisions = `LEFT JOIN multiactive.conflict c ON c.region = l.region AND c.outage = l.outage AND c.number = l.number `
	// undecided are those that one transaction decides on.
	undecided = decisions + `WHERE l.region = $1 AND NOT l.closed AND c.region IS NULL ORDER BY l.outage, l.number LIMIT 50`
)

// readLate reads some of them.
func readLate(ctx context.Context, q querier, which string, args ...any) ([]late, error) {
	rows, err := q.Query(ctx, lateColumns+which, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (late, error) {
		var l late
		var id, is string
		var had []byte
		if err := r.Scan(&l.region, &l.outage, &l.number, &l.table, &l.key, &id, &l.beforeText, &l.afterText, &l.resend, &l.at, &l.written, &is, &had); err != nil {
			return l, err
		}
		var failed [4]error
		l.id, failed[0] = decode(id)
		l.before, failed[1] = decode(l.beforeText)
		l.after, failed[2] = decode(l.afterText)
		l.is, failed[3] = decode(is)
		err := errors.Join(failed[:]...)
		if had != nil {
			err = errors.Join(err, json.Unmarshal(had, &l.had))
		}
		if err != nil {
			return l, fmt.Errorf("reading late change %d: %w", l.number, err)
		}
		return l, nil
	})
}

// verdict on one of them.
type verdict struct {
	outcome     storage.Outcome
	other, note string
	// wrote: the row was written as is, which is how it was late or how others have it, by a server that had so much of them.
	wrote bool
	is    string
	had   storage.Positions
}

// Decide implements store.Settler. What was decided is written in the transaction that writes the row, so that it is done once.
func (s *Server) Decide(ctx context.Context, w storage.Want) (bool, error) {
	if err := settles(w); err != nil {
		return false, err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	todo, err := readLate(ctx, s.pool, undecided, w.Region)
	if hasCode(err, codeUndefinedTable, codeUndefinedSchema) || err == nil && len(todo) == 0 {
		return false, nil
	}
	if err != nil {
		return false, s.explain("reading what is to be decided on", err)
	}
	layouts := newLayouts(s)
	for _, l := range todo { // before the transaction begins: it holds rows
		if _, err := layouts.of(ctx, parseTable(l.table)); err != nil {
			return true, s.explain("deciding on late changes", err)
		}
	}
	err = s.settling(ctx, "", func(tx pgx.Tx) error {
		for _, one := range todo {
			p := policyOf(w, one.table)
			v, err := judge(ctx, tx, w, layouts.known[parseTable(one.table)], p, one)
			if err == nil {
				err = record(ctx, tx, one, p, v)
			}
			if err != nil {
				return fmt.Errorf("table %s, row %s: %w", one.table, shortKey(one.key), err)
			}
		}
		return nil
	})
	return true, s.explain("deciding on late changes", err)
}

func policyOf(w storage.Want, declared string) storage.ConflictPolicy {
	for _, p := range w.Conflicts {
		if parseTable(p.Table) == parseTable(declared) {
			return p
		}
	}
	return storage.ConflictPolicy{Table: declared, Winner: storage.WinnerNobody}
}

// judge decides on one change, and writes the row if that is to be changed.
func judge(ctx context.Context, tx pgx.Tx, w storage.Want, l *layout, p storage.ConflictPolicy, c late) (verdict, error) {
	now, err := l.look(ctx, tx, c.id)
	if err != nil {
		return verdict{}, err
	}
	v := verdict{outcome: storage.OutcomeApplied}
	// After the row is held: nothing that arrives changes it any more, and what has arrived is seen.
	if v.had, err = has(ctx, tx, w); err != nil {
		return v, err
	}
	is := c.after
	switch {
	case !l.knows(c.after) || !l.knows(c.before):
		v.outcome, v.note = storage.OutcomeOpen, "columns of the table have been removed since"
	case now.same(c.after):
		is = now
	case !now.same(c.before):
		ahead, err := ahead(ctx, tx, l, p, now, c.after)
		if err != nil {
			return v, err
		}
		v.outcome = outcomeOf(p, ahead)
	}
	if v.outcome != storage.OutcomeApplied {
		v.other = encode(l.names(), now)
	}
	if v.outcome != storage.OutcomeApplied && v.outcome != storage.OutcomeLateStands {
		is = now
	}
	return write(ctx, tx, l, v, now, is, c.resend)
}

// write has the row be as it was decided, if it is not; resend has it go to all others even so.
func write(ctx context.Context, tx pgx.Tx, l *layout, v verdict, now, is row, resend bool) (verdict, error) {
	if now == nil && is == nil || now.same(is) && !resend {
		return v, nil
	}
	if is != nil && now != nil {
		is = completed(is, now)
	}
	v.wrote, v.is = true, encode(l.names(), is)
	taken, err := attempt(ctx, tx, func() error { return l.replace(ctx, tx, now, is) })
	if err != nil || taken == "" {
		return v, err
	}
	// Another row has one of its unique keys. Which of the two is to go, nobody can tell but a person.
	v.outcome, v.note, v.wrote = storage.OutcomeOpen, taken, false
	if resend && now != nil {
		v.wrote, v.is = true, encode(l.names(), now)
		err = l.replace(ctx, tx, now, now)
	}
	return v, err
}

// completed has values of columns that were added since.
func completed(is, now row) row {
	out := maps.Clone(now)
	maps.Copy(out, is)
	return out
}

// attempt undoes what fails because a unique key exists, and returns what the server says of it without the key's values.
func attempt(ctx context.Context, tx pgx.Tx, do func() error) (string, error) {
	if _, err := tx.Exec(ctx, "SAVEPOINT attempt"); err != nil {
		return "", err
	}
	err := do()
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == codeUniqueViolation {
		_, err = tx.Exec(ctx, "ROLLBACK TO SAVEPOINT attempt")
		return said.Message, err
	}
	return "", err
}

// has is what links have applied by now, by region.
func has(ctx context.Context, tx pgx.Tx, w storage.Want) (storage.Positions, error) {
	had := storage.Positions{}
	for _, region := range w.Regions {
		at, err := applied(ctx, tx, linkName(region))
		if err != nil {
			return nil, err
		}
		had[region] = at
	}
	return had, nil
}

// outcomeOf says whose version stands; ahead is by how many microseconds the late one's time is later, nil where there is none to compare.
func outcomeOf(p storage.ConflictPolicy, ahead *int64) storage.Outcome {
	skew := p.MaxClockSkew.Microseconds()
	switch {
	case p.Winner == storage.WinnerOwner:
		return storage.OutcomeOwnerStands
	case p.Winner == storage.WinnerLast && ahead != nil && *ahead > skew:
		return storage.OutcomeLateStands
	case p.Winner == storage.WinnerLast && ahead != nil && *ahead < -skew:
		return storage.OutcomeOwnerStands
	}
	return storage.OutcomeOpen // also where there is no time to compare, as for a row that was deleted
}

func ahead(ctx context.Context, tx pgx.Tx, l *layout, p storage.ConflictPolicy, now, after row) (*int64, error) {
	i := slices.IndexFunc(l.columns, func(c keyColumn) bool { return c.name == p.TimestampColumn && strings.HasPrefix(c.typ, "timestamp") })
	if p.Winner != storage.WinnerLast || i < 0 || now[p.TimestampColumn] == nil || after[p.TimestampColumn] == nil {
		return nil, nil
	}
	var micros *int64
	err := tx.QueryRow(ctx, fmt.Sprintf(`SELECT CASE WHEN isfinite(t.late) AND isfinite(t.other) THEN (extract(epoch FROM t.late - t.other) * 1000000)::bigint END
		FROM (SELECT CAST(%[1]s AS %[3]s) AS late, CAST(%[2]s AS %[3]s) AS other) AS t`,
		constant(after[p.TimestampColumn]), constant(now[p.TimestampColumn]), l.columns[i].typ)).Scan(&micros)
	return micros, err
}

// record writes what was decided. Of a row that nobody else had changed it does not keep the versions.
func record(ctx context.Context, tx pgx.Tx, c late, p storage.ConflictPolicy, v verdict) error {
	before, after, written := c.beforeText, c.afterText, int64(0)
	if v.outcome == storage.OutcomeApplied {
		before, after = "", ""
	}
	if v.wrote {
		written = 1
	}
	// Also when it was not: a decision before this one may have been taken back.
	if err := wrote(ctx, tx, c, written, v.is, v.had); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO multiactive.conflict (region, outage, number, table_name, row_key, policy, outcome, before_row, late_row, other_row, note,
		written_at, written) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		c.region, c.outage, c.number, c.table, c.key, string(p.Winner), string(v.outcome), before, after, v.other, v.note, c.at, written)
	return err
}

// wrote notes what Verify has to look at, on this server alone.
func wrote(ctx context.Context, tx pgx.Tx, c late, times int64, is string, had storage.Positions) error {
	var noted *string
	if times > 0 {
		text, err := json.Marshal(had)
		if err != nil {
			return err
		}
		noted = new(string(text))
	}
	_, err := tx.Exec(ctx, "UPDATE multiactive.late_change SET written = $4, is_row = $5, had = $6 WHERE region = $1 AND outage = $2 AND number = $3",
		c.region, c.outage, c.number, times, is, noted)
	return err
}
