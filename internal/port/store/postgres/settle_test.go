//go:build e2e

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store/postgres"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	testserver "multiactive.dev/operator/internal/testkit/postgres"
)

var meshRegions = []string{"beijing", "shanghai", "shenzhen"}

// mesh is three servers that replicate to each other, and the operator's clients of them.
type mesh struct {
	t        *testing.T
	nodes    map[string]*node
	servers  map[string]*postgres.Server
	tables   []string
	policies []storage.ConflictPolicy
	sequence int64
}

// newMesh has, besides shop.orders, tables by their names, which are made by statements.
func newMesh(t *testing.T, tables ...string) *mesh {
	t.Helper()
	programs, err := testserver.Newer()
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, nodes: map[string]*node{}, servers: map[string]*postgres.Server{}, tables: []string{"shop.orders"}}
	for region, n := range start(programs)(t, meshRegions...) {
		m.nodes[region] = n.(*node)
	}
	for i, table := range tables {
		name, _, _ := strings.Cut(table, " (")
		m.tables = append(m.tables, "shop."+strings.ReplaceAll(strings.Trim(name, `"`), `""`, `"`))
		tables[i] = "CREATE TABLE shop." + table
	}
	for _, region := range meshRegions {
		for _, statement := range append(append([]string{}, settleGrants...), tables...) {
			m.run(region, statement)
		}
		for _, declared := range m.tables {
			table := pgx.Identifier(strings.SplitN(declared, ".", 2)).Sanitize()
			m.run(region, "ALTER TABLE "+table+" OWNER TO owner")
			m.run(region, "ALTER TABLE "+table+" REPLICA IDENTITY FULL")
			m.run(region, "GRANT ALL ON "+table+" TO application")
		}
		server, err := postgres.Open(m.nodes[region].Options())
		m.must(err)
		t.Cleanup(func() { _ = server.Close() })
		m.servers[region] = server
		m.must(server.Prepare(t.Context(), m.want(region)))
	}
	for _, region := range meshRegions {
		m.connect(region)
	}
	m.settled()
	return m
}

func (m *mesh) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *mesh) want(region string) storage.Want {
	w := storage.Want{Store: "orders", Region: region, Regions: meshRegions, Mesh: true, Writable: true, Tables: m.tables, Conflicts: m.policies, Outage: time.Hour}
	for _, other := range meshRegions {
		if other != region {
			w.Sources = append(w.Sources, m.source(other))
		}
	}
	return w
}

func (m *mesh) source(region string) storage.Source {
	return storage.Source{Region: region, Address: m.nodes[region].Addr()}
}

func (m *mesh) connect(region string) {
	m.t.Helper()
	for _, source := range m.want(region).Sources {
		m.must(m.servers[region].Connect(m.t.Context(), m.want(region), source))
	}
}

func (m *mesh) pause(region string, from ...string) {
	m.t.Helper()
	for _, source := range from {
		m.must(m.servers[region].Pause(m.t.Context(), source))
	}
}

// run is as a superuser, write as an application does. Both are replicated.
func (m *mesh) run(region, statement string) {
	m.t.Helper()
	if _, err := m.nodes[region].root.Exec(m.t.Context(), statement); err != nil {
		m.t.Fatalf("%s: %s: %v", region, statement, err)
	}
}

func (m *mesh) write(region string, statements ...string) {
	m.t.Helper()
	for _, statement := range statements {
		if _, err := m.nodes[region].Application().ExecContext(m.t.Context(), statement); err != nil {
			m.t.Fatalf("%s: %s: %v", region, statement, err)
		}
	}
}

// settled waits until every server has what the others wrote: canaries come after it.
func (m *mesh) settled() {
	m.t.Helper()
	m.beat()
	for _, region := range meshRegions {
		testkit.Eventually(m.t, time.Minute, func() error {
			if got := m.rows(region, "SELECT region, max(sequence) FROM multiactive.canary GROUP BY region ORDER BY region"); !cmp.Equal(got, m.beats()) {
				seen, _ := m.servers[region].Observe(m.t.Context(), m.want(region))
				return fmt.Errorf("%s has canaries %v; its links: %s", region, got, faults(seen))
			}
			return nil
		})
	}
}

func (m *mesh) beat() {
	m.t.Helper()
	m.sequence++
	for _, region := range meshRegions {
		_, err := m.servers[region].Beat(m.t.Context(), storage.Canary{Region: region, Sequence: m.sequence, Time: time.Now()})
		m.must(err)
	}
}

func (m *mesh) beats() []string {
	var all []string
	for _, region := range meshRegions {
		all = append(all, fmt.Sprintf("%s %d", region, m.sequence))
	}
	return all
}

