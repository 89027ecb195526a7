package postgres

import (
	"context"

	"multiactive.dev/operator/internal/storage"
)

// positionsSQL: $1 is the server's region, $2 are regions and $3 the names of the subscriptions from them.
//
// A source's own position is the end of what its log has on disk; a commit that was acknowledged (with
// synchronous_commit, the default) lies before it. What a target has of a source is the end of the last
// transaction that it applied (pg_replication_origin_status), or, if that is later, what the source's last
// message without a change told: it was sent, and so read, after everything before it had been sent and applied
// (latest_end_lsn). Without the second a target would never be seen to have what a source logs that is not
// published, and nobody could tell that it has everything.
const positionsSQL = `SELECT region, max(position) FROM (
	SELECT $1::text AS region, pg_current_wal_flush_lsn() - '0/0'::pg_lsn AS position
	UNION ALL
	SELECT r.region, greatest(o.remote_lsn, t.latest_end_lsn) - '0/0'::pg_lsn
	FROM unnest($2::text[], $3::text[]) AS r(region, name)
	JOIN pg_subscription s ON s.subname = r.name AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
	LEFT JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
	LEFT JOIN pg_stat_subscription t ON t.subid = s.oid AND t.relid IS NULL
	UNION ALL
	SELECT region, position - '0/0'::pg_lsn FROM multiactive.applied WHERE region <> $1
) AS p WHERE position IS NOT NULL GROUP BY region`

// Positions implements store.Server. They are bytes of the regions' logs (LSNs).
func (s *Server) Positions(ctx context.Context, w storage.Want) (storage.Positions, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	positions, err := s.positions(ctx, w)
	if hasCode(err, codeInsufficient) {
		positions, err = s.ask(ctx, positionsOf, w)
	}
	return positions, s.explain("reading positions", err)
}

// positionsOf asks for the same as a user that may not read what origins have reached.
const positionsOf = "SELECT origin, reached FROM multiactive.positions_of($1, $2, $3)"

func (s *Server) positions(ctx context.Context, w storage.Want) (storage.Positions, error) {
	return s.ask(ctx, positionsSQL, w)
}

func (s *Server) ask(ctx context.Context, query string, w storage.Want) (storage.Positions, error) {
	rows, err := s.pool.Query(ctx, query, w.Region, w.Regions, linkNames(w.Regions))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	positions := storage.Positions{}
	for rows.Next() {
		var region string
		var position int64
		if err := rows.Scan(&region, &position); err != nil {
			return nil, err
		}
		positions[region] = position
	}
	return positions, rows.Err()
}
