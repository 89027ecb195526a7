package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"multiactive.dev/operator/internal/port/store"
)

// SetWritable implements store.Server, with the setting default_transaction_read_only of the whole server. It
// binds everybody who does not set it otherwise: who begins a transaction READ WRITE writes, and so do users for
// whom ALTER ROLE has set it. Workers that apply what other regions wrote do not ask it.
//
// Transactions that had begun may end within half of Options.Timeout; then their connections are ended.
func (s *Server) SetWritable(ctx context.Context, writable bool) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	if writable {
		return s.explain("making the server writable", s.open(ctx))
	}
	return s.explain("making the server read-only", s.shut(ctx))
}

// open does nothing on a server that is writable: its slots must stay where they are.
func (s *Server) open(ctx context.Context) error {
	readOnly, err := s.readOnly(ctx)
	if err != nil || !readOnly {
		return err
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		var prepared bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('multiactive.standby') IS NOT NULL").Scan(&prepared); err != nil {
			return err
		}
		if prepared {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock("+standbyLock+")"); err != nil {
				return err
			}
			if err := s.renewStandbySlots(ctx); err != nil {
				return err
			}
			// On a connection of its own: what it writes must be there before anybody else can write.
			if err := s.write(ctx, func(own pgx.Tx) error { return promote(ctx, own) }); err != nil {
				return err
			}
		}
		return s.setReadOnly(ctx, false)
	})
}

// shut returns once nobody writes who does not insist.
func (s *Server) shut(ctx context.Context) error {
	if err := s.setReadOnly(ctx, true); err != nil {
		return err
	}
	if err := s.endTransactions(ctx); err != nil {
		return err
	}
	// A message in the log (pg_logical_emit_message) that is on disk when the transaction has been committed, and so is
	// everything before it, also of commits that did not wait for the disk. What the log holds by then, and no more, are
	// this server's own changes, as far as others must have them before one of them becomes the primary.
	return s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on")
		if err == nil {
			_, err = tx.Exec(ctx, "SELECT pg_logical_emit_message(true, 'multiactive', 'read-only')")
		}
		return err
	})
}

// readOnly tells what a new session would have: one that is there may not have taken up the setting yet.
func (s *Server) readOnly(ctx context.Context) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	return conn.PgConn().ParameterStatus(readOnlyParameter) == "on", nil
}

// setReadOnly returns when new sessions have the setting. The server's first process has told all others of it
// by then: it takes connections in the same loop as it takes up settings (postmaster.c, process_pm_reload_request).
func (s *Server) setReadOnly(ctx context.Context, on bool) error {
	value := map[bool]string{false: "off", true: "on"}[on]
	err := s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, "ALTER SYSTEM SET default_transaction_read_only = "+value); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "SELECT pg_reload_conf()")
		return err
	})
	if hasCode(err, codeInsufficient) {
		user := quote(s.options.Admin.User)
		return &store.PrivilegeError{Missing: []string{"ALTER SYSTEM on default_transaction_read_only", "EXECUTE on pg_reload_conf"},
			Statement: "GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO " + user + "; GRANT EXECUTE ON FUNCTION pg_reload_conf() TO " + user}
	}
	for err == nil {
		var now bool
		if now, err = s.readOnly(ctx); err != nil || now == on {
			return err
		}
		_, err = s.pool.Exec(ctx, "SELECT pg_sleep(0.02)")
	}
	return err
}

// writing are sessions in transactions that began before the setting was there for all, at $1, but for those
// of the operator, of links, and of the server itself.
const writing = ` FROM pg_stat_activity WHERE backend_type IN ('client backend', 'background worker', 'parallel worker')
	AND datid IS NOT NULL AND application_name <> '` + application + `' AND state <> 'idle' AND (xact_start < $1::timestamptz OR query_start < $1::timestamptz)`

// endTransactions waits for what may still write, and then refuses it.
func (s *Server) endTransactions(ctx context.Context) error {
	var began string
	if err := s.pool.QueryRow(ctx, "SELECT clock_timestamp()::text").Scan(&began); err != nil {
		return err
	}
	grace := s.options.Timeout / 2
	for {
		var left int
		var late bool
		err := s.pool.QueryRow(ctx, "SELECT count(*), clock_timestamp() > $1::timestamptz + make_interval(secs => $2)"+writing,
			began, grace.Seconds()).Scan(&left, &late)
		if err != nil {
			return err
		}
		if left == 0 {
			return s.checkPreparedTransactions(ctx)
		}
		if late {
			if _, err := s.pool.Exec(ctx, "SELECT pg_terminate_backend(pid)"+writing, began); err != nil {
				return err
			}
		}
		if _, err := s.pool.Exec(ctx, "SELECT pg_sleep(0.02)"); err != nil {
			return err
		}
	}
}

// checkPreparedTransactions: a transaction that was prepared may be committed at any time, read-only or not.
func (s *Server) checkPreparedTransactions(ctx context.Context) error {
	var waiting []string
	err := s.pool.QueryRow(ctx, "SELECT coalesce(array_agg(gid ORDER BY gid), '{}') FROM pg_prepared_xacts WHERE database = current_database()").Scan(&waiting)
	if err == nil && len(waiting) > 0 {
		err = fmt.Errorf("prepared transactions wait, which nothing but COMMIT PREPARED or ROLLBACK PREPARED ends: %q", waiting)
	}
	return err
}
