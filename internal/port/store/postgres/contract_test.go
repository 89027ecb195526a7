package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/postgres"
	"multiactive.dev/operator/internal/port/store/storetest"
	"multiactive.dev/operator/internal/testkit/poll"
	testserver "multiactive.dev/operator/internal/testkit/postgres"
)

const (
	operatorPassword    = `it's "quoted" \ and $long$`
	replicationPassword = `r'p\l`
	applicationPassword = "an application's"
)

// grantsOf16 are those of docs/guides/stores-postgresql.md.
var grantsOf16 = []string{
	"ALTER ROLE multiactive CREATEROLE REPLICATION",
	"GRANT CREATE ON DATABASE postgres TO multiactive",
	"GRANT pg_create_subscription, pg_signal_backend, pg_read_all_stats TO multiactive",
	"GRANT EXECUTE ON FUNCTION pg_reload_conf() TO multiactive",
	"GRANT EXECUTE ON FUNCTION pg_show_replication_origin_status() TO multiactive",
	"GRANT SELECT ON pg_replication_origin_status TO multiactive",
	"GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO multiactive",
	"GRANT owner TO multiactive",
	// To say what a link's worker said.
	"GRANT pg_monitor TO multiactive",
	"GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint), pg_stat_file(text) TO multiactive",
	// To see where links read from, and compare passwords.
	"GRANT SELECT (subconninfo) ON pg_subscription TO multiactive",
	"GRANT SELECT ON pg_authid TO multiactive",
}

// settleGrants are needed besides where classes say what is to stand of late changes.
var settleGrants = []string{
	"GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_session_setup(text), pg_replication_origin_xact_setup(pg_lsn, timestamptz) TO multiactive",
	"GRANT SET ON PARAMETER session_replication_role TO multiactive",
}

// node is a PostgreSQL of one region.
type node struct {
	*testserver.Server
	application *sql.DB
	root        *pgxpool.Pool
}

// bare runs a server as it is installed.
func bare(programs string) func(t testing.TB, region string) storetest.Node {
	return func(t testing.TB, region string) storetest.Node {
		t.Helper()
		return newNode(t, testserver.Run(t, testserver.Options{Name: region, Programs: programs,
			Settings: map[string]string{"wal_level": "replica", "max_slot_wal_keep_size": "-1"}}))
	}
}

// start runs servers for the contract, with programs of a directory, or Debian's.
func start(programs string) func(t testing.TB, regions ...string) map[string]storetest.Node {
	return func(t testing.TB, regions ...string) map[string]storetest.Node {
		t.Helper()
		options := make([]testserver.Options, len(regions))
		for i, region := range regions {
			options[i] = testserver.Options{Name: region, Programs: programs}
		}
		nodes := map[string]storetest.Node{}
		for i, server := range testserver.RunAll(t, options...) {
			nodes[regions[i]] = newNode(t, server)
		}
		return nodes
	}
}

