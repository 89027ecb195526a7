// Package mysqltest has MariaDB servers as a store's regions have them, for tests of whatever uses the engine and
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
	"strconv"
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

// Grants are those of docs/guides/stores-mysql.md.
var Grants = []string{
	"GRANT BINLOG ADMIN, BINLOG MONITOR, CREATE USER, READ_ONLY ADMIN, RELOAD, REPLICATION MASTER ADMIN, REPLICATION SLAVE, " +
		"REPLICATION SLAVE ADMIN, SELECT, SLAVE MONITOR ON *.* TO 'multiactive'@'%' WITH GRANT OPTION",
	"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON multiactive.* TO 'multiactive'@'%'",
}

// SettleGrants are those that dataClasses.conflict needs as well.
var SettleGrants = []string{"GRANT BINLOG REPLAY, DELETE, INSERT, TRIGGER, UPDATE ON *.* TO 'multiactive'@'%' WITH GRANT OPTION"}

// Settings are what a server of a store has in its configuration; place tells servers apart, from 1.
func Settings(place, regions int) map[string]string {
	id := strconv.Itoa(place)
	return map[string]string{
		"server-id": id, "gtid-domain-id": id, "log-bin": "binlog", "log-slave-updates": "ON", "binlog-format": "ROW",
		"gtid-strict-mode": "ON", "gtid-ignore-duplicates": "ON", "auto-increment-increment": strconv.Itoa(regions),
		"auto-increment-offset": id, "expire-logs-days": "7",
	}
}

// Node is one server, with an operator's user, an application's, and the table shop.orders. It implements
// storetest.Node.
type Node struct {
	*mariadb.Server
	root, application *sql.DB
}

// Run runs one server for each region until the test ends.
func Run(t testing.TB, regions ...string) map[string]*Node {
	t.Helper()
	options := make([]mariadb.Options, len(regions))
	for i, region := range regions {
		options[i] = mariadb.Options{Name: region, Settings: Settings(i+1, len(regions))}
	}
	nodes := map[string]*Node{}
	for i, server := range mariadb.RunAll(t, options...) {
		nodes[regions[i]] = node(t, server)
	}
	return nodes
}

// RunOne runs a server with settings of its own until the test ends.
func RunOne(t testing.TB, o mariadb.Options) *Node {
	t.Helper()
	return node(t, mariadb.Run(t, o))
}

func node(t testing.TB, server *mariadb.Server) *Node {
	t.Helper()
	n, err := Equip(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// Equip makes users and the application's table on a server that runs, without a binary log.
func Equip(ctx context.Context, server *mariadb.Server) (*Node, error) {
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
	n := &Node{Server: server, root: server.Superuser(), application: sql.OpenDB(connector)}
	for _, statement := range append([]string{
		"CREATE DATABASE shop",
		"CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, value TEXT NOT NULL)",
		"CREATE USER multiactive@'%' IDENTIFIED BY " + literal(operatorPassword),
		"CREATE USER application@'%' IDENTIFIED BY " + literal(applicationPassword),
		"GRANT ALL ON shop.* TO application@'%'",
	}, Grants...) {
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
