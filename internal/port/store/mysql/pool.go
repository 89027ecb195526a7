package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/port/store"
)

const (
	// connections of one pool: what observes must not wait behind a fence that waits for a transaction.
	connections = 4
	// idle connections end after it, so that an address that moved to another server is found.
	idleFor = time.Minute
)

// pool is connections to one server whose statements are bounded in time and whose errors do not have
// passwords in them.
type pool struct {
	db      *sql.DB
	timeout time.Duration
	secrets []string
}

// newPool makes connections of the operator's user with these session variables.
func newPool(o *store.Options, variables map[string]string) (*pool, error) {
	config := configure(o, o.Admin)
	maps.Copy(config.Params, variables)
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", o.Address, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(idleFor)
	return &pool{db: db, timeout: o.Timeout, secrets: []string{o.Admin.Password, o.Replication.Password}}, nil
}

// configure makes the driver's configuration for a user.
func configure(o *store.Options, who store.Credentials) *mysql.Config {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = who.User, who.Password, "tcp", o.Address
	config.Timeout, config.TLS = o.Timeout, who.TLS
	// Passwords are never sent as they are over a plain connection.
	config.AllowCleartextPasswords, config.AllowFallbackToPlaintext = false, false
	// Arguments are quoted by the driver: one round trip, and statements that cannot be prepared.
	config.InterpolateParams = true
	config.Logger = &mysql.NopLogger{} // what the driver has to say it returns as well
	// A statement that nobody waits for any more ends as well, rather than change something much later.
	wait := strconv.Itoa(int(max(1, math.Ceil(o.Timeout.Seconds()))))
	config.Params = map[string]string{
		"time_zone": "'+00:00'", "sql_mode": "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
		"lock_wait_timeout": wait, "innodb_lock_wait_timeout": wait,
	}
	return config
}

// bounded ends what has no deadline of its own.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// exec runs a statement and returns how many rows it changed.
func (p *pool) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	ctx, cancel := bounded(ctx, p.timeout)
	defer cancel()
	result, err := p.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, p.scrub(err)
	}
	changed, err := result.RowsAffected()
	return changed, p.scrub(err)
}

// row reads one row.
func (p *pool) row(ctx context.Context, query string, args []any, into ...any) error {
	ctx, cancel := bounded(ctx, p.timeout)
	defer cancel()
	return p.scrub(p.db.QueryRowContext(ctx, query, args...).Scan(into...))
}

// each calls do for every row of an answer; scan reads the row's columns.
func (p *pool) each(ctx context.Context, query string, args []any, do func(scan func(...any) error) error) error {
	ctx, cancel := bounded(ctx, p.timeout)
	defer cancel()
	rows, err := p.db.QueryContext(ctx, query, args...)
	if err != nil {
		return p.scrub(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return p.scrub(err)
		}
	}
	return p.scrub(rows.Err())
}

// table reads an answer whose columns differ between versions: every row by column name, NULL as "".
func (p *pool) table(ctx context.Context, query string, args ...any) ([]map[string]string, error) {
	ctx, cancel := bounded(ctx, p.timeout)
	defer cancel()
	rows, err := p.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, p.scrub(err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, p.scrub(err)
	}
	var table []map[string]string
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, p.scrub(err)
		}
		row := make(map[string]string, len(names))
		for i, name := range names {
			row[name] = values[i].String
		}
		table = append(table, row)
	}
	return table, p.scrub(rows.Err())
}
