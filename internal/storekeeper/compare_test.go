package storekeeper_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// TestCompared has a region return: its rows are compared with those of both others, a row that one of them alone has is
// told, and forgotten once it is mended; the next return begins anew.
func TestCompared(t *testing.T) {
	w := world(t)
	declare(w, nil)
	await(t, w)
	back := w["beijing"]
	for i := range 50 {
		if _, err := back.application(t).ExecContext(t.Context(), "INSERT INTO shop.orders VALUES (?, 'same')", i); err != nil {
			t.Fatal(err)
		}
	}
	if l := back.keepers.Look(name).Links["shanghai"]; l.Compared != nil {
		t.Fatalf("a region that serves is compared: %+v", l.Compared)
	}
	hidden := func(statement string) {
		t.Helper()
		mariadb.Execute(t, w["shanghai"].root, "SET @@SESSION.sql_log_bin = 0", statement, "SET @@SESSION.sql_log_bin = 1")
	}
	w["shanghai"].root.SetMaxOpenConns(1)
	hidden("INSERT INTO shop.orders VALUES (-1, 'only here')")
	returns := func(epoch int64) {
		declare(w, func(r *region, target *storekeeper.Target) {
			if r == back {
				target.Return = epoch
			}
		})
	}
	agrees := func(epoch int64, from string, want bool) {
		t.Helper()
		testkit.Eventually(t, 2*time.Minute, func() error {
			l := back.keepers.Look(name).Links[from]
			if l.Compared == nil || !l.Compared.Done || l.Compared.Return != epoch || l.Agrees(epoch) != want {
				return fmt.Errorf("compared with %s: %+v, want %t", from, l.Compared, want)
			}
			return nil
		})
	}
	returns(7)
	agrees(7, "shenzhen", true)
	agrees(7, "shanghai", false)
	d := back.keepers.Look(name).Links["shanghai"].Compared.Rows.Differences
	if len(d) != 1 || d[0].Table != "shop.orders" || d[0].There != d[0].Here+1 {
		t.Errorf("the differences are %+v, want one row more there", d)
	}
	if err := testutil.GatherAndCompare(registry(back), strings.NewReader(`# HELP multiactive_store_link_different_parts Parts of tables whose rows were found to differ from those of the region when this one came back last.
# TYPE multiactive_store_link_different_parts gauge
multiactive_store_link_different_parts{from="shanghai",store="users-db"} 1
multiactive_store_link_different_parts{from="shenzhen",store="users-db"} 0
`), "multiactive_store_link_different_parts"); err != nil {
		t.Error(err)
	}
	hidden("DELETE FROM shop.orders WHERE id = -1")
	agrees(7, "shanghai", true)
	returns(0)
	if l := back.keepers.Look(name).Links["shanghai"]; l.Compared != nil {
		t.Errorf("what was found for a return that is over is told still: %+v", l.Compared)
	}
	returns(9)
	agrees(9, "shanghai", true)
}

// TestComparedGoesOn has the other region's server killed while a large table is compared: how far that is, is told, it goes on from there, and ends.
func TestComparedGoesOn(t *testing.T) {
	w := world(t)
	declare(w, nil)
	await(t, w)
	const rows = 150_000
	if _, err := w["beijing"].application(t).ExecContext(t.Context(), fmt.Sprintf("INSERT INTO shop.orders SELECT seq, 'same' FROM shop.seq_1_to_%d", rows)); err != nil {
		t.Fatal(err)
	}
	for _, r := range w {
		testkit.Eventually(t, 2*time.Minute, func() error {
			var there int
			if err := r.root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM shop.orders").Scan(&there); err != nil || there != rows {
				return fmt.Errorf("%s has %d rows (%w), want %d", r.name, there, err, rows)
			}
			return nil
		})
	}
	await(t, w)
	back := w["beijing"]
	compared := func(ok func(*plan.Compared) bool) *plan.Compared {
		t.Helper()
		var found *plan.Compared
		testkit.Eventually(t, 2*time.Minute, func() error {
			if found = back.keepers.Look(name).Links["shanghai"].Compared; found == nil || !ok(found) {
				return fmt.Errorf("the comparison with shanghai is %+v", found)
			}
			return nil
		})
		return found
	}
	declare(w, func(r *region, target *storekeeper.Target) {
		if r == back {
			target.Return = 7
		}
	})
	at := compared(func(c *plan.Compared) bool { return c.Progress != "" })
	if !strings.HasPrefix(at.Progress, "at table shop.orders, 1 of 1") || at.Done || at.Token() != "" {
		t.Errorf("while it is under way it is %+v", at)
	}
	if err := w["shanghai"].server.Kill(); err != nil {
		t.Fatal(err)
	}
	at = compared(func(c *plan.Compared) bool { return c.Problem != "" })
	if at.Done || at.Token() != plan.Uncompared || !strings.HasPrefix(at.Progress, "at table shop.orders") {
		t.Errorf("while the other server is away it is %+v", at)
	}
	if err := w["shanghai"].server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := compared(func(c *plan.Compared) bool { return c.Done })
	if done.Problem != "" || done.Rows.Rows != rows || done.Rows.Tables != 1 || len(done.Rows.Differences) > 0 || done.Progress != "" {
		t.Errorf("at the end it is %+v, want %d rows that are the same", done, rows)
	}
}
