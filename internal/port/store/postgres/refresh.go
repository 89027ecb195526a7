package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"multiactive.dev/operator/internal/storage"
)

// refreshLinks gives tables that sources publish by now to the links that exist: PostgreSQL passes over changes
// of tables that a subscription does not know. It copies what the source has (manual, ALTER SUBSCRIPTION,
// REFRESH PUBLICATION), which is asked for where the table is empty here and there; the few rows that are
// written meanwhile are then neither lost nor doubled.
func (s *Server) refreshLinks(ctx context.Context, w storage.Want) error {
	var failed []error
	for _, from := range w.Sources {
		failed = append(failed, s.refreshLink(ctx, w, from))
	}
	return errors.Join(failed...)
}

func (s *Server) refreshLink(ctx context.Context, w storage.Want, from storage.Source) error {
	existing, err := s.subscription(ctx, linkName(from.Region))
	if err != nil || existing == nil || !existing.enabled {
		return err
	}
	unknown, err := s.unknownTables(ctx, existing.name, published(w))
	if err == nil && slices.Equal(unknown, []table{conflictTable}) {
		unknown = s.carriable(ctx, w, from)
	}
	if err != nil || len(unknown) == 0 {
		return err
	}
	refresh := "ALTER SUBSCRIPTION " + quote(existing.name) + " REFRESH PUBLICATION"
	own := func(t table) bool { return t == canaryTable || t == conflictTable }
	if !slices.ContainsFunc(unknown, func(t table) bool { return !own(t) }) {
		// Somebody removed the operator's schema, or it has more than before. Canaries that were written meanwhile are worth nothing, and
		// nothing is decided on before all regions have prepared their servers.
		return s.alone(ctx, refresh+" WITH (copy_data = false)")
	}
	unknown = slices.DeleteFunc(unknown, own)
	src, err := s.dialSource(ctx, from.Address)
	if err != nil {
		return nil
	}
	defer src.close()
	if _, err := s.checkPublished(ctx, src, w, from); err != nil {
		return err
	}
	there, err := withRows(ctx, src.Conn, unknown, "")
	if err != nil {
		return err
	}
	here, err := withRows(ctx, s.pool, unknown, "")
	if err != nil {
		return err
	}
	if len(there)+len(here) > 0 {
		return fmt.Errorf("the link from region %s does not carry %v yet, which have rows: empty them here and run %s on %s, which copies them",
			from.Region, unknown, refresh, s.options.Address)
	}
	return s.alone(ctx, refresh+" WITH (copy_data = true)")
}

// unknownTables are those of the declared tables that can be published and that a subscription does not carry.
func (s *Server) unknownTables(ctx context.Context, subscription string, declared []string) ([]table, error) {
	wanted, err := s.publishable(ctx, s.pool, declared)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `SELECT n.nspname, c.relname FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid
		JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE s.subname = $1 AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, subscription)
	if err != nil {
		return nil, err
	}
	carried, err := collectTables(rows)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append(wanted, canaryTable), func(t table) bool { return slices.Contains(carried, t) }), nil
}
