package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"multiactive.dev/operator/internal/storage"
)

const (
	// Rows are inserted and deleted, never updated: a target that was linked later than a row was written does not have
	// it, and an update of a row that is not there is passed over. The nonce keeps a table that was made anew from
	// stopping links with a sequence that others have; a sequence that is there already gives way to the next.
	insertCanary = `INSERT INTO multiactive.canary (region, sequence, written_at)
		SELECT $1, greatest($2, coalesce(max(sequence), 0) + 1), $3 FROM multiactive.canary WHERE region = $1`
	trimCanaries = `DELETE FROM multiactive.canary WHERE region = $1
		AND sequence <= (SELECT max(sequence) FROM multiactive.canary WHERE region = $1) - $2`
	// Those before the first that is there were written before the link began.
	readCanaries = `WITH newest AS (SELECT region, max(sequence) AS sequence FROM multiactive.canary WHERE region <> $1 GROUP BY region)
		SELECT n.region, n.sequence, max(c.written_at) FILTER (WHERE c.sequence = n.sequence),
			n.sequence - min(c.sequence) + 1 - count(DISTINCT c.sequence)
		FROM newest n JOIN multiactive.canary c ON c.region = n.region AND c.sequence > n.sequence - $2
		GROUP BY n.region, n.sequence ORDER BY n.region`
	// readOnlyParameter is told by the server after every statement in which it has changed (manual 55.2.7, from 14 on).
	readOnlyParameter = "default_transaction_read_only"
)

// Beat implements store.Server. It asks the server once.
func (s *Server) Beat(ctx context.Context, mine storage.Canary) ([]storage.Canary, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	var others []storage.Canary
	err := s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		writable := conn.Conn().PgConn().ParameterStatus(readOnlyParameter) != "on"
		var err error
		others, err = beat(ctx, conn, mine, writable)
		if writable && hasCode(err, codeReadOnly) {
			// It was made read-only since it was last asked.
			others, err = beat(ctx, conn, mine, false)
		}
		return err
	})
	return others, s.explain("writing and reading canaries", err)
}

func beat(ctx context.Context, conn *pgxpool.Conn, mine storage.Canary, writable bool) ([]storage.Canary, error) {
	if !writable {
		if err := keepStandbySlots(ctx, conn); err != nil {
			return nil, err
		}
	}
	batch := &pgx.Batch{} // one transaction, and one round trip
	if writable {
		batch.Queue(insertCanary, mine.Region, mine.Sequence, mine.Time)
		batch.Queue(trimCanaries, mine.Region, storage.KeptCanaries)
	}
	var others []storage.Canary
	batch.Queue(readCanaries, mine.Region, storage.KeptCanaries).Query(func(rows pgx.Rows) error {
		var err error
		others, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (storage.Canary, error) {
			var c storage.Canary
			err := row.Scan(&c.Region, &c.Sequence, &c.Time, &c.Missing)
			return c, err
		})
		return err
	})
	return others, conn.SendBatch(ctx, batch).Close()
}