func faults(o storage.Observation) string {
	var all []string
	for from, link := range o.Links {
		all = append(all, fmt.Sprintf("%s: %+v %+v", from, link, link.Fault))
	}
	return strings.Join(all, "; ")
}

// lose has beijing write what nobody else gets, and ends it.
func (m *mesh) lose(unshipped func()) {
	m.t.Helper()
	m.settled()
	m.pause("shanghai", "beijing")
	m.pause("shenzhen", "beijing")
	unshipped()
	m.must(m.nodes["beijing"].Kill())
}

// hold has the others receive nothing from a region any more.
func (m *mesh) hold(o storage.Outage) {
	m.t.Helper()
	for _, other := range meshRegions {
		if other != o.Region {
			m.holdIn(other, o)
		}
	}
}

func (m *mesh) holdIn(other string, o storage.Outage) {
	m.t.Helper()
	testkit.Eventually(m.t, time.Minute, func() error {
		held, err := m.servers[other].Hold(m.t.Context(), m.want(other), o)
		if err == nil && !held {
			err = errors.New("it applies what it received")
		}
		return err
	})
}

// settle brings a region back, as members do.
func (m *mesh) settle(o storage.Outage) {
	m.t.Helper()
	m.withdraw(o)
	m.release(o)
	m.settled()
	m.decide(o)
	m.settled()
	m.verify(o)
	m.settled()
}

// verify goes on until nothing has crossed.
func (m *mesh) verify(o storage.Outage) {
	m.t.Helper()
	testkit.Eventually(m.t, time.Minute, func() error {
		done, err := m.servers[o.Region].Verify(m.t.Context(), m.want(o.Region), m.want(o.Region).Sources)
		if err == nil && !done {
			err = errors.New("not done")
		}
		return err
	})
}

func (m *mesh) withdraw(o storage.Outage) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	m.must(m.servers[o.Region].Withdraw(ctx, m.want(o.Region), o, m.want(o.Region).Sources))
}

func (m *mesh) release(o storage.Outage) {
	m.t.Helper()
	for _, other := range meshRegions {
		if other != o.Region {
			m.releaseIn(other, o)
		}
	}
	m.connect(o.Region)
}

func (m *mesh) releaseIn(other string, o storage.Outage) {
	m.t.Helper()
	testkit.Eventually(m.t, time.Minute, func() error {
		released, err := m.servers[other].Release(m.t.Context(), m.want(other), o, m.source(o.Region))
		if err == nil && !released {
			err = errors.New("not yet")
		}
		return err
	})
	m.must(m.servers[other].Connect(m.t.Context(), m.want(other), m.source(o.Region)))
}

func (m *mesh) decide(o storage.Outage) {
	m.t.Helper()
	for more := true; more; {
		var err error
		more, err = m.servers[o.Region].Decide(m.t.Context(), m.want(o.Region))
		m.must(err)
	}
}

// rows of a question in a region, as text.
func (m *mesh) rows(region, query string) []string {
	m.t.Helper()
	found, err := m.nodes[region].root.Query(m.t.Context(), query, pgx.QueryExecModeSimpleProtocol)
	m.must(err)
	defer found.Close()
	var all []string
	for found.Next() {
		var parts []string
		for _, raw := range found.RawValues() {
			if raw == nil {
				raw = []byte("NULL")
			}
			parts = append(parts, string(raw))
		}
		all = append(all, strings.Join(parts, " "))
	}
	m.must(found.Err())
	return all
}

// everywhere holds that all regions answer a question alike.
func (m *mesh) everywhere(query string, want ...string) {
	m.t.Helper()
	for _, region := range meshRegions {
		if diff := cmp.Diff(want, m.rows(region, query)); diff != "" {
			m.t.Errorf("%s in %s (-want +got):\n%s", query, region, diff)
		}
	}
}

