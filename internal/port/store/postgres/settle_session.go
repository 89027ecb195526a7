package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// lateOrigin marks what puts rows back, so that links leave it out (origin = none).
const lateOrigin = "multiactive_late"

// rowSettings decide how values are written, and what names in statements mean.
var rowSettings = append([]string{"search_path = pg_catalog", "row_security = off"}, digestSettings...)

// asWorkers have a session write rows as links do: without triggers, rules, and checks of foreign keys, which these rows passed once.
var asWorkers = []string{"session_replication_role = 'replica'", "synchronous_commit = on"}

func set(ctx context.Context, tx pgx.Tx, settings []string) error {
	for _, setting := range settings {
		if _, err := tx.Exec(ctx, "SET LOCAL "+setting); err != nil {
			return err
		}
	}
	return nil
}

// settling runs a transaction on a connection of its own, in the name of an origin, or of this server without one. Whoever used such a connection
// after it would write in the same name.
func (s *Server) settling(ctx context.Context, origin string, f func(pgx.Tx) error) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
		defer cancel()
		_ = conn.Close(last)
	}()
	if origin != "" {
		if _, err := conn.Exec(ctx, "SELECT pg_replication_origin_session_setup($1)", origin); err != nil {
			return fmt.Errorf("writing in the name of origin %s: %w", origin, err)
		}
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadWrite, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := set(ctx, tx, slices.Concat(asWorkers, rowSettings)); err != nil {
			return err
		}
		return f(tx)
	})
}

// note runs a transaction that is on the disk at its end, with all that was written before it.
func (s *Server) note(ctx context.Context, f func(pgx.Tx) error) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		return f(tx)
	})
}

// heldSlot is what a region's slot is called while the region is to receive nothing, and afterwards until it has looked through it.
func heldSlot(region string) string { return "held_" + linkName(region) }

func heldSlots(regions []string) []string {
	names := make([]string, len(regions))
	for i, region := range regions {
		names[i] = heldSlot(region)
	}
	return names
}

// slotOf returns a slot of this server.
func (s *Server) slotOf(ctx context.Context, name string) (slotState, error) {
	var state slotState
	err := s.pool.QueryRow(ctx, "SELECT count(*) > 0, coalesce(bool_or(active), false), coalesce(bool_or(wal_status = 'lost'), false) FROM pg_replication_slots WHERE slot_name = $1", name).
		Scan(&state.exists, &state.active, &state.lost)
	return state, err
}

// holdSlot gives a region's slot another name: it keeps what the region has not read, and the region does not find it.
func (s *Server) holdSlot(ctx context.Context, region string) error {
	if err := s.copySlot(ctx, linkName(region), heldSlot(region)); err != nil {
		return err
	}
	return s.endSlot(ctx, linkName(region))
}

// releaseSlot gives it its name back. keep leaves the other one.
func (s *Server) releaseSlot(ctx context.Context, region string, keep bool) error {
	if err := s.copySlot(ctx, heldSlot(region), linkName(region)); err != nil || keep {
		return err
	}
	return s.endSlot(ctx, heldSlot(region))
}

// copySlot does nothing when the copy is there, or the slot is not, or has lost its log.
func (s *Server) copySlot(ctx context.Context, name, copied string) error {
	from, err := s.slotOf(ctx, name)
	if err != nil || !from.exists || from.lost {
		return err
	}
	to, err := s.slotOf(ctx, copied)
	if err != nil || to.exists {
		return err
	}
	_, err = s.pool.Exec(ctx, "SELECT pg_copy_logical_replication_slot($1, $2)", name, copied)
	if hasCode(err, codeDuplicateObject) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copying slot %s: %w", name, err)
	}
	return nil
}

// endSlot drops a slot, and ends who reads from it.
func (s *Server) endSlot(ctx context.Context, name string) error {
	for {
		state, err := s.slotOf(ctx, name)
		if err != nil || !state.exists {
			return err
		}
		if state.active {
			_, err = s.pool.Exec(ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL", name)
		} else {
			_, err = s.pool.Exec(ctx, "SELECT pg_drop_replication_slot($1)", name)
		}
		if err != nil && !hasCode(err, codeObjectInUse, codeUndefinedObject) {
			return fmt.Errorf("dropping slot %s: %w", name, err)
		}
		if _, err := s.pool.Exec(ctx, "SELECT pg_sleep(0.02)"); err != nil {
			return err
		}
	}
}
