package postgres

import (
	"context"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// Observe implements store.Server. For a link that does not run it has the server try to reach the source, for a
// second, and asks the source itself: nothing else tells the reasons apart.
func (s *Server) Observe(ctx context.Context, w storage.Want) (storage.Observation, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	seen, err := s.observe(ctx, w)
	return seen, s.explain("observing the server", err)
}

func (s *Server) observe(ctx context.Context, w storage.Want) (storage.Observation, error) {
	var seen storage.Observation
	state, err := s.readState(ctx)
	if err != nil {
		return seen, err
	}
	seen.Version, seen.Writable = state.version, !state.readOnly && !state.recovering
	seen.Retained = s.retained(state)
	if seen.Findings, err = s.findings(ctx, w, state, seen.Retained); err != nil {
		return seen, err
	}
	if !supported(state.number) {
		return seen, nil // what follows is not there in old versions
	}
	if seen.Prepared, err = s.prepared(ctx, w); err != nil || !state.schema {
		return seen, err
	}
	if seen.Links, err = s.links(ctx, w); err != nil {
		return seen, err
	}
	seen.Positions, err = s.positions(ctx, w)
	return seen, err
}

// state is what many findings are about.
type state struct {
	version              string
	number               int
	readOnly, recovering bool
	schema, super        bool
	// now is the server's clock in seconds, log the end of its log, and average the bytes that it has written a
	// second since its statistics began.
	now, average float64
	log          int64
	// keep is max_slot_wal_keep_size in bytes, -1 for no limit.
	keep int64
	// settings by name, as numbers.
	slots, senders, workers, processes int
	walLevel                           string
}

func (s *Server) readState(ctx context.Context) (state, error) {
	var st state
	err := s.pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int,
		current_setting('default_transaction_read_only')::boolean, pg_is_in_recovery(),
		to_regclass('multiactive.standby') IS NOT NULL, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
		extract(epoch FROM clock_timestamp())::float8,
		CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_current_wal_lsn() - '0/0'::pg_lsn END::int8,
		coalesce(pg_size_bytes(nullif(current_setting('max_slot_wal_keep_size', true), '-1')), -1),
		current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int,
		current_setting('max_logical_replication_workers')::int, current_setting('max_worker_processes')::int,
		current_setting('wal_level')`).
		Scan(&st.version, &st.number, &st.readOnly, &st.recovering, &st.schema, &st.super, &st.now, &st.log, &st.keep,
			&st.slots, &st.senders, &st.workers, &st.processes, &st.walLevel)
	if err != nil || st.number < firstSupported {
		return st, err
	}
	err = s.pool.QueryRow(ctx, `SELECT coalesce(wal_bytes / nullif(extract(epoch FROM clock_timestamp() - stats_reset), 0), 0)::float8 FROM pg_stat_wal`).
		Scan(&st.average)
	return st, err
}

// prepared tells whether Prepare has nothing to do.
func (s *Server) prepared(ctx context.Context, w storage.Want) (bool, error) {
	var complete bool
	if err := s.pool.QueryRow(ctx, schemaComplete).Scan(&complete); err != nil || !complete {
		return false, err
	}
	for _, ready := range []func(context.Context, storage.Want) (bool, error){
		s.rolePrepared, s.publicationReady, s.linksReady, s.standbyReady,
	} {
		if ok, err := ready(ctx, w); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// rolePrepared takes a password that it cannot compare for the right one.
func (s *Server) rolePrepared(ctx context.Context, _ storage.Want) (bool, error) {
	user := s.options.Replication.User
	if user == "" || user == s.options.Admin.User {
		return true, nil
	}
	var exists, readable bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolcanlogin AND rolreplication),
		has_table_privilege('pg_catalog.pg_authid', 'SELECT')`, user).Scan(&exists, &readable)
	if err != nil || !exists || !readable {
		return exists, err
	}
	return s.roleReady(ctx, s.pool)
}

func (s *Server) publicationReady(ctx context.Context, w storage.Want) (bool, error) {
	wanted, err := s.publishable(ctx, s.pool, published(w))
	if err != nil {
		return false, err
	}
	missing, exists, err := unpublished(ctx, s.pool, wanted)
	return exists && len(missing) == 0, err
}

// linksReady tells whether the links that run carry all tables.
func (s *Server) linksReady(ctx context.Context, w storage.Want) (bool, error) {
	for _, from := range w.Sources {
		existing, err := s.subscription(ctx, linkName(from.Region))
		if err != nil {
			return false, err
		}
		if existing == nil || !existing.enabled {
			continue
		}
		unknown, err := s.unknownTables(ctx, existing.name, published(w))
		if err != nil {
			return false, err
		}
		if slices.Equal(unknown, []table{conflictTable}) {
			// It is needed when a region was lost, and a source that is away, or of an earlier version, has it later.
			unknown = s.carriable(ctx, w, from)
		}
		if len(unknown) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// carriable tells whether a link could carry what is decided on late changes.
func (s *Server) carriable(ctx context.Context, w storage.Want, from storage.Source) []table {
	if len(w.Conflicts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	src, err := s.dialSource(ctx, from.Address)
	if err != nil {
		return nil
	}
	defer src.close()
	tables, err := src.published(ctx)
	if err != nil || !slices.Contains(tables, conflictTable) {
		return nil
	}
	return []table{conflictTable}
}

func (s *Server) standbyReady(ctx context.Context, w storage.Want) (bool, error) {
	regions := standbySlots(w)
	if len(regions) == 0 {
		return true, nil
	}
	var there int
	err := s.pool.QueryRow(ctx, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = ANY ($1) AND (active OR wal_status <> 'lost')", linkNames(regions)).Scan(&there)
	return there == len(regions), err
}

// regionOf finds the region of a subscription's name; false for a subscription that is none of the operator's.
func regionOf(name string, w storage.Want, remembered map[string]string) (string, bool) {
	if i := slices.Index(linkNames(w.Regions), name); i >= 0 {
		return w.Regions[i], true
	}
	if region, ok := remembered[name]; ok {
		return region, true
	}
	return strings.CutPrefix(name, publication+"_")
}
