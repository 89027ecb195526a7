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

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

const timed = " (id bigint PRIMARY KEY, slug text UNIQUE, text text, changed timestamptz)"

// TestRealSettlePolicies has all three policies decide on the same conflicts.
func TestRealSettlePolicies(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "notes"+timed, "drafts"+timed)
	m.policies = []storage.ConflictPolicy{
		{Table: "shop.notes", Winner: storage.WinnerLast, TimestampColumn: "changed", MaxClockSkew: time.Second},
		{Table: "shop.drafts", Winner: storage.WinnerNobody},
	}
	for _, table := range []string{"notes", "drafts"} {
		for id := 1; id <= 5; id++ {
			m.write("beijing", fmt.Sprintf("INSERT INTO shop.%s VALUES (%d, NULL, 'first', '2026-01-01 10:00:00Z')", table, id))
		}
	}
	o := storage.Outage{Region: "beijing", ID: 7}
	m.lose(func() {
		for _, table := range []string{"notes", "drafts"} {
			m.write("beijing",
				"UPDATE shop."+table+" SET text = 'late', changed = '2026-01-01 11:00:00Z' WHERE id IN (1, 2, 3, 4)",
				"INSERT INTO shop."+table+" VALUES (10, 'taken', 'late', '2026-01-01 11:00:00Z')")
		}
	})
	m.hold(o)
	for _, table := range []string{"notes", "drafts"} {
		m.write("shenzhen",
			"UPDATE shop."+table+" SET text = 'other', changed = '2026-01-01 11:00:02Z' WHERE id = 1",      // later
			"UPDATE shop."+table+" SET text = 'other', changed = '2026-01-01 12:59:58+02:00' WHERE id = 2", // earlier
			"UPDATE shop."+table+" SET text = 'other', changed = '2026-01-01 11:00:00.999Z' WHERE id = 3",
			"DELETE FROM shop."+table+" WHERE id = 4",
			"INSERT INTO shop."+table+" VALUES (11, 'taken', 'other', '2026-01-01 11:00:05Z')")
	}
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.settle(o)
	m.everywhere("SELECT id, text FROM shop.notes ORDER BY id", "1 other", "2 late", "3 other", "5 first", "11 other")
	m.everywhere("SELECT id, text FROM shop.drafts ORDER BY id", "1 other", "2 other", "3 other", "5 first", "11 other")
	m.everywhere("SELECT table_name, row_key, outcome, note LIKE 'duplicate key value%slug%' FROM multiactive.conflict ORDER BY table_name DESC, number",
		`shop.notes {"id":"1"} OwnerStands f`, `shop.notes {"id":"2"} LateStands f`, `shop.notes {"id":"3"} Open f`, `shop.notes {"id":"4"} Open f`, `shop.notes {"id":"10"} Open t`,
		`shop.drafts {"id":"1"} Open f`, `shop.drafts {"id":"2"} Open f`, `shop.drafts {"id":"3"} Open f`, `shop.drafts {"id":"4"} Open f`, `shop.drafts {"id":"10"} Open t`)
	m.write("beijing", "INSERT INTO shop.notes VALUES (50, NULL, 'on', NULL)")
	m.goesOn()
}

const everyType = `"every ""type" (k char(8), v varchar(300), s smallint, i integer, b bigint, d numeric(30, 10), f real, g double precision, m money, t text,
	c char(10), bn bytea, y boolean, dt date, tm time(2), tz timetz, ts timestamp, tsz timestamptz, iv interval, u uuid, j json, jb jsonb, a integer[], ta text[],
	p point, ip inet, mc macaddr, tv tsvector, bi bit(5), vb bit varying, r int4range, x xml, cp shop.pair, e shop.mood, dm shop.small,
	made integer GENERATED ALWAYS AS (i + 1) STORED, n bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 10), long text, "odd ""name" text, PRIMARY KEY (k, v))`

