package postgres

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

const noteCrossed = "changed by its owner while it was decided on"

// decidedRow is one that the server's region wrote when it was decided on.
type decidedRow struct {
	late
	layout *layout
	// early is what another region made of the row before it received that, and crossed tells whether there is such a version.
	early   row
	crossed bool
	// built: that region went on from what it received, or its log does not tell all of its version.
	built bool
}

// decisionID names a decision as the log of any region has it.
func decisionID(region, outage, number string) string { return region + "/" + outage + "/" + number }

// Verify implements store.Settler. The other regions' logs tell, in the slots that were held, whether one had changed a row before it received
// what was decided on it, and this server had not received that change when it decided.
func (s *Server) Verify(ctx context.Context, w storage.Want, others []storage.Source) (bool, error) {
	if err := settles(w); err != nil {
		return false, err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	noted, err := readOutage(ctx, s.pool, w.Region)
	if err != nil || noted.phase != phaseWithdrawn && noted.phase != phaseVerified {
		return err == nil, s.explain("reading what is known of the outage", err)
	}
	if noted.phase == phaseWithdrawn {
		if done, err := s.verify(ctx, w, noted, others); err != nil || !done {
			return false, s.explain("looking whether rows were changed while they were decided on", err)
		}
	}
	for _, other := range others {
		if err := s.dropHeld(ctx, w.Region, other); err != nil {
			return false, err
		}
	}
	err = s.note(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE multiactive.outage SET phase = $2 WHERE region = $1 AND phase = $3", w.Region, phaseSettled, phaseVerified)
		return err
	})
	return err == nil, s.explain("noting that the outage is settled", err)
}

func (s *Server) dropHeld(ctx context.Context, region string, other storage.Source) error {
	src, err := s.dialSource(ctx, other.Address)
	if err != nil {
		return err
	}
	defer src.close()
	return src.dropSlot(ctx, heldSlot(region))
}

func (s *Server) verify(ctx context.Context, w storage.Want, noted outage, others []storage.Source) (bool, error) {
	written, err := readLate(ctx, s.pool, "WHERE l.region = $1 AND NOT l.closed AND l.had IS NOT NULL ORDER BY l.outage, l.number", w.Region)
	if err != nil {
		return false, err
	}
	layouts := newLayouts(s)
	seen := watched{rows: map[string]*decidedRow{}, decisions: map[string]*decidedRow{}, layouts: layouts.known}
	for _, l := range written {
		r := &decidedRow{late: l}
		if r.layout, err = layouts.of(ctx, parseTable(l.table)); err != nil {
			return false, err
		}
		seen.rows[l.table+l.key] = r
		seen.decisions[decisionID(l.region, strconv.FormatInt(l.outage, 10), strconv.FormatInt(l.number, 10))] = r
	}
	for _, other := range others {
		if done, err := s.compare(ctx, w, noted, other, seen); err != nil || !done {
			return false, err
		}
	}
	again, err := s.writeAgain(ctx, w, seen)
	if err != nil || again {
		return false, err
	}
	return true, s.close(ctx, w.Region)
}

// close notes that nothing has crossed, and deletes what was decided on: what was in conflict is kept elsewhere. What a region that is lost lacks stays.
func (s *Server) close(ctx context.Context, region string) error {
	return s.note(ctx, func(tx pgx.Tx) error {
		for _, statement := range []string{
			"DELETE FROM multiactive.late_change WHERE region = $1 AND NOT resend",
			"UPDATE multiactive.late_change SET closed = true WHERE region = $1",
			"UPDATE multiactive.outage SET phase = '" + phaseVerified + "' WHERE region = $1 AND phase = '" + phaseWithdrawn + "'",
		} {
			if _, err := tx.Exec(ctx, statement, region); err != nil {
				return err
			}
		}
		return nil
	})
}

// watched are the rows that are looked for in the logs of others.
type watched struct {
	rows, decisions map[string]*decidedRow
	layouts         map[table]*layout
}

// course of a row in another region's log.
type course struct {
	early                                   row
	changed, known, arrived, crossed, built bool
	// last is where its last change by that region is.
	last int64
}

