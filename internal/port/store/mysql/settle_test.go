package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

var meshRegions = []string{"beijing", "shanghai", "shenzhen"}

// mesh is three servers that replicate to each other, and the operator's clients of them.
type mesh struct {
	t        *testing.T
	engine   mysqltest.Engine
	nodes    map[string]*mysqltest.Node
	servers  map[string]*mysql.Server
	root     map[string]*sql.DB
	policies []storage.ConflictPolicy
}

func newMesh(t *testing.T, tables ...string) *mesh {
	t.Helper()
	e := engine(t)
	m := &mesh{t: t, engine: e, nodes: e.Run(t, meshRegions...), servers: map[string]*mysql.Server{}, root: map[string]*sql.DB{}}
	for _, region := range meshRegions {
		m.root[region] = m.nodes[region].Superuser()
		t.Cleanup(func() { _ = m.root[region].Close() })
		for _, grant := range e.SettleGrants {
			m.run(region, grant)
		}
		for _, table := range tables {
			m.run(region, table)
		}
		server, err := mysql.Open(m.nodes[region].Options())
		m.must(err)
		t.Cleanup(func() { _ = server.Close() })
		m.servers[region] = server
		m.must(server.Prepare(t.Context(), m.want(region)))
	}
	for _, region := range meshRegions {
		m.connect(region)
		_, err := m.servers[region].Beat(t.Context(), storage.Canary{Region: region, Sequence: 1, Time: time.Now()})
		m.must(err)
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
	w := storage.Want{Store: "orders", Region: region, Regions: meshRegions, Mesh: true, Writable: true, Tables: []string{"shop.orders"}, Conflicts: m.policies, Outage: time.Hour}
	for _, other := range meshRegions {
		if other != region {
			w.Sources = append(w.Sources, m.source(other))
		}
	}
	return w
}

func (m *mesh) source(region string) storage.Source {
	return storage.Source{Region: region, Address: m.nodes[region].Options().Address}
}

func (m *mesh) connect(region string, without ...string) {
	m.t.Helper()
	for _, source := range m.want(region).Sources {
		if !slices.Contains(without, source.Region) {
			m.must(m.servers[region].Connect(m.t.Context(), m.want(region), source))
		}
	}
}

// run is on one server alone, write as an application does.
func (m *mesh) run(region, statement string) {
	m.t.Helper()
	if err := m.nodes[region].Root(m.t.Context(), statement); err != nil {
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

// settled waits until every server has what the others wrote.
func (m *mesh) settled() {
	m.t.Helper()
	testkit.Eventually(m.t, 2*time.Minute, func() error {
		var all []storage.Positions
		for _, region := range meshRegions {
			at, err := m.servers[region].Positions(m.t.Context(), m.want(region))
			if err != nil {
				return err
			}
			all = append(all, at)
		}
		for i, at := range all {
			if len(at) != len(meshRegions) || !cmp.Equal(at, all[0]) {
				seen, _ := m.servers[meshRegions[i]].Observe(m.t.Context(), m.want(meshRegions[i]))
				return fmt.Errorf("%s has %v, %s has %v; links of the former: %+v", meshRegions[i], at, meshRegions[0], all[0], faults(seen))
			}
		}
		return nil
	})
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
	for _, other := range meshRegions {
		if other != "beijing" {
			m.pause(other, "beijing")
		}
	}
	unshipped()
	m.must(m.nodes["beijing"].Kill())
}

// pause stops the link from a region.
func (m *mesh) pause(at, from string) {
	m.t.Helper()
	m.must(m.nodes[at].Root(m.t.Context(), m.engine.StopLink, from))
}

// hold has the others receive nothing from a region any more.
func (m *mesh) hold(o storage.Outage) {
	m.t.Helper()
	for _, other := range meshRegions {
		if other == o.Region {
			continue
		}
		testkit.Eventually(m.t, time.Minute, func() error {
			held, err := m.servers[other].Hold(m.t.Context(), m.want(other), o)
			if err == nil && !held {
				err = errors.New("it applies what it received")
			}
			return err
		})
	}
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
	m.connect(o.Region)
}

func (m *mesh) release(o storage.Outage) {
	m.t.Helper()
	for _, other := range meshRegions {
		if other == o.Region {
			continue
		}
		testkit.Eventually(m.t, time.Minute, func() error {
			released, err := m.servers[other].Release(m.t.Context(), m.want(other), o, m.source(o.Region))
			if err == nil && !released {
				err = errors.New("not yet")
			}
			return err
		})
		m.connect(other)
	}
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
	found, err := m.root[region].QueryContext(m.t.Context(), query)
	m.must(err)
	defer func() { _ = found.Close() }()
	names, err := found.Columns()
	m.must(err)
	var all []string
	for found.Next() {
		texts := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range texts {
			into[i] = &texts[i]
		}
		m.must(found.Scan(into...))
		parts := make([]string, len(names))
		for i, text := range texts {
			if parts[i] = text.String; !text.Valid {
				parts[i] = "NULL"
			}
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

// TestSettleOwnerWins loses a region that had written what nobody received. When it is back, what nobody else has changed is everywhere, where
// both had written the version of the region that took over stands, and the other one is kept.
func TestSettleOwnerWins(t *testing.T) {
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
		"UPDATE shop.orders SET value = 'taken over' WHERE id = 3", // which stops the links to the region that is back
		"INSERT INTO shop.orders VALUES (20, 'taken over'), (22, 'same')",
		"DELETE FROM shop.orders WHERE id = 5")
	m.write("shenzhen", "UPDATE shop.orders SET value = 'elsewhere' WHERE id = 6", "UPDATE shop.orders SET value = 'first' WHERE id = 6",
		"UPDATE shop.orders SET value = 'taken over' WHERE id = 8")
	// A server that comes back reads from the others before anybody can say anything: some of that is applied by then.
	m.must(m.nodes["beijing"].Start(t.Context()))
	testkit.Eventually(t, time.Minute, func() error {
		if seen := m.rows("beijing", "SELECT value FROM shop.orders WHERE id = 1"); len(seen) == 0 || seen[0] != "taken over" {
			return fmt.Errorf("row 1 is %v", seen)
		}
		return nil
	})
	if _, err := m.servers["beijing"].Decide(t.Context(), m.want("beijing")); err != nil {
		t.Error(err)
	}
	m.settle(o)
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id",
		"1 taken over", "2 late", "3 taken over", "6 late", "8 taken over", "9 first", "20 taken over", "21 late", "22 same", "30 first")
	m.everywhere("SELECT table_name, row_key, policy, outcome, before_row, late_row, other_row FROM multiactive.conflict WHERE outcome <> 'Applied' ORDER BY number",
		`shop.orders {"id":1} OwnerWins OwnerStands {"id":1,"value":"first"} {"id":1,"value":"later"} {"id":1,"value":"taken over"}`,
		`shop.orders {"id":3} OwnerWins OwnerStands {"id":3,"value":"first"}  {"id":3,"value":"taken over"}`,
		`shop.orders {"id":20} OwnerWins OwnerStands  {"id":20,"value":"late"} {"id":20,"value":"taken over"}`,
		`shop.orders {"id":5} OwnerWins OwnerStands {"id":5,"value":"first"} {"id":5,"value":"late"} `)
	for _, region := range meshRegions {
		found, err := m.servers[region].Late(t.Context(), m.want(region))
		m.must(err)
		want := []storage.Late{{
			Outage: o, Applied: 7, OwnerStands: 4,
			Conflicts: []storage.Conflict{
				{Table: "shop.orders", Key: `{"id":1}`, Outcome: storage.OutcomeOwnerStands}, {Table: "shop.orders", Key: `{"id":3}`, Outcome: storage.OutcomeOwnerStands},
				{Table: "shop.orders", Key: `{"id":20}`, Outcome: storage.OutcomeOwnerStands}, {Table: "shop.orders", Key: `{"id":5}`, Outcome: storage.OutcomeOwnerStands},
			},
		}}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("what %s knows of it (-want +got):\n%s", region, diff)
		}
	}
	m.goesOn()
}

// goesOn holds that rows go everywhere, also after every server was restarted and links began anew.
func (m *mesh) goesOn() {
	m.t.Helper()
	var restarts sync.WaitGroup
	failed := make([]error, len(meshRegions))
	for i, region := range meshRegions {
		restarts.Go(func() {
			failed[i] = m.nodes[region].Stop(m.t.Context())
			failed[i] = errors.Join(failed[i], m.nodes[region].Start(m.t.Context()))
		})
	}
	restarts.Wait()
	m.must(errors.Join(failed...))
	var want []string
	for i, region := range meshRegions {
		m.write(region, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 'on')", 1000+i))
		want = append(want, fmt.Sprintf("%d on", 1000+i))
	}
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders WHERE id >= 1000 ORDER BY id", want...)
	for _, region := range meshRegions {
		testkit.Eventually(m.t, time.Minute, func() error {
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

func waitFor(m *mesh, region, query, want string) {
	m.t.Helper()
	testkit.Eventually(m.t, time.Minute, func() error {
		if got := m.rows(region, query); len(got) != 1 || got[0] != want {
			return fmt.Errorf("%s in %s: %v", query, region, got)
		}
		return nil
	})
}
