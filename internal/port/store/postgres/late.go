package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// Late implements store.Settler.
func (s *Server) Late(ctx context.Context, w storage.Want) ([]storage.Late, error) {
	if !w.Mesh {
		return nil, nil
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	all, err := s.lateOutages(ctx, w)
	for i := 0; i < len(all) && err == nil; i++ {
		err = s.countLate(ctx, &all[i])
	}
	if hasCode(err, codeUndefinedTable, codeUndefinedSchema) {
		return nil, nil
	}
	return all, s.explain("counting late changes", err)
}

// lateOutages are the newest ones of all regions.
func (s *Server) lateOutages(ctx context.Context, w storage.Want) ([]storage.Late, error) {
	rows, err := s.pool.Query(ctx, "SELECT region, id, phase IN ($1, $2) FROM multiactive.outage WHERE region = ANY ($3)", phaseWithdrawn, phaseVerified, w.Regions)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (storage.Late, error) {
		var l storage.Late
		err := row.Scan(&l.Region, &l.ID, &l.Withdrawn)
		return l, err
	})
	slices.SortFunc(all, func(a, b storage.Late) int {
		return slices.Index(w.Regions, a.Region) - slices.Index(w.Regions, b.Region)
	})
	return all, err
}

func (s *Server) countLate(ctx context.Context, found *storage.Late) error {
	err := s.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE outcome = $3), count(*) FILTER (WHERE outcome = $4), count(*) FILTER (WHERE outcome = $5),
		count(*) FILTER (WHERE outcome = $6) FROM multiactive.conflict WHERE region = $1 AND outage = $2`, found.Region, found.ID,
		string(storage.OutcomeApplied), string(storage.OutcomeOwnerStands), string(storage.OutcomeLateStands), string(storage.OutcomeOpen)).
		Scan(&found.Applied, &found.OwnerStands, &found.LateStands, &found.Open)
	if err != nil {
		return err
	}
	if found.OwnerStands+found.LateStands+found.Open > 0 {
		rows, err := s.pool.Query(ctx, `SELECT table_name, row_key, outcome FROM multiactive.conflict WHERE region = $1 AND outage = $2 AND outcome <> $3
			ORDER BY outcome = $4 DESC, number LIMIT $5`, found.Region, found.ID, string(storage.OutcomeApplied), string(storage.OutcomeOpen), storage.MostConflicts)
		if err != nil {
			return err
		}
		if found.Conflicts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (storage.Conflict, error) {
			var one storage.Conflict
			err := row.Scan(&one.Table, &one.Key, &one.Outcome)
			one.Key = shortKey(one.Key)
			return one, err
		}); err != nil {
			return err
		}
	}
	if !found.Withdrawn {
		return nil
	}
	return s.pool.QueryRow(ctx, "SELECT count(*) FROM multiactive.late_change l "+decisions+"WHERE l.region = $1 AND NOT l.closed AND c.region IS NULL", found.Region).
		Scan(&found.Pending)
}
