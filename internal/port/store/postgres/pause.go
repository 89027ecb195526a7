package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// Pause implements store.Server. The slot at the source keeps what comes meanwhile.
func (s *Server) Pause(ctx context.Context, from string) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	doing := "pausing the link from region " + from
	existing, err := s.subscription(ctx, linkName(from))
	if err != nil || existing == nil {
		return s.explain(doing, err)
	}
	return s.explain(doing, s.disable(ctx, existing))
}

// disable returns when nothing of the link runs any more.
func (s *Server) disable(ctx context.Context, existing *subscription) error {
	if existing.enabled {
		err := s.write(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "ALTER SUBSCRIPTION "+quote(existing.name)+" DISABLE")
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.await(ctx, `SELECT NOT EXISTS (SELECT FROM pg_stat_subscription WHERE subname = $1 AND pid IS NOT NULL)`, existing.name)
}

// await asks until the answer is true, and lets the server do the waiting in between.
func (s *Server) await(ctx context.Context, question string, args ...any) error {
	for {
		var done bool
		if err := s.pool.QueryRow(ctx, question, args...).Scan(&done); err != nil || done {
			return err
		}
		if _, err := s.pool.Exec(ctx, "SELECT pg_sleep(0.02)"); err != nil {
			return err
		}
	}
}

// Disconnect implements store.Server. A source that cannot be reached keeps the slot, and its findings tell how to drop it.
func (s *Server) Disconnect(ctx context.Context, w storage.Want, from string) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.explain("removing the link from region "+from, s.disconnect(ctx, w, from))
}

func (s *Server) disconnect(ctx context.Context, w storage.Want, from string) error {
	existing, err := s.subscription(ctx, linkName(from))
	if err != nil || existing == nil {
		return err
	}
	address, err := s.linkAddress(ctx, w, from, existing)
	if err != nil {
		return err
	}
	if err := s.disable(ctx, existing); err != nil {
		return err
	}
	name := quote(existing.name)
	err = s.write(ctx, func(tx pgx.Tx) error {
		// What was applied would go with the subscription, and a new one could not tell whether it lacks something.
		_, err := tx.Exec(ctx, `INSERT INTO multiactive.applied (region, position)
			SELECT $2, o.remote_lsn FROM pg_subscription s JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
			WHERE s.subname = $1 AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			ON CONFLICT (region) DO UPDATE SET position = excluded.position`, existing.name, from)
		if err != nil {
			return err
		}
		for _, statement := range []string{
			"ALTER SUBSCRIPTION " + name + " SET (slot_name = NONE)", "DROP SUBSCRIPTION " + name,
			"DELETE FROM multiactive.link WHERE subscription = " + literal(existing.name),
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || address == "" {
		return err
	}
	src, err := s.dialSource(ctx, address)
	if err != nil {
		return nil
	}
	defer src.close()
	return errors.Join(src.dropSlot(ctx, linkName(w.Region)), src.dropSlot(ctx, heldSlot(w.Region)))
}

// linkAddress is where a link reads from, as far as anybody knows.
func (s *Server) linkAddress(ctx context.Context, w storage.Want, from string, existing *subscription) (string, error) {
	for _, source := range w.Sources {
		if source.Region == from {
			return source.Address, nil
		}
	}
	if existing.conninfo != nil {
		return conninfoAddress(*existing.conninfo), nil
	}
	var address string
	err := s.pool.QueryRow(ctx, "SELECT address FROM multiactive.link WHERE subscription = $1", existing.name).Scan(&address)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading where the link reads from: %w", err)
	}
	return address, nil
}