// TestRealSettleEveryType takes rows of all types back, and writes them again as they were.
func TestRealSettleEveryType(t *testing.T) {
	t.Parallel()
	const types = `plain (id integer PRIMARY KEY); CREATE TYPE shop.pair AS (a integer, b text); CREATE TYPE shop.mood AS ENUM ('ok', 'so so'); CREATE DOMAIN shop.small AS integer CHECK (value < 10)`
	m := newMesh(t, types, everyType)
	const table = `shop."every ""type"`
	const insert = "INSERT INTO " + table + ` (k, v, s, i, b, d, f, g, m, t, c, bn, y, dt, tm, tz, ts, tsz, iv, u, j, jb, a, ta, p, ip, mc, tv, bi, vb, r, x, cp, e, dm, long, "odd ""name") VALUES `
	values := `('key', 'ключ\', -32768, 2147483646, -9223372036854775808, -12345678901234567890.0123456789, 0.1, 1e300, 12.34, E'it''s\n\\"', 'blanks  ', '\x00ff', true,
		'2026-02-03', '12:34:56.78', '12:34:56+02', '2026-02-03 04:05:06.789012', '2026-02-03 04:05:06.789012+09', '-1 year 2 days 03:04:05.6',
		'6d0b1a3e-8a3c-4f0e-9a53-1d6a3a4d2c11', '{"a": [1, null],  "a": 2}', '{"b": "<&>"}', '{1,NULL,3}', ARRAY['a"b', 'NULL', ''], '(1.5,-2)', '10.0.0.1/8',
		'08:00:2b:01:02:03', 'a:1A b', B'10101', B'1', '[1,5)', '<a>1</a>', ROW(NULL, NULL), 'so so', 9,
		(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 4000) AS g), '<>&')`
	m.write("beijing", insert+values)
	const all = "SELECT * FROM " + table + " ORDER BY k"
	m.settled()
	first := m.rows("beijing", all)
	o := storage.Outage{Region: "beijing", ID: 7}
	var want []string
	m.lose(func() {
		m.write("beijing", "UPDATE "+table+" SET i = 5, e = NULL, cp = NULL, f = 1.1", // long stays, and the log does not repeat it
			insert+strings.Replace(values, "'key'", "'a key'", 1))
		want = m.rows("beijing", all)
	})
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	if diff := cmp.Diff(first, m.rows("beijing", all)); diff != "" {
		t.Errorf("after it was taken back (-was +is):\n%s", diff)
	}
	m.release(o)
	m.settled()
	m.decide(o)
	m.settled()
	m.everywhere(all, want...)
	m.everywhere("SELECT outcome, count(*) FROM multiactive.conflict GROUP BY outcome", "Applied 2")
	m.verify(o)
	m.goesOn()
}

// killed has a step wait for a table, and kills the server that it is carried out on.
func (m *mesh) killed(region, table string, step func(context.Context) error) {
	m.t.Helper()
	config := m.nodes[region].root.Config().ConnConfig.Copy()
	config.RuntimeParams["application_name"] = "multiactive" // others are ended when the server becomes read-only
	conn, err := pgx.ConnectConfig(m.t.Context(), config)
	m.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(m.t.Context())) }()
	for _, statement := range []string{"BEGIN", "LOCK TABLE " + table + " IN EXCLUSIVE MODE"} {
		_, err := conn.Exec(m.t.Context(), statement)
		m.must(err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- step(ctx) }()
	testkit.Eventually(m.t, time.Minute, func() error {
		if m.rows(region, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '"+table+"'::regclass")[0] == "0" {
			return errors.New("it does not wait yet")
		}
		return nil
	})
	m.must(m.nodes[region].Kill())
	if err := <-ended; err == nil {
		m.t.Errorf("a step that waits for %s in %s has been carried out by a server that was killed", table, region)
	}
	m.must(m.nodes[region].Start(m.t.Context()))
}