// compare reads what another region changed while rows were decided on. It tells whether that has all that was decided, and this server
// what that changed until then.
func (s *Server) compare(ctx context.Context, w storage.Want, noted outage, other storage.Source, seen watched) (bool, error) {
	src, err := s.dialSource(ctx, other.Address)
	if err != nil {
		return false, err
	}
	defer src.close()
	there, err := readOutage(ctx, src, w.Region)
	if err != nil || there.id != noted.id || there.phase != phaseReleased {
		return false, err
	}
	if len(seen.rows) == 0 || there.reached == noLink {
		return true, nil
	}
	courses, err := s.courses(ctx, src, w, other, seen)
	if err != nil {
		return false, err
	}
	at, err := applied(ctx, s.pool, linkName(other.Region))
	if err != nil {
		return false, err
	}
	for r, its := range courses {
		if !its.arrived || its.last >= at {
			return false, nil
		}
		if its.crossed {
			r.crossed, r.early, r.built = true, its.early, its.built || !its.known
		}
	}
	return true, nil
}

// courses reads them in the slot that was held.
func (s *Server) courses(ctx context.Context, src *source, w storage.Want, other storage.Source, seen watched) (map[*decidedRow]*course, error) {
	slot := heldSlot(w.Region)
	state, err := src.slot(ctx, slot)
	if err != nil {
		return nil, err
	}
	if !state.exists || state.lost {
		return nil, &store.UnsettledError{Why: fmt.Sprintf("region %s has not kept slot %s, which tells what its owners changed while rows were decided on: "+
			"compare the rows in multiactive.conflict with what users know of, then run there SELECT pg_drop_replication_slot(%s), if it is there, and "+
			"SELECT pg_create_logical_replication_slot(%s, 'pgoutput'); what was changed meanwhile is then not looked for", other.Region, slot, literal(slot), literal(slot))}
	}
	decided, err := src.decided(ctx, w.Region)
	if err != nil {
		return nil, err
	}
	courses := map[*decidedRow]*course{}
	for _, r := range seen.rows {
		courses[r] = &course{}
	}
	if err := src.skip(ctx, slot, seen.since(other.Region)); err != nil {
		return nil, fmt.Errorf("going on in slot %s of %s: %w", slot, other.Region, err)
	}
	if err := readSlot(ctx, src.Conn, slot, 0, seen.follow(other.Region, courses)); err != nil {
		return nil, fmt.Errorf("reading what %s changed while late changes were decided on: %w", other.Region, err)
	}
	for id, r := range seen.decisions {
		if its := courses[r]; !its.arrived && decided[id] == r.written {
			its.arrived, its.last = true, 0 // before the slot began, which a person has made in place of one that was lost
		}
	}
	return courses, nil
}

// since is a position before which nothing of a region's log is looked at.
func (s watched) since(region string) int64 {
	first := int64(-1)
	for _, r := range s.rows {
		if at := r.had[region]; first < 0 || at < first {
			first = at
		}
	}
	return first
}

// decided are the decisions that have arrived, and how often their rows had been written. It returns once all that was seen is on the disk: slots do not tell of
// what is not.
func (src *source) decided(ctx context.Context, region string) (map[string]int64, error) {
	rows, err := src.Query(ctx, "SELECT outage, number, written FROM multiactive.conflict WHERE region = $1", region)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for rows.Next() {
		var outage, number, written int64
		if err := rows.Scan(&outage, &number, &written); err != nil {
			return nil, err
		}
		found[decisionID(region, strconv.FormatInt(outage, 10), strconv.FormatInt(number, 10))] = written
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var end string
	if err := src.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&end); err != nil {
		return nil, err
	}
	for {
		var flushed bool
		if err := src.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn FROM pg_sleep(0.02)", end).Scan(&flushed); err != nil || flushed {
			return found, err
		}
	}
}

// skip moves a slot that is held on: the log of a long outage would be read each time.
func (src *source) skip(ctx context.Context, slot string, to int64) error {
	_, err := src.Exec(ctx, `SELECT pg_replication_slot_advance(slot_name, '0/0'::pg_lsn + $2::numeric) FROM pg_replication_slots
		WHERE slot_name = $1 AND NOT active AND confirmed_flush_lsn < '0/0'::pg_lsn + $2::numeric`, slot, to)
	return err
}

