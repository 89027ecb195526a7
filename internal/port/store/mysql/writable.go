package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
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
	if err := s.plain.row(ctx, readClock, nil, &text); err != nil {
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

const (
	// writeLease ends the lease by what the clock was known to be when that was asked for, however late it is carried out, and by what
	// the clock says then: it may have been set back.
	writeLease = "INSERT INTO " + store.Schema + ".lease (region, valid_until) VALUES " +
		"(?, LEAST(CAST(? AS DATETIME(6)), UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND)) ON DUPLICATE KEY UPDATE valid_until = VALUES(valid_until)"
	readClock = "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)"
	// goodFor is how long what a server said of its clock is gone by.
	goodFor = 10 * time.Second
)

// told is what a server said of its clock, and when that arrived here.
type told struct{ at, here time.Time }

// Lease implements store.Server. It ends no later than validFor after the call, whatever took how long.
func (s *Server) Lease(ctx context.Context, region string, validFor time.Duration) error {
	at, err := s.begun(ctx)
	if err != nil {
		return err
	}
	var latest told
	args := []any{region, at.Add(validFor).Format(clockFormat), validFor.Microseconds()}
	err = s.leases.ask(ctx, writeLease+"; "+readClock, args, func(row []driver.Value) error {
		text, _ := row[0].([]byte)
		read, err := time.Parse(clockFormat, string(text))
		latest = told{read, now()}
		return err
	})
	s.mu.Lock()
	s.told = told{}
	if err == nil {
		s.told = latest
	}
	s.mu.Unlock()
	return s.explain(ctx, "writing the lease", err)
}

// begun returns what the server's clock says at least at the time of the call: by what it said last, where that was lately.
func (s *Server) begun(ctx context.Context) (time.Time, error) {
	started := now()
	s.mu.Lock()
	last := s.told
	s.mu.Unlock()
	if since(last.here) < goodFor {
		return last.at.Add(started.Sub(last.here)), nil
	}
	at, err := s.clock(ctx)
	return at.Add(-since(started)), err
}

// transact runs statements in one transaction.
func (p *pool) transact(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := bounded(ctx, p.timeout)
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
