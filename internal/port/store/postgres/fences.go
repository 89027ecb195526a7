package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// SetFences implements store.Server. Transactions that ask for a set that changes wait for it, as it does for those that hold
// the set: the longest transaction bounds how long that is.
func (s *Server) SetFences(ctx context.Context, f storage.Fences) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := s.write(ctx, func(tx pgx.Tx) error {
		// When the operator has gone, the server must not go on waiting with everybody behind it (from 14 on).
		if _, err := tx.Exec(ctx, "SET LOCAL client_connection_check_interval = '1s'"); err != nil {
			return err
		}
		// One at a time for each service.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('multiactive/fences/' || $1, 4711))", f.Service); err != nil {
			return err
		}
		moved, err := s.slotsMoved(ctx, tx, f)
		if err != nil {
			return err
		}
		if err := lockSets(ctx, tx, f, moved); err != nil {
			return err
		}
		if moved {
			if err := writeSlots(ctx, tx, f); err != nil {
				return err
			}
		}
		return writeFences(ctx, tx, f)
	})
	return s.explain("writing the fences of service "+f.Service, err)
}

// slotsMoved tells whether a slot is in another set than it should be.
func (s *Server) slotsMoved(ctx context.Context, tx pgx.Tx, f storage.Fences) (bool, error) {
	rows, err := tx.Query(ctx, "SELECT slot, slot_set FROM multiactive.fence_slot WHERE service = $1", f.Service)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	same := 0
	for rows.Next() {
		var slot, set int
		if err := rows.Scan(&slot, &set); err != nil {
			return false, err
		}
		if wanted, is := f.SetOf(slot); !is || wanted != set {
			return true, nil
		}
		same++
	}
	return same != f.SlotCount(), rows.Err()
}

// lockSets waits for those who hold sets that change: all of the service's when slots move between sets. Sets
// are locked in ascending order, so that nobody waits in a circle.
func lockSets(ctx context.Context, tx pgx.Tx, f storage.Fences, all bool) error {
	sets, owners, epochs := columns(f)
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || slot_set::text, 4711)) FROM (
		SELECT slot_set FROM (SELECT * FROM multiactive.fence WHERE service = $1) AS h FULL JOIN unnest($2::int[], $3::text[], $4::bigint[]) AS w(slot_set, owner, epoch)
			USING (slot_set)
		WHERE $5 OR (h.owner IS DISTINCT FROM w.owner OR h.epoch IS DISTINCT FROM w.epoch)
		ORDER BY slot_set) AS changed`, f.Service, sets, owners, epochs, all)
	return err
}

func columns(f storage.Fences) (sets []int32, owners []string, epochs []int64) {
	sets, owners, epochs = make([]int32, len(f.Fences)), make([]string, len(f.Fences)), make([]int64, len(f.Fences))
	for i, fence := range f.Fences {
		sets[i], owners[i], epochs[i] = int32(fence.Set), fence.Owner, fence.Epoch //nolint:gosec // sets have 31 bits
	}
	return sets, owners, epochs
}

func writeSlots(ctx context.Context, tx pgx.Tx, f storage.Fences) error {
	slots, sets := make([]int32, 0, f.SlotCount()), make([]int32, 0, f.SlotCount())
	for slot, set := range f.Sets() {
		slots, sets = append(slots, int32(slot)), append(sets, int32(set)) //nolint:gosec // slots have 31 bits
	}
	_, err := tx.Exec(ctx, `INSERT INTO multiactive.fence_slot AS h (service, slot, slot_set)
		SELECT $1, w.slot, w.slot_set FROM unnest($2::int[], $3::int[]) AS w(slot, slot_set)
		ON CONFLICT (service, slot) DO UPDATE SET slot_set = excluded.slot_set WHERE h.slot_set <> excluded.slot_set`, f.Service, slots, sets)
	if err == nil {
		_, err = tx.Exec(ctx, "DELETE FROM multiactive.fence_slot WHERE service = $1 AND NOT slot = ANY ($2)", f.Service, slots)
	}
	return err
}

func writeFences(ctx context.Context, tx pgx.Tx, f storage.Fences) error {
	sets, owners, epochs := columns(f)
	_, err := tx.Exec(ctx, `INSERT INTO multiactive.fence AS h (service, slot_set, owner, epoch)
		SELECT $1, w.slot_set, w.owner, w.epoch FROM unnest($2::int[], $3::text[], $4::bigint[]) AS w(slot_set, owner, epoch)
		ON CONFLICT (service, slot_set) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch
		WHERE (h.owner, h.epoch) IS DISTINCT FROM (excluded.owner, excluded.epoch)`, f.Service, sets, owners, epochs)
	if err == nil {
		_, err = tx.Exec(ctx, "DELETE FROM multiactive.fence WHERE service = $1 AND NOT slot_set = ANY ($2)", f.Service, sets)
	}
	return err
}

// RemoveFences implements store.Server. Transactions that hold a set of the service are waited for.
func (s *Server) RemoveFences(ctx context.Context, service string) error {
	return s.SetFences(ctx, storage.Fences{Service: service})
}

// Fences implements store.Server.
func (s *Server) Fences(ctx context.Context) ([]storage.Fences, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, "SELECT service, slot_set, owner, epoch FROM multiactive.fence ORDER BY service, slot_set")
	if err != nil {
		return nil, s.explain("reading fences", err)
	}
	defer rows.Close()
	var all []storage.Fences
	for rows.Next() {
		var service string
		var fence storage.Fence
		if err := rows.Scan(&service, &fence.Set, &fence.Owner, &fence.Epoch); err != nil {
			return nil, fmt.Errorf("reading fences: %w", err)
		}
		if len(all) == 0 || all[len(all)-1].Service != service {
			all = append(all, storage.Fences{Service: service})
		}
		last := &all[len(all)-1]
		last.Fences = append(last.Fences, fence)
	}
	return all, s.explain("reading fences", rows.Err())
}

// Lease implements store.Server.
func (s *Server) Lease(ctx context.Context, region string, validFor time.Duration) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	batch := &pgx.Batch{} // one round trip, also where the server is read-only for others
	batch.Queue("BEGIN READ WRITE")
	batch.Queue(`INSERT INTO multiactive.lease (region, valid_until) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
		ON CONFLICT (region) DO UPDATE SET valid_until = excluded.valid_until`, region, validFor.Seconds())
	batch.Queue("COMMIT")
	return s.explain("renewing the lease of region "+region, s.pool.SendBatch(ctx, batch).Close())
}
