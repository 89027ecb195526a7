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

// loss is a world in which beijing is lost with what nobody else had received.
type loss struct {
	t         *testing.T
	w         map[string]*region
	lostAt    time.Time
	conflicts []storage.ConflictPolicy
	// cut are links that somebody has paused, by target and source: so stands for one that is slow.
	cut map[string][]string
}

func newLoss(t *testing.T) *loss {
	t.Helper()
	l := &loss{t: t, w: world(t), conflicts: []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}, cut: map[string][]string{}}
	l.w["beijing"].root.SetMaxOpenConns(1)
	l.declare()
	await(t, l.w)
	return l
}

func (l *loss) declare() {
	declare(l.w, func(r *region, target *storekeeper.Target) {
		target.Declared.Want.Conflicts = l.conflicts
		for _, from := range l.cut[r.name] {
			target.Paused[from] = true
		}
	})
}

func (l *loss) put(region, statement string) {
	l.t.Helper()
	if _, err := l.w[region].application(l.t).ExecContext(l.t.Context(), statement); err != nil {
		l.t.Fatalf("%s: %s: %v", region, statement, err)
	}
}

func (l *loss) rows(region string) string {
	l.t.Helper()
	var all string
	if err := l.w[region].root.QueryRowContext(l.t.Context(), "SELECT COALESCE(GROUP_CONCAT(id, ' ', value ORDER BY id), '') FROM shop.orders").Scan(&all); err != nil {
		return err.Error()
	}
	return all
}

// equal waits until regions have these rows; without regions, all of them.
func (l *loss) equal(want string, only ...string) {
	l.t.Helper()
	if only == nil {
		only = regions
	}
	testkit.Eventually(l.t, 2*time.Minute, func() error {
		for _, r := range only {
			if got := l.rows(r); got != want {
				return fmt.Errorf("%s has %s, want %s; it says %+v", r, got, want, l.w[r].keepers.Look(name))
			}
		}
		return nil
	})
}

// cuts pauses links, and waits until they stand still.
func (l *loss) cuts(links map[string][]string) {
	l.t.Helper()
	l.cut = links
	l.declare()
	testkit.Eventually(l.t, time.Minute, func() error {
		for r, sources := range links {
			for _, from := range sources {
				if link := l.w[r].keepers.Look(name).Observation.Links[from]; !link.Stopped {
					return fmt.Errorf("%s still receives from %s: %+v", r, from, link)
				}
			}
		}
		return nil
	})
}

func (l *loss) agree(epoch int64, state ownership.RegionState) {
	for _, r := range l.w {
		fence(r, away(epoch, state, l.lostAt), "")
	}
}

// lose kills beijing's server, and waits until the others hold.
func (l *loss) lose() {
	l.t.Helper()
	if err := l.w["beijing"].server.Kill(); err != nil {
		l.t.Fatal(err)
	}
	l.lostAt = time.Now()
	l.agree(2, ownership.RegionLost)
	testkit.Eventually(l.t, time.Minute, func() error {
		for _, r := range []string{"shanghai", "shenzhen"} {
			look := l.w[r].keepers.Look(name)
			if _, there := look.Observation.Links["beijing"]; there || !strings.Contains(look.Held["beijing"], "lost") {
				return fmt.Errorf("%s does not hold: %+v", r, look)
			}
		}
		return nil
	})
}

// late waits until all regions tell the same of late changes, and nothing is left to do.
func (l *loss) late(want storage.Late) {
	l.t.Helper()
	want.Outage = storage.Outage{Region: "beijing", ID: l.lostAt.UnixMicro()}
	for _, r := range regions {
		testkit.Eventually(l.t, time.Minute, func() error {
			look := l.w[r].keepers.Look(name)
			look.Late = slices.Clone(look.Late)
			for i := range look.Late {
				look.Late[i].Withdrawn = false
			}
			if diff := cmp.Diff([]storage.Late{want}, look.Late); diff != "" || look.Settling != "" || len(look.Held) > 0 {
				return fmt.Errorf("%s says %q, holds %v, late changes (-want +got):\n%s", r, look.Settling, look.Held, diff)
			}
			return nil
		})
	}
}

