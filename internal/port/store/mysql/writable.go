package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/port/store"
)

// clockFormat of DATETIME(6).
const clockFormat = "2006-01-02 15:04:05.000000"

// clock asks the server for its time, UTC.
func (s *Server) clock(ctx context.Context) (time.Time, error) {
	var text string
	if err := s.plain.row(ctx, "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)", nil, &text); err != nil {
		return time.Time{}, s.explain(ctx, "asking for the server's time", err)
	}
	at, err := time.Parse(clockFormat, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the server's time: %w", err)
	}
	return at, nil
}

// SetWritable implements store.Server. read_only waits for statements that run, and refuses the commit of
// transactions that had begun (error 1290); replication goes on. Users with READ_ONLY ADMIN (MariaDB), or
// CONNECTION_ADMIN (MySQL), are not stopped.
func (s *Server) SetWritable(ctx context.Context, writable bool) error {
	at, err := s.clock(ctx)
	if err != nil {
		return err
	}
	// A server that was frozen meanwhile must not become writable when nobody means it any more.
	until := at.Add(s.options.Timeout).Format(clockFormat)
	statement, args := "SET GLOBAL read_only = ON", []any(nil)
	if writable {
		statement, args = "SET GLOBAL read_only = IF(UTC_TIMESTAMP(6) <= ?, 0, @@GLOBAL.read_only)", []any{until}
	}
	if _, err := s.local.exec(ctx, statement, args...); err != nil {
		return s.explain(ctx, "changing read_only", err)
	}
	var is bool
	if err := s.plain.row(ctx, "SELECT NOT @@GLOBAL.read_only", nil, &is); err != nil {
		return s.explain(ctx, "reading read_only", err)
	}
	if is != writable {
		return errors.New("changing read_only: it did not change, for the server answered too late or somebody set it back")
	}
	return nil
}

// Lease implements store.Server. It ends no later than validFor after the call, whatever took how long.
func (s *Server) Lease(ctx context.Context, region string, validFor time.Duration) error {
	started := now()
	at, err := s.clock(ctx)
	if err != nil {
		return err
	}
	if validFor > 0 {
		at = at.Add(validFor - since(started))
	}
	_, err = s.local.exec(ctx, "INSERT INTO "+store.Schema+".lease (region, valid_until) VALUES (?, ?) "+
		"ON DUPLICATE KEY UPDATE valid_until = VALUES(valid_until)", region, at.Format(clockFormat))
	return s.explain(ctx, "writing the lease", err)
}

// transact runs statements in one transaction.
func (p *pool) transact(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return p.scrub(err)
	}
	if err := do(ctx, tx); err != nil {
		_ = tx.Rollback()
		return p.scrub(err)
	}
	return p.scrub(tx.Commit())
}