// TestRealSettleKilled kills servers in the middle of each step, loses the region once more on its way back, and repeats what was done.
func TestRealSettleKilled(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	m.lose(func() {
		m.write("beijing", "UPDATE shop.orders SET value = 'late' WHERE id = 1", "INSERT INTO shop.orders VALUES (3, 'late')")
	})
	o := storage.Outage{Region: "beijing", ID: 7}
	w := m.want("beijing")
	m.killed("shanghai", "multiactive.outage", func(ctx context.Context) error {
		_, err := m.servers["shanghai"].Hold(ctx, m.want("shanghai"), o)
		return err
	})
	m.hold(o)
	m.hold(o)
	m.write("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.killed("beijing", "multiactive.late_change", func(ctx context.Context) error { return m.servers["beijing"].Withdraw(ctx, w, o, w.Sources) })
	if got := m.rows("beijing", "SELECT value FROM shop.orders ORDER BY id"); !cmp.Equal(got, []string{"late", "first", "late"}) {
		t.Errorf("a part of it was taken back: %v", got)
	}
	m.withdraw(o)
	m.run("beijing", "ALTER SYSTEM SET default_transaction_read_only = on") // whoever withdrew was killed before its last step
	m.run("beijing", "SELECT pg_reload_conf()")
	m.withdraw(o)
	m.write("beijing", "INSERT INTO shop.orders VALUES (50, 'writable again')", "DELETE FROM shop.orders WHERE id = 50")
	m.killed("shanghai", "multiactive.outage", func(ctx context.Context) error {
		_, err := m.servers["shanghai"].Release(ctx, m.want("shanghai"), o, m.source("beijing"))
		return err
	})
	m.release(o)
	m.release(o)
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 taken over", "2 first")
	m.killed("beijing", "multiactive.conflict", func(ctx context.Context) error {
		_, err := m.servers["beijing"].Decide(ctx, w)
		return err
	})
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 taken over", "2 first")

	// It decides, and nobody receives what came of it.
	again := storage.Outage{Region: "beijing", ID: 8}
	m.lose(func() {
		m.decide(o)
		m.write("beijing", "UPDATE shop.orders SET value = 'late again' WHERE id = 2")
	})
	m.hold(again)
	m.write("shenzhen", "INSERT INTO shop.orders VALUES (3, 'taken over')")
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.settle(again)
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 taken over", "2 late again", "3 taken over")
	m.everywhere("SELECT row_key, late_row, other_row FROM multiactive.conflict WHERE outcome <> 'Applied' AND outage = 7 ORDER BY row_key",
		`{"id":"1"} {"id":"1","value":"late"} {"id":"1","value":"taken over"}`, `{"id":"3"} {"id":"3","value":"late"} {"id":"3","value":"taken over"}`)
	m.goesOn()
}

// TestRealSettleCrossing has an owner change rows before it has received what was decided on them.
func TestRealSettleCrossing(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first'), (3, 'first'), (4, 'first'), (5, 'first')")
	m.lose(func() {
		m.write("beijing", "UPDATE shop.orders SET value = 'late' WHERE id < 5", "DELETE FROM shop.orders WHERE id = 5")
	})
	o := storage.Outage{Region: "beijing", ID: 7}
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	m.release(o)
	m.settled()
	// Links that stand still are slow ones.
	m.pause("shenzhen", "beijing", "shanghai")
	m.pause("beijing", "shanghai", "shenzhen")
	m.write("shenzhen", "UPDATE shop.orders SET value = 'taken over' WHERE id IN (1, 2, 5)", "DELETE FROM shop.orders WHERE id = 4")
	m.decide(o)
	if done, err := m.servers["beijing"].Verify(t.Context(), m.want("beijing"), m.want("beijing").Sources); err != nil || done {
		t.Errorf("all is said to have arrived (%t, %v) while nothing does", done, err)
	}
	m.connect("beijing")
	m.connect("shenzhen")
	m.settled()
	m.write("shenzhen", "UPDATE shop.orders SET value = value || ' and on' WHERE id IN (2, 3)")
	m.settled()
	if got := m.rows("shenzhen", "SELECT id, value FROM shop.orders ORDER BY id"); !cmp.Equal(got, []string{"1 late", "2 late and on", "3 late and on", "4 late"}) {
		t.Fatalf("rows are %v in shenzhen: nothing has crossed", got)
	}
	m.verify(o)
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 taken over", "2 late and on", "3 late and on", "5 taken over")
	m.everywhere("SELECT row_key, outcome, late_row, other_row FROM multiactive.conflict ORDER BY number",
		`{"id":"1"} OwnerStands {"id":"1","value":"late"} {"id":"1","value":"taken over"}`,
		`{"id":"2"} Open {"id":"2","value":"late"} {"id":"2","value":"taken over"}`, `{"id":"3"} Applied  `,
		`{"id":"4"} OwnerStands {"id":"4","value":"late"} `, `{"id":"5"} OwnerStands  {"id":"5","value":"taken over"}`)
	m.goesOn()
}

// TestRealSettleUnequal has one survivor with more of the lost region's changes than the other, and build on them.
func TestRealSettleUnequal(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (5, 'first'), (6, 'first'), (7, 'first'), (8, 'first')")
	m.settled()
	m.pause("shanghai", "beijing")
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'received by one'), (3, 'received by one')", "DELETE FROM shop.orders WHERE id IN (5, 8)",
		"UPDATE shop.orders SET value = 'received by one' WHERE id IN (6, 7)")
	testkit.Eventually(t, time.Minute, func() error {
		if got := m.rows("shenzhen", "SELECT value FROM shop.orders WHERE id = 7"); got[0] != "received by one" {
			return fmt.Errorf("row 7 is %v", got)
		}
		return nil
	})
	m.pause("shenzhen", "beijing")
	m.write("beijing", "INSERT INTO shop.orders VALUES (2, 'late')", "UPDATE shop.orders SET value = 'late' WHERE id = 6")
	m.must(m.nodes["beijing"].Kill())
	o := storage.Outage{Region: "beijing", ID: 7}
	m.hold(o)
	m.write("shenzhen", "UPDATE shop.orders SET value = 'built on' WHERE id = 1") // shanghai passes over it, as it has no such row
	m.write("shenzhen", "INSERT INTO shop.orders VALUES (8, 'anew')", "DELETE FROM shop.orders WHERE id = 8")
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.settle(o)
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 built on", "2 late", "3 received by one", "6 late", "7 received by one")
	m.everywhere("SELECT row_key, outcome FROM multiactive.conflict WHERE outcome <> 'Applied' ORDER BY number", `{"id":"1"} OwnerStands`)
	m.goesOn()
}

