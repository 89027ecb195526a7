package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"maps"

	"multiactive.dev/operator/internal/storage"
)

// decidedRow is one that the server's region wrote after it was decided on.
type decidedRow struct {
	number int
	table  string
	layout *layout
	id     row
	// last is the number of the transaction that wrote it last, and had what the server had of others by then.
	last int64
	had  map[string]int64
	// early is what another region made of the row before it received that, and crossed tells whether there is such a version.
	early   row
	crossed bool
	// built: that region went on from what it received.
	built bool
}

// key of a decided row.
func (c logged) row() string { return c.layout.table + c.key }

// Verify implements store.Settler. The binary logs tell: this server's, what it had of others when it wrote a row, and another one's,
// whether that had changed the row since, before it received it. There the change was overwritten, and here it came last.
func (s *Server) Verify(ctx context.Context, w storage.Want, others []storage.Source) (bool, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return false, err
	}
	noted, err := readOutage(ctx, s.plain, w.Region)
	if err != nil || noted.phase != phaseWithdrawn {
		return true, s.explain(ctx, "reading what is known of the outage", err)
	}
	rows, err := s.decidedRows(ctx, w.Region, noted.id)
	if err != nil {
		return false, s.explain(ctx, "reading what was decided on", err)
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return false, err
	}
	if len(rows) > 0 {
		own := s.ownLogs()
		own.only = tablesOf(rows)
		_, cut := spoken.numberIn(noted.cut)
		err := s.readLogsAfter(ctx, spoken, own, at.own, max(noted.reached, cut), func(c logged) error {
			if r := rows[c.row()]; r != nil && c.own {
				r.layout, r.id, r.last, r.had = c.layout, c.id(), c.number, maps.Clone(c.had)
			}
			return nil
		})
		if err != nil {
			return false, s.explain(ctx, "reading what was decided on", err)
		}
	}
	for _, other := range others {
		if arrived, err := s.compare(ctx, spoken, other, at.own, rows); err != nil || !arrived {
			return false, err
		}
	}
	again, err := s.writeAgain(ctx, w.Region, noted.id, rows)
	if err != nil || again {
		return false, s.explain(ctx, "writing rows again that were changed while they were decided on", err)
	}
	return true, s.close(ctx, w.Region)
}

// decidedRows are those that were written again, by table and key.
func (s *Server) decidedRows(ctx context.Context, region string, outage int64) (map[string]*decidedRow, error) {
	rows := map[string]*decidedRow{}
	err := s.plain.each(ctx, "SELECT number, table_name, row_key FROM "+conflictTable+" WHERE region = ? AND outage = ? AND (outcome IN (?, ?) OR outcome = ? AND note = ?)",
		[]any{region, outage, storage.OutcomeApplied, storage.OutcomeLateStands, storage.OutcomeOwnerStands, noteCrossed}, func(scan func(...any) error) error {
			r := &decidedRow{}
			var key string
			err := scan(&r.number, &r.table, &key)
			rows[r.table+key] = r
			return err
		})
	return rows, err
}

// arriveFor is how many seconds what another region has changed may take to arrive, before that is asked for again.
const arriveFor = 2

const noteCrossed = "changed by its owner while it was decided on"

// compare reads what another region changed while rows were decided on. It tells whether that has all that was decided, and this server
// what it had changed until then.
func (s *Server) compare(ctx context.Context, spoken dialect, other storage.Source, own string, rows map[string]*decidedRow) (bool, error) {
	last := int64(0)
	for _, r := range rows {
		last = max(last, r.last)
	}
	if last == 0 {
		return true, nil // nothing was written
	}
	arrived := false
	err := s.asReplica(ctx, other.Address, func(p *pool) error {
		at, err := placeOf(ctx, p, spoken)
		if err != nil {
			return err
		}
		if spoken.applied(at.here, at.applied)[own] < last {
			return nil
		}
		// What it has changed until then is on its way.
		wait, waited := spoken.waitFor(spoken.lastOwn(at)), 0
		err = s.plain.row(ctx, wait.text, wait.args, &waited)
		if err != nil || waited != 0 {
			return err
		}
		of := at.own
		first := spoken.logged(at.here)[of]
		for _, r := range rows {
			if r.last > 0 {
				first = min(first, r.had[of])
			}
		}
		arrived = true
		there := logs{asks: p, address: other.Address, who: s.options.Replication, only: tablesOf(rows)}
		seen := map[*decidedRow]*course{}
		err = s.readLogsAfter(ctx, spoken, there, of, first, func(c logged) error {
			r := rows[c.row()]
			if r == nil || r.last == 0 {
				return nil
			}
			if seen[r] == nil {
				seen[r] = &course{}
			}
			seen[r].follow(r, c, of, own)
			return nil
		})
		for r, its := range seen {
			if its.crossed {
				r.crossed, r.early, r.built = true, its.early, its.built
			}
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("asking the server of %s what it changed while late changes were decided on: %w", other.Region, err)
	}
	return arrived, nil
}

// course of a row in another region's binary log.
type course struct {
	early                   row
	changed, crossed, built bool
}

// follow takes its next change.
func (s *course) follow(r *decidedRow, c logged, of, own string) {
	switch {
	case c.origin == of && s.crossed:
		s.built = true
	case c.origin == of && c.number > r.had[of]:
		s.early, s.changed = c.after, true // until what was decided on arrives
	case c.origin == own && c.number == r.last:
		s.crossed = s.changed
	}
}

func tablesOf(rows map[string]*decidedRow) map[string]bool {
	out := map[string]bool{}
	for _, r := range rows {
		out[r.table] = true
	}
	return out
}

// writeAgain has rows that crossed be everywhere as they are here, which is as their owners made them. Only what differs would be
// replicated, so they go and come.
func (s *Server) writeAgain(ctx context.Context, region string, outage int64, rows map[string]*decidedRow) (bool, error) {
	again := false
	for _, r := range rows {
		again = again || r.crossed
	}
	if !again {
		return false, nil
	}
	return true, s.run(ctx, true, func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range rows {
			if !r.crossed {
				continue
			}
			outcome := storage.OutcomeOwnerStands
			if r.built {
				outcome = storage.OutcomeOpen // what the owner had first is in nobody's row any more
			} else if err := goAndCome(ctx, tx, r); err != nil {
				return err
			}
			other, err := encode(r.layout.stored, r.early)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE "+conflictTable+" c JOIN "+lateTable+" l ON l.region = c.region AND l.outage = c.outage AND l.number = c.number "+
				"SET c.outcome = ?, c.note = ?, c.before_row = l.before_row, c.late_row = l.after_row, c.other_row = ? "+
				"WHERE c.region = ? AND c.outage = ? AND c.number = ?", outcome, noteCrossed, other, region, outage, r.number)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func goAndCome(ctx context.Context, tx *sql.Tx, r *decidedRow) error {
	now, err := look(ctx, tx, r.layout, storage.ConflictPolicy{}, late{after: r.id})
	if err != nil || now.row == nil {
		return err // it was deleted here, and has a fault where it is not
	}
	for _, statement := range []string{r.layout.delete(now.row), r.layout.insert(now.row)} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// close notes that the region's outages are settled, and deletes what was decided on: what was in conflict is kept elsewhere.
func (s *Server) close(ctx context.Context, region string) error {
	return s.explain(ctx, "noting that the outage is settled", s.run(ctx, false, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+lateTable+" WHERE region = ?", region); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE "+outageTable+" SET phase = ? WHERE region = ? AND phase = ?", phaseSettled, region, phaseWithdrawn)
		return err
	}))
}
