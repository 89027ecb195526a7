package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// decideAtOnce is how many late changes one transaction decides on.
const decideAtOnce = 50

const errDuplicate = 1062

// late is one change that was withdrawn.
type late struct {
	region        string
	outage        int64
	number        int
	table, key    string
	before, after row
	beforeText    string
	afterText     string
	gtid          string
	at            int64
}

// verdict on one of them.
type verdict struct {
	outcome     storage.Outcome
	policy      storage.Winner
	other, note string
}

// Decide implements store.Settler. What was decided is written in the transaction that writes the row, so that it is done once.
func (s *Server) Decide(ctx context.Context, w storage.Want) (bool, error) {
	todo, err := s.undecided(ctx, w.Region)
	if err != nil {
		return false, s.explain(ctx, "reading what is to be decided on", err)
	}
	if len(todo) == 0 {
		return false, nil
	}
	ls := &layouts{s.plain, map[string]*layout{}}
	for _, l := range todo { // before the transaction begins: connections are few
		if _, err := ls.of(ctx, l.table); err != nil {
			return true, s.explain(ctx, "deciding on late changes", err)
		}
	}
	err = s.run(ctx, true, func(ctx context.Context, tx *sql.Tx) error {
		for _, l := range todo {
			v, err := judge(ctx, tx, ls.known[l.table], policyOf(w, l.table), l)
			if err == nil {
				err = record(ctx, tx, l, v)
			}
			if err != nil {
				return fmt.Errorf("table %s, row %s: %w", l.table, shortKey(l.key), err)
			}
		}
		return nil
	})
	return true, s.explain(ctx, "deciding on late changes", err)
}

// undecided reads the next ones.
func (s *Server) undecided(ctx context.Context, region string) ([]late, error) {
	var all []late
	err := s.plain.each(ctx, "SELECT l.region, l.outage, l.number, l.table_name, l.row_key, l.before_row, l.after_row, l.gtid, l.written_at FROM "+lateTable+
		" l LEFT JOIN "+conflictTable+" c ON c.region = l.region AND c.outage = l.outage AND c.number = l.number WHERE l.region = ? AND c.region IS NULL "+
		"ORDER BY l.outage, l.number LIMIT ?", []any{region, decideAtOnce}, func(scan func(...any) error) error {
		var l late
		if err := scan(&l.region, &l.outage, &l.number, &l.table, &l.key, &l.beforeText, &l.afterText, &l.gtid, &l.at); err != nil {
			return err
		}
		var err error
		if l.before, err = decode(l.beforeText); err != nil {
			return fmt.Errorf("reading late change %d: %w", l.number, err)
		}
		if l.after, err = decode(l.afterText); err != nil {
			return fmt.Errorf("reading late change %d: %w", l.number, err)
		}
		all = append(all, l)
		return nil
	})
	if missingTable(err) {
		return nil, nil
	}
	return all, err
}

func policyOf(w storage.Want, table string) storage.ConflictPolicy {
	for _, p := range w.Conflicts {
		if p.Table == table {
			return p
		}
	}
	return storage.ConflictPolicy{Table: table, Winner: storage.WinnerNobody}
}

// present is a row as it is now.
type present struct {
	row                   row
	isBefore, isAfter     bool
	ahead                 sql.NullInt64 // microseconds that the late version's time is later
	sameBefore, sameAfter sql.NullBool
}