// follow takes changes out of the log of a region.
func (s watched) follow(region string, courses map[*decidedRow]*course) func(change) error {
	return func(c change) error {
		if c.table == conflictTable && c.after != nil {
			if r := s.decisions[decisionID(constantOf(c.after["region"]), constantOf(c.after["outage"]), constantOf(c.after["number"]))]; r != nil {
				its := courses[r]
				if !its.arrived && constantOf(c.after["written"]) == strconv.FormatInt(r.written, 10) {
					its.arrived, its.crossed = true, its.changed
				}
			}
		}
		l := s.layouts[c.table]
		if c.origin != "" || c.kind == 'T' || l == nil {
			return nil // no row of such a table was decided on, or others tell
		}
		return l.split(c, func(key string, one change) error {
			if r := s.rows[l.table.String()+key]; r != nil {
				courses[r].take(one, r.had[region])
			}
			return nil
		})
	}
}

// take is the next change of the row by the region itself.
func (s *course) take(c change, had int64) {
	switch {
	case c.at < had:
	case s.crossed:
		s.built, s.last = true, c.at
	case !s.arrived:
		s.changed, s.last = true, c.at // until what was decided on arrives
		s.early, s.known = c.after.with(c.before)
	}
}

// writeAgain has rows that crossed be everywhere as they are here, which is as their owners made them.
func (s *Server) writeAgain(ctx context.Context, w storage.Want, seen watched) (bool, error) {
	var crossed []*decidedRow
	for _, r := range seen.rows {
		if r.crossed {
			crossed = append(crossed, r)
		}
	}
	if len(crossed) == 0 {
		return false, nil
	}
	if err := s.bringBack(ctx, crossed); err != nil {
		return true, err
	}
	return true, s.settling(ctx, "", func(tx pgx.Tx) error {
		for _, r := range crossed {
			if err := writeCrossed(ctx, tx, w, r); err != nil {
				return fmt.Errorf("table %s, row %s: %w", r.table, shortKey(r.key), err)
			}
		}
		return nil
	})
}

// bringBack has rows be here that others have and that their owner had deleted, for them to be deleted everywhere: what is not here cannot be.
func (s *Server) bringBack(ctx context.Context, crossed []*decidedRow) error {
	return s.settling(ctx, lateOrigin, func(tx pgx.Tx) error {
		for _, r := range crossed {
			if r.built || r.early != nil || r.is == nil {
				continue
			}
			now, err := r.layout.look(ctx, tx, r.is)
			if err == nil && now == nil {
				_, err = tx.Exec(ctx, r.layout.insert(r.is))
			}
			if err != nil {
				return fmt.Errorf("table %s, row %s: %w", r.table, shortKey(r.key), err)
			}
		}
		return nil
	})
}

// writeCrossed has a row be as its owner had it, unless that went on from there, or somebody else has changed it since.
func writeCrossed(ctx context.Context, tx pgx.Tx, w storage.Want, r *decidedRow) error {
	now, err := r.layout.look(ctx, tx, r.id)
	if err != nil {
		return err
	}
	had, err := has(ctx, tx, w)
	if err != nil {
		return err
	}
	outcome, is := storage.OutcomeOwnerStands, now
	switch {
	case r.built:
		outcome = storage.OutcomeOpen // what the owner had first is in nobody's row any more
	case now == nil || now.same(r.is):
		is = r.early
	}
	if !r.built {
		if err := r.layout.replace(ctx, tx, now, is); err != nil {
			return err
		}
	}
	names := r.layout.names()
	if err := wrote(ctx, tx, r.late, r.written+1, encode(names, is), had); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE multiactive.conflict SET outcome = CASE WHEN outcome = 'Open' THEN outcome ELSE $4 END, note = $5, before_row = $6, late_row = $7,
		other_row = $8, written = $9 WHERE region = $1 AND outage = $2 AND number = $3`,
		r.region, r.outage, r.number, string(outcome), noteCrossed, r.beforeText, r.afterText, encode(names, r.early), r.written+1)
	return err
}
