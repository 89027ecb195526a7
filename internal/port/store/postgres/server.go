// Package postgres is the engine of PostgreSQL, 14 and later: regions replicate from each other by logical
// replication, with one publication in every server, one subscription per source in every target, and a
// replication slot for it in the source.
//
// It must never copy rows by itself, skip a transaction, or move a position of a link that has one, but for what a lost region had
// not shipped (settle.go). Facts about PostgreSQL that a comment gives without a source were seen with 15.18 and 17.10.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"multiactive.dev/operator/internal/port/store"
)

const (
	defaultTimeout  = 5 * time.Second
	defaultDatabase = "postgres"
	defaultPort     = 5432
	// connections at a time: one may wait for a fence's holders while others beat and observe.
	connections = 6
	// idle is how long a connection may not have been used that is taken as it is. Others are asked first, or the
	// first question after the server was restarted would be lost; it also tells whether the server is read-only by now.
	idle = 100 * time.Millisecond
	// application is what the server calls the operator's connections.
	application = "multiactive"
)

// Server is one PostgreSQL server, and one database of it.
type Server struct {
	options store.Options
	pool    *pgxpool.Pool

	mutex sync.Mutex
	// wal is what an earlier look saw of the log, so that the next knows how fast it grows.
	wal walSample
	// errors that an earlier look saw of links, by the names of their subscriptions.
	errors map[string]int64
	// held are faults of links that an earlier look saw, by the same names.
	held map[string]held
}

var _ store.Server = (*Server)(nil)

// Open returns a client of the server; it connects when it is first used.
func Open(o store.Options) (*Server, error) {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Database = cmp.Or(o.Database, defaultDatabase)
	config, err := pgxpool.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("configuring the connection to %s: %w", o.Address, err)
	}
	if config.ConnConfig, err = connConfig(o.Address, o.Database, o.Admin, o.Timeout); err != nil {
		return nil, err
	}
	config.MaxConns = connections
	// Beats come once a second: a connection that nobody uses for minutes is not worth keeping.
	config.MaxConnIdleTime = time.Minute
	config.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > idle }
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("configuring the connection to %s: %w", o.Address, err)
	}
	return &Server{options: o, pool: pool, errors: map[string]int64{}, held: map[string]held{}}, nil
}

// connConfig connects as a user. What the process's environment says about PostgreSQL does not count.
func connConfig(address, database string, user store.Credentials, timeout time.Duration) (*pgx.ConnConfig, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("configuring the connection to %s: %w", address, err)
	}
	config.Host, config.Port, config.Database = host, port, database
	config.User, config.Password = user.User, user.Password
	config.ConnectTimeout = timeout
	config.Fallbacks = nil
	config.RuntimeParams = map[string]string{"application_name": application}
	if user.TLS != nil {
		config.TLSConfig = user.TLS.Clone()
		config.TLSConfig.ServerName = cmp.Or(config.TLSConfig.ServerName, host)
	}
	return config, nil
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: give host:port: %w", address, err)
	}
	if text == "" {
		return host, defaultPort, nil
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 || host == "" {
		return "", 0, fmt.Errorf("address %q: give host:port, such as db.example.com:5432", address)
	}
	return host, uint16(number), nil
}

func joinAddress(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// Close implements store.Server. It does not wait for a server that hangs longer than for any other.
func (s *Server) Close() error {
	done := make(chan struct{})
	go func() {
		s.pool.Close()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), s.options.Timeout)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil
}

// within bounds a method whose caller set no deadline.
func (s *Server) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.options.Timeout)
}

// write runs f in a transaction that writes, also where the server is read-only for others.
func (s *Server) write(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadWrite, IsoLevel: pgx.ReadCommitted}, f)
}

// alone runs a statement that PostgreSQL does not accept inside a transaction.
func (s *Server) alone(ctx context.Context, statement string) error {
	return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, "SET default_transaction_read_only = off"); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
		if _, reset := conn.Exec(ctx, "RESET default_transaction_read_only"); err == nil {
			err = reset
		}
		return err
	})
}