func newNode(t testing.TB, server *testserver.Server) *node {
	t.Helper()
	n := &node{Server: server}
	n.root = n.pool(t, testserver.Superuser, testserver.Password)
	for _, statement := range []string{
		"CREATE SCHEMA shop",
		"CREATE TABLE shop.orders (id bigint PRIMARY KEY, value text NOT NULL)",
		"CREATE ROLE owner", "ALTER SCHEMA shop OWNER TO owner", "ALTER TABLE shop.orders OWNER TO owner",
		"CREATE ROLE multiactive LOGIN PASSWORD " + quoted(operatorPassword),
		"CREATE ROLE application LOGIN PASSWORD " + quoted(applicationPassword),
		"GRANT USAGE ON SCHEMA shop TO application",
		"GRANT ALL ON ALL TABLES IN SCHEMA shop TO application",
	} {
		if _, err := n.root.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	var version int
	if err := n.root.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	grants := grantsOf16
	if version < 160000 {
		grants = []string{"ALTER ROLE multiactive SUPERUSER"}
	}
	for _, statement := range grants {
		if _, err := n.root.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	n.application = stdlib.OpenDBFromPool(n.pool(t, "application", applicationPassword))
	t.Cleanup(func() { _ = n.application.Close() })
	return n
}

// pool has connections of a user's that follow the server when it moves.
func (n *node) pool(t testing.TB, user, password string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig("sslmode=disable host=127.0.0.1 dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.User, config.ConnConfig.Password = user, password
	config.ConnConfig.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, n.Addr())
	}
	// The server is killed now and then.
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (n *node) Options() store.Options {
	return store.Options{
		Address:     n.Addr(),
		Admin:       store.Credentials{User: "multiactive", Password: operatorPassword},
		Replication: store.Credentials{User: "replica", Password: replicationPassword},
	}
}

func (n *node) Stranger() store.Options {
	o := n.Options()
	o.Admin = store.Credentials{User: "application", Password: applicationPassword}
	return o
}

func (n *node) Application() *sql.DB { return n.application }

func (n *node) Put(ctx context.Context, id int64, value string) error {
	_, err := n.application.ExecContext(ctx, "INSERT INTO shop.orders VALUES ($1, $2)", id, value)
	return err
}

func (n *node) Rows(ctx context.Context) (map[int64]string, error) {
	rows, err := n.root.Query(ctx, "SELECT id, value FROM shop.orders")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[int64]string{}
	for rows.Next() {
		var id int64
		var value string
		if err := rows.Scan(&id, &value); err != nil {
			return nil, err
		}
		all[id] = value
	}
	return all, rows.Err()
}

// run runs a statement that is not replicated in meshes: it has an origin of its own.
func (n *node) run(ctx context.Context, statement string, args ...any) error {
	return pgx.BeginTxFunc(ctx, n.root, pgx.TxOptions{AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		for _, origin := range []string{
			"SELECT pg_replication_origin_create('test') WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'test')",
			"SELECT pg_replication_origin_session_setup('test')",
		} {
			if _, err := tx.Exec(ctx, origin); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, statement, args...)
		if _, reset := tx.Exec(ctx, "SELECT pg_replication_origin_session_reset()"); err == nil {
			err = reset
		}
		return err
	})
}

func (n *node) PutHere(ctx context.Context, id int64, value string) error {
	return n.run(ctx, "INSERT INTO shop.orders VALUES ($1, $2)", id, value)
}

func (n *node) Undo(ctx context.Context, id int64) error {
	return n.run(ctx, "DELETE FROM shop.orders WHERE id = $1", id)
}

// unread are slots that nobody reads and that have something to tell.
const unread = `SELECT coalesce(array_agg(slot_name ORDER BY slot_name), '{}') FROM pg_replication_slots WHERE NOT active AND wal_status <> 'lost'
	AND EXISTS (SELECT FROM pg_logical_slot_peek_binary_changes(slot_name, NULL, 1, 'proto_version', '1', 'publication_names', 'multiactive'))`

// Purge makes the server lose the log that slots keep which nobody reads.
func (n *node) Purge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var victims []string
	if err := n.root.QueryRow(ctx, unread).Scan(&victims); err != nil || len(victims) == 0 {
		return err
	}
	for _, statement := range []string{"ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()"} {
		if _, err := n.root.Exec(ctx, statement); err != nil {
			return err
		}
	}
	err := poll.Until(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		for range 3 {
			if _, err := n.root.Exec(ctx, "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))"); err != nil {
				return err
			}
		}
		var left int
		if err := n.root.QueryRow(ctx, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = ANY ($1) AND wal_status <> 'lost'",
			victims).Scan(&left); err != nil || left == 0 {
			return err
		}
		_, err := n.root.Exec(ctx, "CHECKPOINT")
		return errors.Join(err, fmt.Errorf("%d slots still have their log", left))
	})
	for _, statement := range []string{"ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()"} {
		if _, failed := n.root.Exec(ctx, statement); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

func (n *node) LoseCanaries(ctx context.Context, region string, from, to int64) error {
	return n.run(ctx, "DELETE FROM multiactive.canary WHERE region = $1 AND sequence BETWEEN $2 AND $3", region, from, to)
}

func (n *node) Forget(ctx context.Context) error {
	return n.run(ctx, "DROP SCHEMA multiactive CASCADE")
}

func (n *node) Password(ctx context.Context, user, password string) error {
	return n.run(ctx, "ALTER ROLE "+pgx.Identifier{user}.Sanitize()+" PASSWORD "+quoted(password))
}

// point changes where a link reads from, as a person does.
func point(ctx context.Context, n storetest.Node, from, address string) error {
	server, ok := n.(*node)
	if !ok {
		return errors.New("not a node of this engine")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	return server.run(ctx, fmt.Sprintf("ALTER SUBSCRIPTION multiactive_%s CONNECTION 'host=%s port=%s user=replica password=x dbname=postgres'", from, host, port))
}

func open(o store.Options) (store.Server, error) { return postgres.Open(o) }

// PostgreSQL of Debian, which is too old for meshes, passes the contract.
func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.World{
		Fences: true, Digests: true, Forgets: true, Guard: postgres.Guard, Table: "shop.orders", Start: start(""), Bare: bare(""), Point: point, Open: open,
	})
}