// TestRealSettleOwnerWins loses a region that had written what nobody received. When it is back, what nobody else has changed is everywhere, where
// both had written the version of the region that took over stands, and the other one is kept.
func TestRealSettleOwnerWins(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	for id := 1; id <= 9; id++ {
		m.write("beijing", fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 'first')", id))
	}
	o := storage.Outage{Region: "beijing", ID: 1000}
	m.lose(func() {
		m.write("beijing",
			"UPDATE shop.orders SET value = 'late' WHERE id IN (1, 2)", // 2: nobody else
			"DELETE FROM shop.orders WHERE id IN (3, 4)",               // 4: nobody else
			"INSERT INTO shop.orders VALUES (20, 'late'), (21, 'late'), (22, 'same')",
			"UPDATE shop.orders SET value = 'later' WHERE id = 1",
			"INSERT INTO shop.orders VALUES (23, 'gone')", "DELETE FROM shop.orders WHERE id = 23",
			"UPDATE shop.orders SET value = 'late' WHERE id IN (5, 6)",
			"UPDATE shop.orders SET id = 30 WHERE id = 7")
	})
	m.hold(o)
	m.write("shanghai",
		"UPDATE shop.orders SET value = 'taken over' WHERE id = 1",
		"UPDATE shop.orders SET value = 'taken over' WHERE id = 3", // which a region without it would pass over
		"INSERT INTO shop.orders VALUES (20, 'taken over'), (22, 'same')",
		"DELETE FROM shop.orders WHERE id = 5")
	m.write("shenzhen", "UPDATE shop.orders SET value = 'elsewhere' WHERE id = 6", "UPDATE shop.orders SET value = 'first' WHERE id = 6",
		"UPDATE shop.orders SET value = 'taken over' WHERE id = 8")
	m.must(m.nodes["beijing"].Start(t.Context()))
	// Its links begin with its server. It must receive nothing before it has taken back what it had not shipped.
	testkit.Eventually(t, time.Minute, func() error {
		if seen, err := m.servers["beijing"].Observe(t.Context(), m.want("beijing")); err != nil || seen.Links["shanghai"].Fault == nil || seen.Links["shanghai"].Bootstrap != nil {
			return fmt.Errorf("%s (%w)", faults(seen), err)
		}
		return nil
	})
	if got := m.rows("beijing", "SELECT value FROM shop.orders WHERE id = 1"); got[0] != "later" {
		t.Errorf("row 1 is %v while beijing is to receive nothing", got)
	}
	m.settle(o)
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id",
		"1 taken over", "2 late", "3 taken over", "6 late", "8 taken over", "9 first", "20 taken over", "21 late", "22 same", "30 first")
	m.everywhere("SELECT table_name, row_key, policy, outcome, before_row, late_row, other_row FROM multiactive.conflict WHERE outcome <> 'Applied' ORDER BY number",
		`shop.orders {"id":"1"} OwnerWins OwnerStands {"id":"1","value":"first"} {"id":"1","value":"later"} {"id":"1","value":"taken over"}`,
		`shop.orders {"id":"3"} OwnerWins OwnerStands {"id":"3","value":"first"}  {"id":"3","value":"taken over"}`,
		`shop.orders {"id":"20"} OwnerWins OwnerStands  {"id":"20","value":"late"} {"id":"20","value":"taken over"}`,
		`shop.orders {"id":"5"} OwnerWins OwnerStands {"id":"5","value":"first"} {"id":"5","value":"late"} `)
	for _, region := range meshRegions {
		found, err := m.servers[region].Late(t.Context(), m.want(region))
		m.must(err)
		want := []storage.Late{{
			Outage: o, Applied: 7, OwnerStands: 4,
			Conflicts: []storage.Conflict{
				{Table: "shop.orders", Key: `{"id":"1"}`, Outcome: storage.OutcomeOwnerStands}, {Table: "shop.orders", Key: `{"id":"3"}`, Outcome: storage.OutcomeOwnerStands},
				{Table: "shop.orders", Key: `{"id":"20"}`, Outcome: storage.OutcomeOwnerStands}, {Table: "shop.orders", Key: `{"id":"5"}`, Outcome: storage.OutcomeOwnerStands},
			},
		}}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("what %s knows of it (-want +got):\n%s", region, diff)
		}
	}
	m.goesOn()
}

// goesOn holds that rows go everywhere, also after every server was restarted, and that nothing is kept that nobody reads.
func (m *mesh) goesOn() {
	m.t.Helper()
	var want []string
	for i, region := range meshRegions {
		m.must(m.nodes[region].Stop(m.t.Context()))
		m.must(m.nodes[region].Start(m.t.Context()))
		m.write(region, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 'on')", 1000+i))
		want = append(want, fmt.Sprintf("%d on", 1000+i))
	}
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders WHERE id >= 1000 ORDER BY id", want...)
	m.everywhere("SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'held%'")
	for _, region := range meshRegions {
		testkit.Eventually(m.t, time.Minute, func() error {
			m.beat() // a fault stays until a link gets on
			seen, err := m.servers[region].Observe(m.t.Context(), m.want(region))
			m.must(err)
			for from, link := range seen.Links {
				if link.Fault != nil || !link.Receiving || !link.Applying {
					return fmt.Errorf("%s from %s: %+v %+v", region, from, link, link.Fault)
				}
			}
			return nil
		})
	}
}
