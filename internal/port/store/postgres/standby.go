package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// A replica that becomes the primary must have kept what it wrote since, or everybody would have to be seeded
// again: PostgreSQL carries no slots over. So every replica has a slot for each of the others. While the replica
// is read-only only what it applies is in its log, and the slots may skip that: they are moved on.
// When it is made writable they stay where they are, and it is noted what it had by then (the base). Whoever has
// as much as the base needs nothing but what follows.

// standbyLag is how much log a replica keeps for its slots, in bytes.
const standbyLag = 16 << 20

// standbySlots are the regions that a server keeps slots for.
func standbySlots(w storage.Want) []string {
	if w.Mesh || w.Writable {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(w.Regions), func(region string) bool { return region == w.Region })
}

func (s *Server) ensureStandbySlots(ctx context.Context, w storage.Want) error {
	for _, region := range standbySlots(w) {
		if err := s.ensureStandbySlot(ctx, region); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) ensureStandbySlot(ctx context.Context, region string) error {
	slot := linkName(region)
	var exists, lost bool
	err := s.pool.QueryRow(ctx, `SELECT count(*) > 0, coalesce(bool_or(wal_status = 'lost' AND NOT active), false)
			FROM pg_replication_slots WHERE slot_name = $1`, slot).Scan(&exists, &lost)
	if err != nil || exists && !lost {
		return err
	}
	if lost {
		if _, err := s.pool.Exec(ctx, "SELECT pg_drop_replication_slot($1)", slot); err != nil {
			return fmt.Errorf("dropping slot %s, which has lost its log: %w", slot, err)
		}
	}
	// Noted first: a slot that nobody knows of would be kept in place for ever.
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO multiactive.standby (region, slot) VALUES ($1, $2)
				ON CONFLICT (region) DO UPDATE SET slot = excluded.slot, base = NULL`, region, slot)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	if err != nil && !hasCode(err, codeDuplicateObject) {
		return fmt.Errorf("making slot %s: %w", slot, err)
	}
	return nil
}

// advanceStandbySlots moves slots that nobody reads to the end of the log.
const advanceStandbySlots = `SELECT count(pg_replication_slot_advance(s.slot_name, pg_current_wal_flush_lsn()))` + idleStandbySlots

const idleStandbySlots = `
	FROM multiactive.standby b JOIN pg_replication_slots s ON s.slot_name = b.slot
	WHERE NOT s.active AND s.database = current_database() AND s.wal_status <> 'lost'`

// standbyLock is held by whoever moves slots, and while the server is made writable: a slot that were moved
// after an application has written would lose that.
const standbyLock = `hashtextextended('multiactive/standby', 4711)`

// keepStandbySlots moves the slots of a replica on when they keep too much. It asks whether the server is still
// read-only once it has the lock, in a statement of its own: a session takes up settings between two.
func keepStandbySlots(ctx context.Context, conn *pgxpool.Conn) error {
	var lagging bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT"+idleStandbySlots+
		" AND pg_wal_lsn_diff(pg_current_wal_flush_lsn(), s.confirmed_flush_lsn) > $1)", standbyLag).Scan(&lagging)
	if err != nil || !lagging {
		return err
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadWrite, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var locked bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock("+standbyLock+")").Scan(&locked); err != nil || !locked {
			return err
		}
		if _, err := tx.Exec(ctx, advanceStandbySlots+" AND current_setting('default_transaction_read_only')::boolean"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE multiactive.standby SET base = NULL WHERE base IS NOT NULL AND current_setting('default_transaction_read_only')::boolean")
		return err
	})
}

// renewStandbySlots makes slots anew that have lost their log, while nobody but links writes: what they lost is
// what the others have as well.
func (s *Server) renewStandbySlots(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, `SELECT b.region FROM multiactive.standby b JOIN pg_replication_slots s ON s.slot_name = b.slot
		WHERE NOT s.active AND s.wal_status = 'lost'`)
	if err != nil {
		return err
	}
	regions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, region := range regions {
		if err := s.ensureStandbySlot(ctx, region); err != nil {
			return err
		}
	}
	return nil
}

// promote fixes the base of the slots that a replica has kept for others. The transaction holds standbyLock.
func promote(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, advanceStandbySlots); err != nil {
		return fmt.Errorf("moving the slots of the other regions: %w", err)
	}
	_, err := tx.Exec(ctx, `UPDATE multiactive.standby SET base = coalesce((SELECT jsonb_object_agg(p.region, p.position) FROM
		(SELECT region, max(position) - '0/0'::pg_lsn AS position FROM (`+appliedPositions+`) AS a GROUP BY region) AS p), '{}')`)
	return err
}

// appliedPositions are, by region, what links have applied and what was applied through links that are gone.
const appliedPositions = `SELECT l.region, o.remote_lsn AS position FROM multiactive.link l
	JOIN pg_subscription s ON s.subname = l.subscription AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
	JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
	UNION ALL SELECT region, position FROM multiactive.applied`

// admit tells whether a link may begin with a slot that the source has kept for this server.
func (s *Server) admit(ctx context.Context, src *source, w storage.Want, from storage.Source, tables []table) error {
	base, err := src.base(ctx, w.Region)
	if err != nil {
		return err
	}
	if base == nil {
		// A slot that was left behind by an attempt. It does for a source that has nothing yet.
		rows, err := withRows(ctx, src.Conn, tables, "")
		if err != nil || len(rows) == 0 {
			return err
		}
		why := fmt.Sprintf("region %s has rows in %v, and its slot %s does not tell what of them is here", from.Region, rows, linkName(w.Region))
		return &store.BootstrapError{Bootstrap: s.bootstrap(w, from, why, false)}
	}
	mine, err := s.Positions(ctx, w)
	if err != nil {
		return err
	}
	for _, region := range slices.Sorted(maps.Keys(base)) {
		if missing := base[region] - mine[region]; missing > 0 {
			why := fmt.Sprintf("region %s had %d bytes of region %s's log when it became the primary that are not here", from.Region, missing, region)
			return &store.BootstrapError{Bootstrap: s.bootstrap(w, from, why, false)}
		}
	}
	return nil
}

// base is what the source had when it became the primary, nil when its slot for the region has none.
func (src *source) base(ctx context.Context, region string) (storage.Positions, error) {
	var text []byte
	err := src.QueryRow(ctx, "SELECT base FROM multiactive.standby WHERE region = $1 AND slot = $2", region, linkName(region)).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && text == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var base storage.Positions
	if err := json.Unmarshal(text, &base); err != nil {
		return nil, fmt.Errorf("reading what region %s was based on: %w", region, err)
	}
	return base, nil
}