// TestSettle loses a region with what nobody else had received, lets another one take over, and brings it back. Keepers see to it
// that all regions end with the same rows, and that what was in conflict is counted and kept.
func TestSettle(t *testing.T) {
	l := newLoss(t)
	w := l.w
	l.put("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	l.equal("1 first,2 first")
	l.cuts(map[string][]string{"shanghai": {"beijing"}, "shenzhen": {"beijing"}})
	l.put("beijing", "UPDATE shop.orders SET value = 'late'")
	l.put("beijing", "INSERT INTO shop.orders VALUES (3, 'late')")
	l.lose()
	l.cut = nil
	l.declare()
	l.put("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")

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
		if got := l.rows("shanghai"); got != "1 taken over,2 first" {
			return fmt.Errorf("shanghai has %s", got)
		}
		return nil
	})
	l.agree(3, ownership.RegionReturning)
	l.equal("1 taken over,2 late,3 late")
	await(t, w)
	l.late(storage.Late{Applied: 2, OwnerStands: 1, Conflicts: []storage.Conflict{{Table: "shop.orders", Key: `{"id":1}`, Outcome: storage.OutcomeOwnerStands}}})
	for _, r := range regions {
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
	l.put("beijing", "INSERT INTO shop.orders VALUES (4, 'on')")
	l.equal("1 taken over,2 late,3 late,4 on")
}

// TestPolicyRemoved removes the policy while late changes are kept aside, and one region has not got yet what another one had received: it
// goes on behind what was withdrawn all the same. All is decided on, and a person is asked where both have changed a row.
func TestPolicyRemoved(t *testing.T) {
	l := newLoss(t)
	l.put("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	l.equal("1 first,2 first")
	l.cuts(map[string][]string{"shenzhen": {"beijing", "shanghai"}})
	l.put("beijing", "INSERT INTO shop.orders VALUES (3, 'shipped')")
	l.equal("1 first,2 first,3 shipped", "shanghai")
	l.cuts(map[string][]string{"shanghai": {"beijing"}, "shenzhen": {"beijing", "shanghai"}})
	l.put("beijing", "UPDATE shop.orders SET value = 'late' WHERE id < 3")
	l.put("beijing", "INSERT INTO shop.orders VALUES (4, 'late')")
	l.lose()
	l.put("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")
	// Nothing arrives at beijing, so that it decides on nothing.
	l.cut = map[string][]string{"shenzhen": {"beijing", "shanghai"}, "beijing": {"shanghai", "shenzhen"}}
	l.declare()
	if err := l.w["beijing"].server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		look := l.w["beijing"].keepers.Look(name)
		for _, from := range []string{"shanghai", "shenzhen"} {
			if link, age := look.Observation.Links[from], look.Links[from].Age; !link.Stopped || age < 5*time.Second {
				return fmt.Errorf("beijing receives from %s: %+v, %s", from, link, age)
			}
		}
		return nil
	})
	l.agree(3, ownership.RegionReturning)
	testkit.Eventually(t, time.Minute, func() error {
		look := l.w["beijing"].keepers.Look(name)
		if i := slices.IndexFunc(look.Late, func(one storage.Late) bool { return one.Region == "beijing" }); i < 0 || look.Late[i].Pending != 3 {
			return fmt.Errorf("beijing tells of %+v (%s), want three changes that are not decided on", look.Late, look.Settling)
		}
		return nil
	})
	l.conflicts = nil
	l.declare()
	testkit.Consistently(t, 5*time.Second, func() error {
		if held := l.w["shenzhen"].keepers.Look(name).Held["beijing"]; held == "" {
			return errors.New("shenzhen holds no more, and lacks what shanghai had received")
		}
		return nil
	})
	l.cut = nil
	l.declare()
	l.equal("1 taken over,2 late,3 shipped,4 late")
	await(t, l.w)
	l.late(storage.Late{Applied: 2, Open: 1, Conflicts: []storage.Conflict{{Table: "shop.orders", Key: `{"id":1}`, Outcome: storage.OutcomeOpen}}})
	l.put("beijing", "INSERT INTO shop.orders VALUES (5, 'on')")
	l.equal("1 taken over,2 late,3 shipped,4 late,5 on")
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
	for _, r := range w {
		fence(r, away(3, ownership.RegionReturning, lostAt), "")
	}
	await(t, w)
	testkit.Eventually(t, time.Minute, func() error {
		for _, r := range regions {
			var rows int
			if err := w[r].root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM shop.orders WHERE value = 'late'").Scan(&rows); err != nil || rows != 1 {
				return fmt.Errorf("%s has %d late rows (%w), want one", r, rows, err)
			}
		}
		return nil
	})
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