// TestRealSettleRefused leaves alone what it cannot take back as it was, and says what; nothing reaches the others before that is forgone.
func TestRealSettleRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "keyless (id integer)", "watched (id integer PRIMARY KEY)", "plain (id integer PRIMARY KEY, value text)")
	for _, region := range meshRegions {
		m.run(region, "CREATE FUNCTION shop.watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'")
		m.run(region, "CREATE TRIGGER watch BEFORE INSERT ON shop.watched FOR EACH ROW EXECUTE FUNCTION shop.watch()")
		m.run(region, "ALTER TABLE shop.watched ENABLE ALWAYS TRIGGER watch")
		m.run(region, "ALTER TABLE shop.plain REPLICA IDENTITY DEFAULT")
	}
	m.write("beijing", "INSERT INTO shop.plain VALUES (1, 'first')")
	o := storage.Outage{Region: "beijing"}
	for _, c := range [][2]string{
		{"no primary key", "INSERT INTO shop.keyless VALUES (1)"}, {"has triggers", "INSERT INTO shop.watched VALUES (1)"},
		{`ALTER TABLE "shop"."plain" REPLICA IDENTITY FULL`, "UPDATE shop.plain SET value = 'late'"}, {"TRUNCATE", "TRUNCATE shop.orders"},
	} {
		o.ID++
		m.lose(func() { m.write("beijing", c[1]) })
		m.hold(o)
		m.must(m.nodes["beijing"].Start(t.Context()))
		w := m.want("beijing")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := m.servers["beijing"].Withdraw(ctx, w, o, w.Sources)
		cancel()
		var refused *store.UnsettledError
		if !errors.As(err, &refused) || !strings.Contains(refused.Why, c[0]) {
			t.Errorf("%s: got error %v", c[0], err)
		}
		if released, err := m.servers["shanghai"].Release(t.Context(), m.want("shanghai"), o, m.source("beijing")); err != nil || released {
			t.Errorf("%s: released %t (%v)", c[0], released, err)
		}
		m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'writable again')", "DELETE FROM shop.orders")
		m.must(m.servers["beijing"].Forgo(t.Context(), w, o))
		m.release(o)
		m.settled()
	}
	m.everywhere("SELECT (SELECT count(*) FROM shop.keyless), (SELECT count(*) FROM shop.watched), (SELECT value FROM shop.plain)", "1 1 late")
	m.goesOn()
}

