//go:build e2e

package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

// TestRealSettleAlive has a region be lost whose server goes on, as one does that is cut off from users and not from servers: both directions stand still.
func TestRealSettleAlive(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first'), (3, 'first')")
	m.settled()
	o := storage.Outage{Region: "beijing", ID: time.Now().UnixMicro()}
	m.hold(o)
	m.write("beijing", "UPDATE shop.orders SET value = 'late' WHERE id = 1", "DELETE FROM shop.orders WHERE id IN (2, 3)")
	m.write("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 2")
	m.write("shenzhen", "INSERT INTO shop.orders VALUES (4, 'taken over')")
	testkit.Eventually(t, time.Minute, func() error {
		seen, err := m.servers["beijing"].Observe(t.Context(), m.want("beijing"))
		for from, link := range seen.Links {
			if err == nil && (link.Receiving || link.Fault == nil || link.Bootstrap != nil) {
				err = fmt.Errorf("beijing from %s: %+v", from, link)
			}
		}
		return err
	})
	for region, want := range map[string][]string{"beijing": {"1 late"}, "shanghai": {"1 first", "2 taken over", "3 first", "4 taken over"}} {
		if got := m.rows(region, "SELECT id, value FROM shop.orders ORDER BY id"); !cmp.Equal(got, want) {
			t.Errorf("%s has %v, want %v", region, got, want)
		}
	}
	m.settle(o)
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 late", "2 taken over", "4 taken over")
	m.goesOn()
}

// TestRealSettleTwoLost loses a region that had received less than another, and cannot be asked when the first one lost comes back. It gets what it
// lacks when it is back itself.
func TestRealSettleTwoLost(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (5, 'first'), (6, 'first')")
	m.settled()
	m.pause("shenzhen", "beijing")
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'received by one')", "DELETE FROM shop.orders WHERE id = 5")
	testkit.Eventually(t, time.Minute, func() error {
		if got := m.rows("shanghai", "SELECT id FROM shop.orders ORDER BY id"); !cmp.Equal(got, []string{"1", "6"}) {
			return fmt.Errorf("shanghai has %v", got)
		}
		return nil
	})
	m.pause("shanghai", "beijing")
	m.write("beijing", "INSERT INTO shop.orders VALUES (2, 'late')", "DELETE FROM shop.orders WHERE id = 6")
	m.must(m.nodes["beijing"].Kill())
	m.must(m.nodes["shenzhen"].Kill())
	o := storage.Outage{Region: "beijing", ID: 7}
	m.holdIn("shanghai", o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	w := m.want("beijing")
	others := []storage.Source{m.source("shanghai")}
	m.must(m.servers["beijing"].Withdraw(t.Context(), w, o, others))
	m.releaseIn("shanghai", o)
	m.decide(o)
	testkit.Eventually(t, time.Minute, func() error {
		done, err := m.servers["beijing"].Verify(t.Context(), w, others)
		if err == nil && !done {
			err = errors.New("not done")
		}
		return err
	})
	m.must(m.nodes["shenzhen"].Start(t.Context()))
	m.holdIn("shenzhen", o)
	m.releaseIn("shenzhen", o)
	m.connect("beijing")
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 received by one", "2 late")
	m.everywhere("SELECT outcome, count(*) FROM multiactive.conflict GROUP BY outcome", "Applied 4")
	m.goesOn()
}

// TestRealSettleUnverified does not end as long as nobody can tell whether an owner changed a row, and says what accepts that.
func TestRealSettleUnverified(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.lose(func() { m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'late')") })
	o := storage.Outage{Region: "beijing", ID: 7}
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	m.release(o)
	m.settled()
	m.run("shanghai", "SELECT pg_drop_replication_slot('held_multiactive_beijing')")
	m.decide(o)
	m.settled()
	var refused *store.UnsettledError
	if done, err := m.servers["beijing"].Verify(t.Context(), m.want("beijing"), m.want("beijing").Sources); done || !errors.As(err, &refused) {
		t.Errorf("without a slot it is verified (%t, %v)", done, err)
	}
	// What a person does who accepts that. That the decision has arrived is not seen in a slot that begins behind it.
	m.run("shanghai", "SELECT pg_create_logical_replication_slot('held_multiactive_beijing', 'pgoutput')")
	m.verify(o)
	m.goesOn()
}

// TestRealSettleEarlier has links that were made by a version that settled nothing. They carry what is decided on once a policy is declared, and until then the changes
// of a lost region come as they are.
func TestRealSettleEarlier(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.run("beijing", "ALTER PUBLICATION multiactive DROP TABLE multiactive.conflict")
	m.run("shanghai", "ALTER SUBSCRIPTION multiactive_beijing REFRESH PUBLICATION WITH (copy_data = false)")
	prepared := func(region string, want bool) {
		t.Helper()
		seen, err := m.servers[region].Observe(t.Context(), m.want(region))
		m.must(err)
		if seen.Prepared != want {
			t.Errorf("%s is prepared: %t", region, seen.Prepared)
		}
	}
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	prepared("shanghai", true) // its source has nothing to give yet
	prepared("beijing", false)
	o := storage.Outage{Region: "beijing", ID: 1}
	if held, err := m.servers["shanghai"].Hold(t.Context(), m.want("shanghai"), o); err == nil || held {
		t.Errorf("a link is held that does not carry decisions (%v)", err)
	}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'on')")
	m.settled()
	m.must(m.servers["beijing"].Prepare(t.Context(), m.want("beijing")))
	prepared("beijing", true)
	prepared("shanghai", false)
	m.must(m.servers["shanghai"].Prepare(t.Context(), m.want("shanghai")))
	prepared("shanghai", true)
	m.lose(func() { m.write("beijing", "UPDATE shop.orders SET value = 'late'") })
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.settle(o)
	m.everywhere("SELECT id, value FROM shop.orders", "1 late")
	m.everywhere("SELECT outcome FROM multiactive.conflict", "Applied")
	m.goesOn()
}
