//go:build e2e

package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// TestSettleManyTransactions takes more transactions back than one call passes, which the binary log has compressed.
func TestSettleManyTransactions(t *testing.T) {
	t.Parallel()
	const many = 300
	m := newMesh(t)
	m.run("beijing", "SET GLOBAL binlog_transaction_compression = ON")
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'first')")
	o := storage.Outage{Region: "beijing", ID: 7}
	m.lose(func() {
		for id := range many {
			m.write("beijing", fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 'late') ON DUPLICATE KEY UPDATE value = 'late'", id+1))
		}
	})
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	if got := m.rows("beijing", "SELECT id, value FROM shop.orders"); len(got) != 1 || got[0] != "1 first" {
		t.Errorf("after they were taken back the rows are %v", got)
	}
	began := time.Now()
	released, err := m.servers["shanghai"].Release(t.Context(), m.want("shanghai"), o, m.source("beijing"))
	if err != nil || released {
		t.Errorf("one call passed all transactions (%t, %v)", released, err)
	}
	t.Logf("250 transactions are passed in %s", time.Since(began))
	m.release(o)
	m.settled()
	m.decide(o)
	m.settled()
	m.verify(o)
	m.settled()
	m.everywhere("SELECT COUNT(*), COUNT(DISTINCT value), MIN(value) FROM shop.orders", fmt.Sprintf("%d 1 late", many))
	m.everywhere("SELECT outcome, COUNT(*) FROM multiactive.conflict GROUP BY outcome", fmt.Sprintf("Applied %d", many))
	// Nobody has to be sent what one of them alone has.
	for _, region := range meshRegions {
		if purged := m.rows(region, "SELECT @@GLOBAL.gtid_purged"); purged[0] != "" {
			t.Errorf("%s has %v in no binary log", region, purged)
		}
	}
}

// TestSettleTags takes nothing back where a transaction has a tag that no other region has.
func TestSettleTags(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.run("beijing", "GRANT TRANSACTION_GTID_TAG, SESSION_VARIABLES_ADMIN ON *.* TO application@'%'")
	tagged := func(id int) {
		t.Helper()
		conn, err := m.nodes["beijing"].Application().Conn(t.Context())
		m.must(err)
		defer func() { _ = conn.Close() }()
		for _, statement := range []string{"SET gtid_next = 'AUTOMATIC:late'", fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 'tagged')", id), "SET gtid_next = 'AUTOMATIC'"} {
			_, err := conn.ExecContext(t.Context(), statement)
			m.must(err)
		}
	}
	tagged(1)
	waitFor(m, "shanghai", "SELECT COUNT(*) FROM shop.orders", "1")
	waitFor(m, "shenzhen", "SELECT COUNT(*) FROM shop.orders", "1")
	// What others have is not late.
	o := storage.Outage{Region: "beijing", ID: 7}
	m.lose(func() {
		m.write("beijing", "INSERT INTO shop.orders VALUES (2, 'late')", "UPDATE shop.orders SET value = 'late' WHERE id = 1")
	})
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.settle(o)
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 late", "2 late")
	o.ID++
	m.lose(func() { tagged(3) })
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := m.servers["beijing"].Withdraw(ctx, m.want("beijing"), o, m.want("beijing").Sources)
	var refused *store.UnsettledError
	if !errors.As(err, &refused) || !strings.Contains(refused.Why, "the tag late") {
		t.Errorf("got error %v, want one that names the tag", err)
	}
}
