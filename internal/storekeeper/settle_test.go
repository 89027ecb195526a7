package storekeeper_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// away is a configuration in which beijing was lost, and is still, or back.
func away(epoch int64, state ownership.RegionState, lostAt time.Time) ownership.Configuration {
	c := configuration(epoch, ownership.PhaseOpen)
	c.View.Regions = map[string]ownership.RegionRecord{"beijing": {State: state, Incident: "i", LostAt: &lostAt, Unshipped: true}}
	return c
}

// TestSettle loses a region with what nobody else had received, lets another one take over, and brings it back. Keepers see to it
// that all regions end with the same rows, and that what was in conflict is counted and kept.
func TestSettle(t *testing.T) {
	w := world(t)
	w["beijing"].root.SetMaxOpenConns(1)
	declared := func(cut bool) {
		declare(w, func(r *region, target *storekeeper.Target) {
			target.Declared.Want.Conflicts = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
			target.Paused["beijing"] = cut && r.name != "beijing"
		})
	}
	declared(false)
	await(t, w)
	put := func(region, statement string) {
		t.Helper()
		if _, err := w[region].application(t).ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %s: %v", region, statement, err)
		}
	}
	rows := func(region string) string {
		t.Helper()
		var all string
		if err := w[region].root.QueryRowContext(t.Context(), "SELECT COALESCE(GROUP_CONCAT(id, ' ', value ORDER BY id), '') FROM shop.orders").Scan(&all); err != nil {
			return err.Error()
		}
		return all
	}
	equal := func(want string) {
		t.Helper()
		testkit.Eventually(t, 2*time.Minute, func() error {
			for _, r := range regions {
				if got := rows(r); got != want {
					return fmt.Errorf("%s has %s, want %s; it says %+v", r, got, want, w[r].keepers.Look(name))
				}
			}
			return nil
		})
	}
	put("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	equal("1 first,2 first")
	survivors := []string{"shanghai", "shenzhen"}
	declared(true) // a link that is paused stands for one that is slow
	testkit.Eventually(t, time.Minute, func() error {
		for _, r := range survivors {
			if l := w[r].keepers.Look(name).Observation.Links["beijing"]; !l.Stopped {
				return fmt.Errorf("%s still receives: %+v", r, l)
			}
		}
		return nil
	})
	put("beijing", "UPDATE shop.orders SET value = 'late'")
	put("beijing", "INSERT INTO shop.orders VALUES (3, 'late')")
	if err := w["beijing"].server.Kill(); err != nil {
		t.Fatal(err)
	}
	lostAt := time.Now()
	agree := func(epoch int64, state ownership.RegionState) {
		for _, r := range w {
			fence(r, away(epoch, state, lostAt), "")
		}
	}
	agree(2, ownership.RegionLost)
	testkit.Eventually(t, time.Minute, func() error {
		for _, r := range survivors {
			look := w[r].keepers.Look(name)
			if _, there := look.Observation.Links["beijing"]; there || !strings.Contains(look.Held["beijing"], "lost") {
				return fmt.Errorf("%s does not hold: %+v", r, look)
			}
		}
		return nil
	})
	declared(false)
	put("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")

	// It is back, and not agreed to be: nothing comes.
	if err := w["beijing"].server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		if look := w["beijing"].keepers.Look(name); look.Problem != nil || !look.Observation.Links["shanghai"].Receiving {
			return errors.New("it does not read from the others")
		}
		return nil
	})
	testkit.Consistently(t, 3*time.Second, func() error {
		if got := rows("shanghai"); got != "1 taken over,2 first" {
			return fmt.Errorf("shanghai has %s", got)
		}
		return nil
	})
	agree(3, ownership.RegionReturning)
	equal("1 taken over,2 late,3 late")
	await(t, w)
	want := []storage.Late{{
		Outage: storage.Outage{Region: "beijing", ID: lostAt.UnixMicro()}, Applied: 2, OwnerStands: 1,
		Conflicts: []storage.Conflict{{Table: "shop.orders", Key: `{"id":1}`, Outcome: storage.OutcomeOwnerStands}},
	}}
	for _, r := range regions {
		testkit.Eventually(t, time.Minute, func() error {
			look := w[r].keepers.Look(name)
			look.Late = slices.Clone(look.Late)
			for i := range look.Late {
				look.Late[i].Withdrawn = false
			}
			if diff := cmp.Diff(want, look.Late); diff != "" || look.Settling != "" || len(look.Held) > 0 {
				return fmt.Errorf("%s says %q, holds %v, late changes (-want +got):\n%s", r, look.Settling, look.Held, diff)
			}
			return nil
		})
		if err := testutil.GatherAndCompare(registry(w[r]), strings.NewReader(`# HELP multiactive_store_late_changes Changes that the region had accepted and not shipped when it was lost last, by what became of them.
# TYPE multiactive_store_late_changes gauge
multiactive_store_late_changes{outcome="Applied",region="beijing",store="users-db"} 2
multiactive_store_late_changes{outcome="LateStands",region="beijing",store="users-db"} 0
multiactive_store_late_changes{outcome="Open",region="beijing",store="users-db"} 0
multiactive_store_late_changes{outcome="OwnerStands",region="beijing",store="users-db"} 1
`), "multiactive_store_late_changes"); err != nil {
			t.Error(err)
		}
	}
	put("beijing", "INSERT INTO shop.orders VALUES (4, 'on')")
	equal("1 taken over,2 late,3 late,4 on")
}

