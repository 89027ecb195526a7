package mysql_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/port/store/storetest"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// MariaDB passes the contract, and MySQL, under the build tag e2e.
func TestContract(t *testing.T) {
	t.Parallel()
	e := engine(t)
	storetest.Run(t, storetest.World{
		Mesh: true, Relays: true, Fences: true, Digests: true, Guard: mysql.Guard, Table: "shop.orders", Point: point,
		Start: func(t testing.TB, regions ...string) map[string]storetest.Node {
			nodes := map[string]storetest.Node{}
			for region, n := range e.Run(t, regions...) {
				nodes[region] = n
			}
			return nodes
		},
		Bare: func(t testing.TB, region string) storetest.Node {
			return e.RunOne(t, mariadb.Options{Name: region, Settings: e.Bare})
		},
		Open: func(o store.Options) (store.Server, error) { return mysql.Open(o) },
	})
}

// point changes where a link reads from, as a person does.
func point(ctx context.Context, n storetest.Node, from, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	server, ok := n.(*mysqltest.Node)
	if !ok {
		return errors.New("not a node of this engine")
	}
	args := []any{host, number, from}
	if server.Engine.LinkFirst {
		args = []any{from, host, number}
	}
	return errors.Join(
		server.Root(ctx, server.Engine.StopLink, from), server.Root(ctx, server.Engine.Point, args...), server.Root(ctx, server.Engine.StartLink, from),
	)
}
