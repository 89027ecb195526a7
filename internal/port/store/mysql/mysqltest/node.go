// Package mysqltest has servers of MariaDB, and of MySQL, as a store's regions have them, for tests of whatever uses the engine and
// for its benchmark, and a soak that kills them.
//
// It must never be part of the product.
package mysqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/testkit/mariadb"
)

// Passwords that statements have to quote.
const (
	operatorPassword    = "it's \"quoted\" \\ and `long`"
	replicationPassword = "r'p\\l"
	applicationPassword = "an application's"
)

// Node is one server, with an operator's user, an application's, and the table shop.orders. It implements
// storetest.Node.
type Node struct {
	*mariadb.Server
	Engine            Engine
	root, application *sql.DB
}

// Run runs one server of MariaDB for each region until the test ends.
func Run(t testing.TB, regions ...string) map[string]*Node {
	t.Helper()
	return MariaDB.Run(t, regions...)
}

// RunOne runs a server of MariaDB with settings of its own until the test ends.
func RunOne(t testing.TB, o mariadb.Options) *Node {
	t.Helper()
	return MariaDB.RunOne(t, o)
}

// Run runs one server for each region until the test ends.
func (e Engine) Run(t testing.TB, regions ...string) map[string]*Node {
	t.Helper()
	options := make([]mariadb.Options, len(regions))
	for i, region := range regions {
		options[i] = mariadb.Options{Name: region, Programs: e.Programs, Settings: e.Settings(i+1, len(regions))}
	}
	nodes := map[string]*Node{}
	for i, server := range mariadb.RunAll(t, options...) {
		nodes[regions[i]] = e.node(t, server)
	}
	return nodes
}

// RunOne runs a server with settings of its own until the test ends.
func (e Engine) RunOne(t testing.TB, o mariadb.Options) *Node {
	t.Helper()
	o.Programs = e.Programs
	return e.node(t, mariadb.Run(t, o))
}

func (e Engine) node(t testing.TB, server *mariadb.Server) *Node {
	t.Helper()
	n, err := e.equip(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// Equip makes users and the application's table on a server of MariaDB that runs, without a binary log.
func Equip(ctx context.Context, server *mariadb.Server) (*Node, error) {
	return MariaDB.equip(ctx, server)
}

func (e Engine) equip(ctx context.Context, server *mariadb.Server) (*Node, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = "application", applicationPassword, "tcp", server.Addr()
	config.Logger = &mysql.NopLogger{}
	// The server may move.
	config.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Addr())
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	n := &Node{Server: server, Engine: e, root: server.Superuser(), application: sql.OpenDB(connector)}
	for _, statement := range slices.Concat([]string{
		"CREATE DATABASE shop",
		"CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, value TEXT NOT NULL)",
		"CREATE USER multiactive@'%' IDENTIFIED BY " + literal(operatorPassword),
		"CREATE USER application@'%' IDENTIFIED BY " + literal(applicationPassword),
		"GRANT ALL ON shop.* TO application@'%'",
	}, e.Grants, e.reads) {
		if err := n.Root(ctx, statement); err != nil {
			n.Close()
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	return n, nil
}

func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

// Close ends connections.
func (n *Node) Close() { _ = errors.Join(n.root.Close(), n.application.Close()) }

// Root runs a statement as an administrator, without a binary log.
func (n *Node) Root(ctx context.Context, statement string, args ...any) error {
	_, err := n.root.ExecContext(ctx, statement, args...)
	return err
}
