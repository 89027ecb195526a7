package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// Withdraw implements store.Settler.
func (s *Server) Withdraw(ctx context.Context, w storage.Want, o storage.Outage, others []storage.Source) error {
	if err := settles(w); err != nil {
		return err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	noted, err := readOutage(ctx, s.pool, w.Region)
	switch {
	case err != nil:
		return s.explain("reading what is known of the outage", err)
	case noted.id == o.ID:
		return s.SetWritable(ctx, true) // whoever withdrew may not have come that far
	}
	r, err := s.reach(ctx, w, o, others)
	if err != nil {
		return err
	}
	// Links before writers: what is on the disk when writers have ended is all that is looked at.
	stopped, err := s.stopLinks(ctx, w)
	if err == nil {
		err = s.SetWritable(ctx, false)
	}
	if err == nil {
		err = s.explain("taking back what no other region has", s.withdraw(ctx, o, r))
	}
	// Also after a failure: it is told, and nothing that arrives is lost meanwhile.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
	defer cancel()
	return errors.Join(err, s.startLinks(last, stopped), s.SetWritable(last, w.Writable))
}

// reach is how far the others have this server's own changes.
type reach struct {
	// lacking is the position of the one that has least, most of the one that has most; a region that cannot be asked has at least what its slot says.
	lacking, most int64
	// slot has all changes from lacking on.
	slot string
	// unasked: there are such regions.
	unasked bool
}

// reach asks the others, all of which must hold. One that has no link is left out: it has to be seeded.
func (s *Server) reach(ctx context.Context, w storage.Want, o storage.Outage, others []storage.Source) (reach, error) {
	asked := map[string]int64{}
	for _, other := range others {
		at, err := s.reached(ctx, o, other)
		if err != nil {
			return reach{}, fmt.Errorf("asking the server of %s how much it has of this region's changes: %w", other.Region, err)
		}
		asked[other.Region] = at
	}
	r, lowest := reach{lacking: -1}, int64(-1)
	for _, region := range w.Regions {
		if region == w.Region {
			continue
		}
		slot, confirmed, err := s.confirmed(ctx, region)
		if err != nil {
			return reach{}, s.explain("reading what others have", err)
		}
		at, known := asked[region]
		if known {
			r.most = max(r.most, at, confirmed)
		}
		if slot == "" {
			continue // its link has lost what comes next, or was never made
		}
		r.unasked = r.unasked || !known
		if at = max(at, confirmed); r.lacking < 0 || at < r.lacking {
			r.lacking = at
		}
		if lowest < 0 || confirmed < lowest {
			lowest, r.slot = confirmed, slot
		}
	}
	if r.slot == "" {
		return reach{}, unsettled("this server keeps its log for no other region")
	}
	r.most = max(r.most, r.lacking)
	return r, nil
}

// reached is what another region has, as it noted when it held.
func (s *Server) reached(ctx context.Context, o storage.Outage, other storage.Source) (int64, error) {
	src, err := s.dialSource(ctx, other.Address)
	if err != nil {
		return 0, fmt.Errorf("%w (%w)", store.ErrNotHeld, err)
	}
	defer src.close()
	noted, err := readOutage(ctx, src, o.Region)
	if err != nil {
		return 0, fmt.Errorf("%w (%w)", store.ErrNotHeld, s.scrub(err))
	}
	if noted.id != o.ID || noted.phase != phaseHeld {
		return 0, store.ErrNotHeld
	}
	return noted.reached, nil
}

// confirmed is the slot that a region reads from, and up to where it has told that it has everything; "" without one that has its log.
func (s *Server) confirmed(ctx context.Context, region string) (slot string, at int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT slot_name, (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots
		WHERE slot_name = ANY ($1) AND wal_status <> 'lost' AND database = current_database() ORDER BY slot_name = $2 DESC LIMIT 1`,
		[]string{linkName(region), heldSlot(region)}, linkName(region)).Scan(&slot, &at)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", 0, nil
	}
	return slot, at, err
}

// stopLinks stops those that run.
func (s *Server) stopLinks(ctx context.Context, w storage.Want) ([]*subscription, error) {
	var stopped []*subscription
	for _, region := range w.Regions {
		existing, err := s.subscription(ctx, linkName(region))
		if err == nil && existing != nil && existing.enabled {
			stopped = append(stopped, existing)
			err = s.disable(ctx, existing)
		}
		if err != nil {
			return stopped, s.explain("stopping the link from "+region, err)
		}
	}
	return stopped, nil
}

func (s *Server) startLinks(ctx context.Context, stopped []*subscription) error {
	var failed []error
	for _, link := range stopped {
		failed = append(failed, s.explain("starting "+link.name, s.write(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "ALTER SUBSCRIPTION "+quote(link.name)+" ENABLE")
			return err
		})))
	}
	return errors.Join(failed...)
}

func (s *Server) withdraw(ctx context.Context, o storage.Outage, r reach) error {
	var cut int64
	if err := s.pool.QueryRow(ctx, "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint").Scan(&cut); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL", r.slot)
	if err != nil {
		return err
	}
	h := &history{layouts: newLayouts(s), shared: r.most, rows: map[string]*touched{}}
	if err := readSlot(ctx, s.pool, r.slot, r.lacking, h.note(ctx)); err != nil {
		return err
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT pg_replication_origin_create($1) WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = $1)", lateOrigin)
		return err
	})
	if err != nil {
		return err
	}
	return s.settling(ctx, lateOrigin, func(tx pgx.Tx) error {
		// Another manager may be at it as well.
		if _, err := tx.Exec(ctx, "LOCK TABLE multiactive.outage IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		if noted, err := readOutage(ctx, tx, o.Region); err != nil || noted.id == o.ID {
			return err
		}
		if err := putBack(ctx, tx, h.order); err != nil {
			return err
		}
		if err := keep(ctx, tx, o, h.order, r.unasked); err != nil {
			return err
		}
		return writeOutage(ctx, tx, o.Region, outage{id: o.ID, phase: phaseWithdrawn, reached: r.most, cut: cut})
	})
}

// putBack has rows be as they would be without what nobody else has. All go first: unique keys may have moved from one to another.
func putBack(ctx context.Context, tx pgx.Tx, all []*touched) error {
	back := slices.DeleteFunc(slices.Clone(all), func(t *touched) bool { return !t.late })
	for _, t := range back {
		if _, err := tx.Exec(ctx, t.layout.delete(t.id)); err != nil {
			return fmt.Errorf("table %s, row %s: %w", t.layout.table, shortKey(t.key), err)
		}
	}
	for _, t := range back {
		if t.without == nil {
			continue
		}
		if _, err := tx.Exec(ctx, t.layout.insert(t.without)); err != nil {
			return fmt.Errorf("table %s, row %s: %w", t.layout.table, shortKey(t.key), err)
		}
	}
	return nil
}

// keep writes the changes for Decide, in place of those of outages that are settled.
func keep(ctx context.Context, tx pgx.Tx, o storage.Outage, all []*touched, unasked bool) error {
	if _, err := tx.Exec(ctx, "DELETE FROM multiactive.late_change WHERE region = $1 AND closed", o.Region); err != nil {
		return err
	}
	number := 0
	var kept [][]any
	for _, t := range all {
		names := t.layout.names()
		before, after := encode(names, t.before), encode(names, t.after)
		if resend := t.resend || unasked; !resend && before == after {
			continue // what was made and removed again
		}
		again, err := undone(ctx, tx, t)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		versions := []string{}
		if before == "" && (t.resend || unasked) {
			versions = slices.Compact(t.versions)
		}
		number++
		kept = append(kept, []any{o.Region, o.ID, int64(number), t.layout.table.String(), t.key, encode(names, t.id), versions, before, after, t.resend || unasked, t.written})
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{store.Schema, "late_change"},
		[]string{"region", "outage", "number", "table_name", "row_key", "id_row", "versions", "before_row", "after_row", "resend", "written_at"}, pgx.CopyFromRows(kept))
	return err
}

// undone tells of a decision that was taken back, and will be made again, because what was decided on is there.
func undone(ctx context.Context, tx pgx.Tx, t *touched) (bool, error) {
	if t.layout.table != conflictTable || t.before != nil || t.resend || t.after == nil {
		return false, nil
	}
	var again bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM multiactive.late_change WHERE NOT closed AND region = $1 AND outage::text = $2 AND number::text = $3)`,
		constantOf(t.after["region"]), constantOf(t.after["outage"]), constantOf(t.after["number"])).Scan(&again)
	return again, err
}

func constantOf(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}