// TestRealSettleNotHeld waits for those who may still receive.
func TestRealSettleNotHeld(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	o := storage.Outage{Region: "beijing", ID: 1}
	w := m.want("beijing")
	if err := m.servers["beijing"].Withdraw(t.Context(), w, o, w.Sources); !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("got error %v while nobody holds", err)
	}
	m.hold(o)
	if err := m.servers["shanghai"].Connect(t.Context(), m.want("shanghai"), m.source("beijing")); err == nil {
		t.Error("a link that is held was started")
	}
	m.must(m.nodes["shenzhen"].Kill())
	if err := m.servers["beijing"].Withdraw(t.Context(), w, o, w.Sources); !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("got error %v while one cannot be asked", err)
	}
	held, err := m.servers["shanghai"].Held(t.Context())
	if err != nil || len(held) != 1 || held[0] != o {
		t.Errorf("shanghai holds %v (%v)", held, err)
	}
	w.Mesh = false
	if _, err := m.servers["shanghai"].Hold(t.Context(), w, o); !errors.Is(err, store.ErrUnsupported) {
		t.Errorf("got error %v where one region is written to", err)
	}
}

// TestRealSettleFindings says what would keep late changes from being settled before a region is lost.
func TestRealSettleFindings(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "notes"+timed, "keyless (id integer)")
	seen := func() map[string]string {
		t.Helper()
		o, err := m.servers["beijing"].Observe(t.Context(), m.want("beijing"))
		m.must(err)
		out := map[string]string{}
		for _, f := range o.Findings {
			out[f.Check] += f.Problem + f.Statement
		}
		return out
	}
	m.policies = []storage.ConflictPolicy{{Table: "shop.notes", Winner: storage.WinnerLast, TimestampColumn: "text"}}
	m.run("beijing", "ALTER TABLE shop.notes REPLICA IDENTITY DEFAULT")
	m.run("beijing", "REVOKE EXECUTE ON FUNCTION pg_replication_origin_create(text) FROM multiactive")
	m.run("beijing", "REVOKE SET ON PARAMETER session_replication_role FROM multiactive")
	got := seen()
	for check, want := range map[string]string{
		"column of shop.notes": "has no column text", "replica identity of shop.notes": `ALTER TABLE "shop"."notes" REPLICA IDENTITY FULL`,
		"late rows of shop.keyless":               "no primary key",
		"EXECUTE on pg_replication_origin_create": "GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text) TO \"multiactive\"",
		"SET on session_replication_role":         "GRANT SET ON PARAMETER session_replication_role TO \"multiactive\"",
	} {
		if !strings.Contains(got[check], want) {
			t.Errorf("%s: found %q", check, got[check])
		}
	}
	if found := got["replica identity of shop.orders"] + got["late rows of shop.orders"]; found != "" {
		t.Errorf("found %q of a table that is as it must be", found)
	}
	m.policies = nil
	for check := range seen() {
		if strings.Contains(check, "identity") || strings.Contains(check, "late") || strings.Contains(check, "session_replication_role") {
			t.Errorf("found %s without a policy", check)
		}
	}
}