// judge decides on one change, and writes the row if that is to be changed.
func judge(ctx context.Context, tx *sql.Tx, l *layout, p storage.ConflictPolicy, c late) (verdict, error) {
	now, err := look(ctx, tx, l, p, c)
	if err != nil {
		return verdict{}, err
	}
	applied := verdict{outcome: storage.OutcomeApplied, policy: p.Winner}
	switch {
	case now.isAfter:
		return applied, nil // both did the same, or it was written already
	case now.isBefore:
		err := write(ctx, tx, l, now.row, c.after)
		if is(err, errDuplicate) {
			// Another row has one of its unique keys. Which of the two is to go, nobody can tell but a person.
			return verdict{storage.OutcomeOpen, p.Winner, "", cleaned(err)}, nil
		}
		return applied, err
	}
	other, err := encode(l.stored, now.row)
	if err != nil {
		return verdict{}, err
	}
	v := verdict{policy: p.Winner, other: other}
	if v.outcome = outcomeOf(p, now); v.outcome != storage.OutcomeLateStands {
		return v, nil
	}
	err = write(ctx, tx, l, now.row, c.after)
	if is(err, errDuplicate) {
		v.outcome, v.note = storage.OutcomeOpen, cleaned(err)
		return v, nil
	}
	return v, err
}

// outcomeOf says whose version stands.
func outcomeOf(p storage.ConflictPolicy, now present) storage.Outcome {
	skew := p.MaxClockSkew.Microseconds()
	switch {
	case p.Winner == storage.WinnerOwner:
		return storage.OutcomeOwnerStands
	case p.Winner == storage.WinnerLast && now.ahead.Valid && now.ahead.Int64 > skew:
		return storage.OutcomeLateStands
	case p.Winner == storage.WinnerLast && now.ahead.Valid && now.ahead.Int64 < -skew:
		return storage.OutcomeOwnerStands
	}
	return storage.OutcomeOpen // also where there is no time to compare, as for a row that was deleted
}

// look reads the row, and holds it until the transaction ends.
func look(ctx context.Context, tx *sql.Tx, l *layout, p storage.ConflictPolicy, c late) (present, error) {
	of := c.after
	if of == nil {
		of = c.before
	}
	shown := []string{l.same(c.before), l.same(c.after), ahead(l, p, c.after)}
	for _, column := range l.stored {
		shown = append(shown, column.shown())
	}
	var now present
	texts := make([]*string, len(l.stored))
	into := []any{&now.sameBefore, &now.sameAfter, &now.ahead}
	for i := range texts {
		into = append(into, &texts[i])
	}
	query := "SELECT " + strings.Join(shown, ", ") + " FROM " + tableIdentifier(l.table) + l.where(of) + " FOR UPDATE"
	err := tx.QueryRowContext(ctx, query).Scan(into...)
	if noRows(err) {
		now.isBefore, now.isAfter = c.before == nil, c.after == nil
		return now, nil
	}
	if err != nil {
		return now, err
	}
	now.isBefore, now.isAfter = now.sameBefore.Bool, now.sameAfter.Bool
	now.row = row{}
	for i, column := range l.stored {
		if now.row[column.name], err = column.read(texts[i]); err != nil {
			return now, err
		}
	}
	return now, nil
}

// ahead is an expression for how much later the late version's time is, NULL where that cannot be told.
func ahead(l *layout, p storage.ConflictPolicy, after row) string {
	i := slices.IndexFunc(l.stored, func(c *field) bool {
		return c.name == p.TimestampColumn && c.kind == kindMoment && c.dataType != "time"
	})
	if p.Winner != storage.WinnerLast || i < 0 || after == nil || after[p.TimestampColumn] == nil {
		return "NULL"
	}
	text, _ := after[p.TimestampColumn].(string)
	return "TIMESTAMPDIFF(MICROSECOND, " + identifier(p.TimestampColumn) + ", " + quote(text) + ")"
}

// write has a row be as it was late; was is nil where there is none now.
func write(ctx context.Context, tx *sql.Tx, l *layout, was, after row) error {
	statement := ""
	switch {
	case after == nil && was == nil:
		return nil
	case after == nil:
		statement = l.delete(was)
	case was == nil:
		statement = l.insert(after)
	default:
		statement = l.update(after)
	}
	_, err := tx.ExecContext(ctx, statement)
	return err
}

