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

// What a lost region had not shipped (docs/adr/0016, docs/adr/0020) is settled in meshes. Both directions are held: the others neither
// receive from the region, nor does it from them before it has taken its changes back, as PostgreSQL passes over an update and a delete of
// a row that is not there without a word.

var _ store.Settler = (*Server)(nil)

// Phases of an outage, as a server notes them: Held and Released on those that receive from the region, the others on its own.
const (
	phaseHeld      = "Held"
	phaseReleased  = "Released"
	phaseWithdrawn = "Withdrawn"
	phaseVerified  = "Verified"
	phaseSettled   = "Settled"
)

// noLink is where a server is in the changes of a region that it has no link from.
const noLink = -1

// outage is a server's note about one.
type outage struct {
	id    int64
	phase string
	// reached is the position of the region's changes that the server had when it held.
	reached int64
	// cut is the end of what was withdrawn, on the region's own server; 0 if nothing is.
	cut int64
}

// readOutage reads a server's note about a region's newest outage; the zero outage without one.
func readOutage(ctx context.Context, q querier, region string) (outage, error) {
	var o outage
	err := q.QueryRow(ctx, "SELECT id, phase, reached, cut FROM multiactive.outage WHERE region = $1", region).Scan(&o.id, &o.phase, &o.reached, &o.cut)
	if errors.Is(err, pgx.ErrNoRows) || hasCode(err, codeUndefinedTable, codeUndefinedSchema) {
		return outage{}, nil
	}
	return o, err
}

func writeOutage(ctx context.Context, tx pgx.Tx, region string, o outage) error {
	_, err := tx.Exec(ctx, `INSERT INTO multiactive.outage (region, id, phase, reached, cut) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (region) DO UPDATE SET id = excluded.id, phase = excluded.phase, reached = excluded.reached, cut = excluded.cut`,
		region, o.id, o.phase, o.reached, o.cut)
	return err
}

// settles refuses what cannot be settled. With one writable region a lost primary becomes a replica by seeding, or goes on as it is.
func settles(w storage.Want) error {
	if !w.Mesh {
		return fmt.Errorf("settling what a lost region had not shipped, where one region is written to: %w", store.ErrUnsupported)
	}
	return nil
}

