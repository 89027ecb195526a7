package mysqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/testkit/poll"
)

// Options implements storetest.Node.
func (n *Node) Options() store.Options {
	return store.Options{
		Address:     n.Addr(),
		Admin:       store.Credentials{User: "multiactive", Password: operatorPassword},
		Replication: store.Credentials{User: "replica", Password: replicationPassword},
	}
}

// Stranger implements storetest.Node.
func (n *Node) Stranger() store.Options {
	o := n.Options()
	o.Admin = store.Credentials{User: "application", Password: applicationPassword}
	return o
}

// Application implements storetest.Node.
func (n *Node) Application() *sql.DB { return n.application }

// Put implements storetest.Node.
func (n *Node) Put(ctx context.Context, id int64, value string) error {
	_, err := n.application.ExecContext(ctx, "INSERT INTO shop.orders VALUES (?, ?)", id, value)
	return err
}

// Rows implements storetest.Node.
func (n *Node) Rows(ctx context.Context) (map[int64]string, error) {
	rows, err := n.root.QueryContext(ctx, "SELECT id, value FROM shop.orders")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
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

// PutHere implements storetest.Node.
func (n *Node) PutHere(ctx context.Context, id int64, value string) error {
	return n.Root(ctx, "INSERT INTO shop.orders VALUES (?, ?)", id, value)
}

// Undo implements storetest.Node.
func (n *Node) Undo(ctx context.Context, id int64) error {
	return n.Root(ctx, "DELETE FROM shop.orders WHERE id = ?", id)
}

// Purge implements storetest.Node. It waits for threads that send to servers that have gone: a log that they read stays.
func (n *Node) Purge(ctx context.Context) error {
	if err := n.Root(ctx, "FLUSH BINARY LOGS"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll.Until(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		logs, err := n.logs(ctx)
		if err != nil {
			return err
		}
		if err := n.Root(ctx, "PURGE BINARY LOGS TO ?", logs[len(logs)-1]); err != nil {
			return err
		}
		if logs, err = n.logs(ctx); err == nil && len(logs) > 1 {
			err = n.Root(ctx, "FLUSH BINARY LOGS")
			return errors.Join(err, fmt.Errorf("there are still the logs %v", logs))
		}
		return err
	})
}

func (n *Node) logs(ctx context.Context) ([]string, error) {
	rows, err := n.root.QueryContext(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var logs []string
	for rows.Next() {
		row := make([]string, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		logs = append(logs, row[0])
	}
	return logs, rows.Err()
}

// LoseCanaries implements storetest.Node.
func (n *Node) LoseCanaries(ctx context.Context, region string, from, to int64) error {
	return n.Root(ctx, "DELETE FROM multiactive.canary WHERE region = ? AND sequence BETWEEN ? AND ?", region, from, to)
}

// Forget implements storetest.Node.
func (n *Node) Forget(ctx context.Context) error { return n.Root(ctx, "DROP DATABASE multiactive") }

// Password implements storetest.Node.
func (n *Node) Password(ctx context.Context, user, password string) error {
	return n.Root(ctx, fmt.Sprintf("ALTER USER '%s'@'%%' IDENTIFIED BY ?", user), password)
}