// record writes what was decided. Of a row that nobody else had changed it does not keep the versions.
func record(ctx context.Context, tx *sql.Tx, c late, v verdict) error {
	before, after := c.beforeText, c.afterText
	if v.outcome == storage.OutcomeApplied {
		before, after = "", ""
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO "+conflictTable+" (region, outage, number, table_name, row_key, policy, outcome, before_row, late_row, "+
		"other_row, note, gtid, written_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		c.region, c.outage, c.number, c.table, c.key, v.policy, v.outcome, before, after, v.other, v.note, c.gtid, c.at)
	return err
}

// cleaned is what a server said of a key, without what the key is of.
func cleaned(err error) string { return shorten(err.Error()) }

// Late implements store.Settler.
func (s *Server) Late(ctx context.Context, w storage.Want) ([]storage.Late, error) {
	var all []storage.Late
	err := s.plain.each(ctx, "SELECT region, id, phase FROM "+outageTable, nil, func(scan func(...any) error) error {
		var o outage
		var region string
		err := scan(&region, &o.id, &o.phase)
		if slices.Contains(w.Regions, region) {
			all = append(all, storage.Late{Outage: storage.Outage{Region: region, ID: o.id}, Withdrawn: o.phase == phaseWithdrawn})
		}
		return err
	})
	for i := 0; i < len(all) && err == nil; i++ {
		all[i], err = s.count(ctx, all[i])
	}
	switch {
	case missingTable(err):
		return nil, nil
	case err != nil:
		return nil, s.explain(ctx, "counting late changes", err)
	}
	slices.SortFunc(all, func(a, b storage.Late) int {
		return slices.Index(w.Regions, a.Region) - slices.Index(w.Regions, b.Region)
	})
	return all, nil
}

// count counts those of the newest outage of a region.
func (s *Server) count(ctx context.Context, found storage.Late) (storage.Late, error) {
	err := s.plain.each(ctx, "SELECT outcome, COUNT(*) FROM "+conflictTable+" WHERE region = ? AND outage = ? GROUP BY outcome",
		[]any{found.Region, found.ID}, func(scan func(...any) error) error {
			var outcome storage.Outcome
			var count int64
			if err := scan(&outcome, &count); err != nil {
				return err
			}
			switch outcome {
			case storage.OutcomeApplied:
				found.Applied = count
			case storage.OutcomeOwnerStands:
				found.OwnerStands = count
			case storage.OutcomeLateStands:
				found.LateStands = count
			case storage.OutcomeOpen:
				found.Open = count
			}
			return nil
		})
	if err != nil || found.OwnerStands+found.LateStands+found.Open == 0 {
		return s.pending(ctx, found, err)
	}
	err = s.plain.each(ctx, "SELECT table_name, row_key, outcome FROM "+conflictTable+" WHERE region = ? AND outage = ? AND outcome <> ? "+
		"ORDER BY outcome = ? DESC, number LIMIT ?", []any{found.Region, found.ID, storage.OutcomeApplied, storage.OutcomeOpen, storage.MostConflicts},
		func(scan func(...any) error) error {
			var one storage.Conflict
			err := scan(&one.Table, &one.Key, &one.Outcome)
			one.Key = shortKey(one.Key)
			found.Conflicts = append(found.Conflicts, one)
			return err
		})
	return s.pending(ctx, found, err)
}

// pending adds what the region that withdrew has not decided on.
func (s *Server) pending(ctx context.Context, found storage.Late, err error) (storage.Late, error) {
	if err != nil || !found.Withdrawn {
		return found, err
	}
	err = s.plain.row(ctx, "SELECT COUNT(*) FROM "+lateTable+" l LEFT JOIN "+conflictTable+" c ON c.region = l.region AND c.outage = l.outage "+
		"AND c.number = l.number WHERE l.region = ? AND c.region IS NULL", []any{found.Region}, &found.Pending)
	return found, err
}