// Hold implements store.Settler.
func (s *Server) Hold(ctx context.Context, w storage.Want, o storage.Outage) (bool, error) {
	if err := settles(w); err != nil {
		return false, err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	held, err := s.holdLink(ctx, o)
	return held, s.explain("receiving nothing more from "+o.Region, err)
}

func (s *Server) holdLink(ctx context.Context, o storage.Outage) (bool, error) {
	noted, err := readOutage(ctx, s.pool, o.Region)
	if err != nil {
		return false, err
	}
	existing, err := s.subscription(ctx, linkName(o.Region))
	switch {
	case err != nil:
		return false, err
	case noted.id == o.ID && (noted.phase == phaseReleased || existing == nil || !existing.enabled):
		return true, nil
	}
	if existing != nil {
		if ended, err := s.endLink(ctx, o, existing); err != nil || !ended {
			return false, err
		}
	}
	if err := s.holdSlot(ctx, o.Region); err != nil {
		return false, err
	}
	// What links applied may not be on the disk yet: with this commit it is, and so is where they are.
	return true, s.note(ctx, func(tx pgx.Tx) error {
		at := outage{id: o.ID, phase: phaseHeld, reached: noLink}
		if existing != nil {
			if at.reached, err = applied(ctx, tx, existing.name); err != nil {
				return err
			}
		}
		return writeOutage(ctx, tx, o.Region, at)
	})
}

// endLink disables a link once what it received is applied.
func (s *Server) endLink(ctx context.Context, o storage.Outage, existing *subscription) (bool, error) {
	unknown, err := s.unknownTables(ctx, existing.name, []string{conflictTable.String()})
	if err != nil {
		return false, err
	}
	if slices.Contains(unknown, conflictTable) {
		return false, fmt.Errorf("the link does not carry %s yet, which it does once %s can be reached: until then its changes come as they are", conflictTable, o.Region)
	}
	if busy, err := s.applying(ctx, o); err != nil || busy {
		return false, err
	}
	return true, s.disable(ctx, existing)
}

// applied is the end of the last transaction that a link has applied.
func applied(ctx context.Context, q querier, link string) (int64, error) {
	var at int64
	err := q.QueryRow(ctx, `SELECT coalesce(max(o.remote_lsn - '0/0'::pg_lsn), 0)::bigint FROM pg_subscription s
		JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
		WHERE s.subname = $1 AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, link).Scan(&at)
	return at, err
}

// drainFor is how long, in seconds, a link that still gets something from a region that was lost may go on: that region may be alive.
const drainFor = 15

// applying tells whether the link's worker may still be busy with what has reached this server. It reads what its connection holds as it applies
// it, so one that has had nothing for a second has applied all.
func (s *Server) applying(ctx context.Context, o storage.Outage) (bool, error) {
	var busy bool
	err := s.pool.QueryRow(ctx, `SELECT coalesce(bool_or(clock_timestamp() - last_msg_receipt_time < interval '1 second'), false)
		AND abs(extract(epoch FROM clock_timestamp()) - $2::float8) < $3
		FROM pg_stat_subscription WHERE subname = $1 AND pid IS NOT NULL AND relid IS NULL`, linkName(o.Region), float64(o.ID)/1e6, drainFor).Scan(&busy)
	return busy, err
}

// Held implements store.Settler.
func (s *Server) Held(ctx context.Context) ([]storage.Outage, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, "SELECT region, id FROM multiactive.outage WHERE phase = $1 ORDER BY region", phaseHeld)
	var held []storage.Outage
	if err == nil {
		held, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (storage.Outage, error) {
			var o storage.Outage
			err := row.Scan(&o.Region, &o.ID)
			return o, err
		})
	}
	if hasCode(err, codeUndefinedTable, codeUndefinedSchema) {
		return nil, nil
	}
	return held, s.explain("reading which links are held", err)
}

// Release implements store.Settler. The link's position goes behind what was withdrawn in the transaction that notes it.
func (s *Server) Release(ctx context.Context, w storage.Want, o storage.Outage, from storage.Source) (bool, error) {
	if err := settles(w); err != nil {
		return false, err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	noted, err := readOutage(ctx, s.pool, o.Region)
	if err != nil {
		return false, s.explain("reading what is known of an outage", err)
	}
	if noted.id == o.ID && noted.phase == phaseReleased {
		return true, s.explain("removing a slot that is not needed any more", s.forgetSlot(ctx, o, from))
	}
	there, gone, err := s.askWithdrawn(ctx, o, from)
	if err != nil {
		return false, fmt.Errorf("asking the server of %s whether it has withdrawn what it had not shipped: %w", o.Region, s.scrub(err))
	}
	if there.id != o.ID || there.phase == phaseHeld || there.phase == phaseReleased {
		return false, nil
	}
	// What this region has changed since is still to be looked at there, unless all is done.
	keep := there.phase == phaseWithdrawn && there.cut > 0
	if err := s.releaseSlot(ctx, o.Region, keep); err != nil {
		return false, s.explain("letting "+o.Region+" receive again", err)
	}
	if noted.id != o.ID {
		noted.reached = noLink
	}
	there.reached = noted.reached
	err = s.moveOn(ctx, o, there, gone)
	return err == nil, s.explain("going on behind what "+o.Region+" has withdrawn", err)
}

// forgetSlot drops the slot that was held, where the region has settled all while this one was lost and could not be asked for it.
func (s *Server) forgetSlot(ctx context.Context, o storage.Outage, from storage.Source) error {
	state, err := s.slotOf(ctx, heldSlot(o.Region))
	if err != nil || !state.exists {
		return err
	}
	if there, _, err := s.askWithdrawn(ctx, o, from); err == nil && (there.id != o.ID || there.phase != phaseWithdrawn) {
		return s.endSlot(ctx, heldSlot(o.Region))
	}
	return nil // it stays, and does no harm
}

// askWithdrawn reads the region's own note, and the rows that it had deleted and this server may still have.
func (s *Server) askWithdrawn(ctx context.Context, o storage.Outage, from storage.Source) (outage, []goneRow, error) {
	src, err := s.dialSource(ctx, from.Address)
	if err != nil {
		return outage{}, nil, err
	}
	defer src.close()
	there, err := readOutage(ctx, src, o.Region)
	if err != nil || there.cut == 0 {
		return there, nil, err
	}
	rows, err := src.Query(ctx, `SELECT table_name, row_key, id_row, versions FROM multiactive.late_change
		WHERE region = $1 AND outage = $2 AND resend AND before_row = ''`, o.Region, o.ID)
	if err != nil {
		return there, nil, err
	}
	gone, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (goneRow, error) {
		var g goneRow
		var id string
		err := r.Scan(&g.table, &g.key, &id, &g.versions)
		if err == nil {
			g.id, err = decode(id)
		}
		return g, err
	})
	return there, gone, err
}

func (s *Server) moveOn(ctx context.Context, o storage.Outage, there outage, gone []goneRow) error {
	existing, err := s.subscription(ctx, linkName(o.Region))
	if err != nil {
		return err
	}
	done := outage{id: o.ID, phase: phaseReleased, reached: there.reached, cut: there.cut}
	if existing == nil || there.cut == 0 {
		return s.note(ctx, func(tx pgx.Tx) error { return writeOutage(ctx, tx, o.Region, done) })
	}
	if err := s.disable(ctx, existing); err != nil {
		return err
	}
	var origin string
	if err := s.pool.QueryRow(ctx, "SELECT 'pg_' || oid FROM pg_subscription WHERE subname = $1 AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
		existing.name).Scan(&origin); err != nil {
		return err
	}
	layouts := newLayouts(s)
	return s.settling(ctx, origin, func(tx pgx.Tx) error {
		at, err := applied(ctx, tx, existing.name)
		if err != nil {
			return err
		}
		if at < there.cut {
			if err := removeGone(ctx, tx, layouts, gone); err != nil {
				return err
			}
			// Canaries that the region had deleted in what is not received would stay for ever.
			if _, err := tx.Exec(ctx, "DELETE FROM multiactive.canary WHERE region = $1", o.Region); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "SELECT pg_replication_origin_xact_setup('0/0'::pg_lsn + $1::numeric, now())", there.cut); err != nil {
				return err
			}
		}
		return writeOutage(ctx, tx, o.Region, done)
	})
}

// goneRow is a row that the region does not have, and that others may have got from it.
type goneRow struct {
	table, key string
	id         row
	versions   []string
}

// removeGone deletes rows here that the region had deleted, and others have received: nothing of it can be sent again. A row that was changed
// since is not that row any more.
func removeGone(ctx context.Context, tx pgx.Tx, layouts *layouts, gone []goneRow) error {
	for _, g := range gone {
		l, err := layouts.of(ctx, parseTable(g.table))
		if err != nil {
			return err
		}
		now, err := l.look(ctx, tx, g.id)
		if err == nil && now != nil && slices.Contains(g.versions, now.sum()[0]) {
			_, err = tx.Exec(ctx, l.delete(now))
		}
		if err != nil {
			return fmt.Errorf("table %s, row %s: %w", g.table, shortKey(g.key), err)
		}
	}
	return nil
}

// Forgo implements store.Settler.
func (s *Server) Forgo(ctx context.Context, w storage.Want, o storage.Outage) error {
	if !w.Mesh {
		return nil // nothing is ever withdrawn
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.explain("noting that an outage is not settled", s.forgo(ctx, w, o))
}

func (s *Server) forgo(ctx context.Context, w storage.Want, o storage.Outage) error {
	noted, err := readOutage(ctx, s.pool, o.Region)
	if err != nil || noted.id == o.ID && noted.phase != phaseHeld {
		return err
	}
	done := outage{id: o.ID, phase: phaseReleased, reached: noted.reached}
	if o.Region != w.Region {
		if err := s.releaseSlot(ctx, o.Region, false); err != nil {
			return err
		}
		return s.note(ctx, func(tx pgx.Tx) error { return writeOutage(ctx, tx, o.Region, done) })
	}
	done.phase = phaseSettled
	left, err := readLate(ctx, s.pool, undecided, o.Region)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		done.phase = phaseWithdrawn // of an outage before this one
	}
	return s.note(ctx, func(tx pgx.Tx) error { return writeOutage(ctx, tx, o.Region, done) })
}