// TestForgo lets what a lost region had not shipped come as it is, once nobody declares what is to stand.
func TestForgo(t *testing.T) {
	w := world(t)
	conflicts := []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	declared := func() {
		declare(w, func(_ *region, target *storekeeper.Target) { target.Declared.Want.Conflicts = conflicts })
	}
	declared()
	await(t, w)
	lostAt := time.Now()
	for _, r := range w {
		fence(r, away(2, ownership.RegionLost, lostAt), "")
	}
	testkit.Eventually(t, time.Minute, func() error {
		if look := w["shanghai"].keepers.Look(name); look.Held["beijing"] == "" || len(look.Observation.Links) != 1 {
			return fmt.Errorf("shanghai does not hold: %+v", look)
		}
		return nil
	})
	mariadb.Execute(t, w["beijing"].root, "SET sql_log_bin = 1", "INSERT INTO shop.orders VALUES (1, 'late')", "SET sql_log_bin = 0")
	conflicts = nil
	declared()
	await(t, w)
	if v := w["shanghai"].keepers.Look(name); v.Observation.Links["beijing"].Fault != nil || v.Problem != nil && v.Problem.Reason != v1alpha1.ReasonServerUnreachable {
		t.Errorf("shanghai says %+v", v)
	}
}

// TestSettlePrimary loses the region that is written to with what nobody else had received. It comes back as a replica without that, and
// decides on it when it is written to again.
func TestSettlePrimary(t *testing.T) {
	for name, settles := range map[string]bool{"with a policy": true, "without": false} {
		t.Run(name, func(t *testing.T) { testPrimaryLost(t, settles) })
	}
}

func testPrimaryLost(t *testing.T, settles bool) {
	w := world(t)
	declared := func(cut bool) {
		declare(w, func(r *region, target *storekeeper.Target) {
			d := target.Declared
			d.Slice.Topology = v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: "beijing"}
			d.Want.Mesh = false
			if settles {
				d.Want.Conflicts = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
			}
			target.Paused["beijing"] = cut && r.name != "beijing"
		})
	}
	declared(false)
	lostAt := time.Now()
	agreed := func(c ownership.Configuration, primary string, but ...string) {
		t.Helper()
		for _, r := range w {
			fence(r, c, primary)
		}
		testkit.Eventually(t, time.Minute, func() error {
			for _, r := range w {
				if !slices.Contains(but, r.name) && !r.keepers.Fenced(c, []string{name}) {
					return fmt.Errorf("%s is not fenced: %s", r.name, r.keepers.Look(name).FenceProblem)
				}
			}
			return nil
		})
	}
	put := func(region, statement string) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error {
			_, err := w[region].application(t).ExecContext(t.Context(), statement)
			return err
		})
	}
	equal := func(want string) {
		t.Helper()
		testkit.Eventually(t, 2*time.Minute, func() error {
			for _, r := range regions {
				var got string
				if err := w[r].root.QueryRowContext(t.Context(), "SELECT COALESCE(GROUP_CONCAT(id, ' ', value ORDER BY id), '') FROM shop.orders").Scan(&got); err != nil || got != want {
					return fmt.Errorf("%s has %s, want %s (%w); it says %+v", r, got, want, err, w[r].keepers.Look(name))
				}
			}
			return nil
		})
	}
	agreed(configuration(1, ownership.PhaseOpen), "beijing")
	put("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	equal("1 first,2 first")
	declared(true)
	testkit.Eventually(t, time.Minute, func() error {
		for _, r := range []string{"shanghai", "shenzhen"} {
			if l := w[r].keepers.Look(name).Observation.Links["beijing"]; !l.Stopped {
				return fmt.Errorf("%s still receives: %+v", r, l)
			}
		}
		return nil
	})
	put("beijing", "UPDATE shop.orders SET value = 'late'")
	if err := w["beijing"].server.Kill(); err != nil {
		t.Fatal(err)
	}
	agreed(away(2, ownership.RegionLost, lostAt), "shanghai", "beijing")
	declared(false)
	put("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")
	if err := w["beijing"].server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	agreed(away(3, ownership.RegionReturning, lostAt), "shanghai")
	if !settles {
		testkit.Eventually(t, time.Minute, func() error {
			e := w["beijing"].keepers.Look(name).Errant
			if e == nil || e.Transactions < 1 || !e.Complete || !slices.Contains(e.Tables, "shop.orders") || e.Command == "" {
				return fmt.Errorf("beijing tells of %+v, want the transaction that nobody else has", e)
			}
			return nil
		})
		if e := w["shenzhen"].keepers.Look(name).Errant; e != nil && e.Transactions > 0 {
			t.Errorf("shenzhen tells of %+v", e)
		}
		return
	}
	equal("1 taken over,2 first")
	agreed(away(4, ownership.RegionReturning, lostAt), "")
	back := configuration(5, ownership.PhaseOpen)
	agreed(back, "beijing")
	equal("1 taken over,2 late")
	put("beijing", "INSERT INTO shop.orders VALUES (3, 'on')")
	equal("1 taken over,2 late,3 on")
	testkit.Eventually(t, 3*time.Minute, func() error { // who has no trouble looks seldom
		for _, r := range regions {
			if l := w[r].keepers.Look(name).Late; len(l) != 1 || l[0].Applied != 1 || l[0].OwnerStands != 1 {
				return fmt.Errorf("%s tells %+v", r, l)
			}
		}
		return nil
	})
}
