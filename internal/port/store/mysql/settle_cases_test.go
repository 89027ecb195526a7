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

const timed = "CREATE TABLE shop.notes (id BIGINT PRIMARY KEY, slug VARCHAR(32) NULL UNIQUE, text TEXT, changed TIMESTAMP(3) NULL)"

// TestSettlePolicies has all three policies decide on the same conflicts.
func TestSettlePolicies(t *testing.T) {
	t.Parallel()
	m := newMesh(t, timed, strings.Replace(timed, "notes", "drafts", 1))
	m.policies = []storage.ConflictPolicy{
		{Table: "shop.notes", Winner: storage.WinnerLast, TimestampColumn: "changed", MaxClockSkew: time.Second},
		{Table: "shop.drafts", Winner: storage.WinnerNobody},
	}
	for _, table := range []string{"notes", "drafts"} {
		for id := 1; id <= 5; id++ {
			m.write("beijing", fmt.Sprintf("INSERT INTO shop.%s VALUES (%d, NULL, 'first', '2026-01-01 10:00:00')", table, id))
		}
	}
	o := storage.Outage{Region: "beijing", ID: 7}
	m.lose(func() {
		for _, table := range []string{"notes", "drafts"} {
			m.write("beijing",
				"UPDATE shop."+table+" SET text = 'late', changed = '2026-01-01 11:00:00' WHERE id IN (1, 2, 3, 4)",
				"INSERT INTO shop."+table+" VALUES (10, 'taken', 'late', '2026-01-01 11:00:00')")
		}
	})
	m.hold(o)
	for _, table := range []string{"notes", "drafts"} {
		m.write("shenzhen",
			"UPDATE shop."+table+" SET text = 'other', changed = '2026-01-01 11:00:02' WHERE id = 1", // later
			"UPDATE shop."+table+" SET text = 'other', changed = '2026-01-01 10:59:58' WHERE id = 2", // earlier
			"UPDATE shop."+table+" SET text = 'other', changed = '2026-01-01 11:00:00.999' WHERE id = 3",
			"DELETE FROM shop."+table+" WHERE id = 4",
			"INSERT INTO shop."+table+" VALUES (11, 'taken', 'other', '2026-01-01 11:00:05')")
	}
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.settle(o)
	m.everywhere("SELECT id, text FROM shop.notes ORDER BY id", "1 other", "2 late", "3 other", "5 first", "11 other")
	m.everywhere("SELECT id, text FROM shop.drafts ORDER BY id", "1 other", "2 other", "3 other", "5 first", "11 other")
	m.everywhere("SELECT table_name, row_key, outcome, note LIKE '%Duplicate entry%slug%' FROM multiactive.conflict ORDER BY table_name DESC, number",
		`shop.notes {"id":1} OwnerStands 0`, `shop.notes {"id":2} LateStands 0`, `shop.notes {"id":3} Open 0`, `shop.notes {"id":4} Open 0`, `shop.notes {"id":10} Open 1`,
		`shop.drafts {"id":1} Open 0`, `shop.drafts {"id":2} Open 0`, `shop.drafts {"id":3} Open 0`, `shop.drafts {"id":4} Open 0`, `shop.drafts {"id":10} Open 1`)
	m.goesOn()
}

const everyType = "CREATE TABLE shop.`every ``type` (i INT UNSIGNED, t TINYINT, s SMALLINT UNSIGNED, m MEDIUMINT UNSIGNED, b BIGINT UNSIGNED, y YEAR, d DECIMAL(30, 10), " +
	"f FLOAT, g DOUBLE, e ENUM('a', 'b'), z SET('x', 'y', 'z'), bits BIT(64), dt DATE, dtm DATETIME(6), ts TIMESTAMP(3) NULL, tm TIME(2), " +
	"c CHAR(10), v VARCHAR(300), l VARCHAR(20) CHARACTER SET latin1, tx LONGTEXT, j JSON, bn BINARY(8), vb VARBINARY(300), bl BLOB, " +
	"made INT AS (t + 1) STORED, seen INT AS (t + 2) VIRTUAL, `odd ``name` VARCHAR(20) CHARACTER SET utf8mb4, PRIMARY KEY (bn, v)) CHARACTER SET utf8mb4"

// TestSettleEveryType takes rows of all types back, and writes them again as they were.
func TestSettleEveryType(t *testing.T) {
	t.Parallel()
	m := newMesh(t, strings.Replace(everyType, "JSON", engine(t).JSON, 1))
	const insert = "INSERT INTO shop.`every ``type` (i, t, s, m, b, y, d, f, g, e, z, bits, dt, dtm, ts, tm, c, v, l, tx, j, bn, vb, bl, `odd ``name`) VALUES "
	const values = "(4294967295, -128, 65535, 16777215, 18446744073709551615, 2026, -12345678901234567890.0123456789, 1.1, 1e300, 'b', 'x,z', b'1" +
		"000000000000000000000000000000000000000000000000000000000000001', '2026-02-03', '2026-02-03 04:05:06.789012', '2026-02-03 04:05:06.789', '-12:34:56.78', " +
		"'it''s', CONCAT('ключ\\\\', CHAR(10), '\"'), 'é', REPEAT('ж', 70000), '{\"a\": [1, null]}', x'01000200', x'00FF', x'', '<>&')"
	m.write("beijing", insert+values)
	const all = "SELECT i, t, s, m, b, y, d, f + 0e0, g, e, z, HEX(bits), dt, dtm, ts, tm, c, HEX(v), HEX(l), CRC32(tx), j, HEX(bn), HEX(vb), HEX(bl), made, seen, `odd ``name` " +
		"FROM shop.`every ``type` ORDER BY bn"
	m.settled()
	first := m.rows("beijing", all)
	o := storage.Outage{Region: "beijing", ID: 7}
	var want []string
	m.lose(func() {
		m.write("beijing", "UPDATE shop.`every ``type` SET t = 5, e = NULL, l = NULL, tx = 'short', f = 0.1", insert+strings.Replace(values, "x'01000200'", "x'FF'", 1))
		want = m.rows("beijing", all)
	})
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	if got := m.rows("beijing", all); strings.Join(got, "\n") != strings.Join(first, "\n") {
		t.Errorf("after it was taken back the row is\n%v, was\n%v", got, first)
	}
	m.release(o)
	m.settled()
	m.decide(o)
	m.settled()
	m.everywhere(all, want...)
	m.everywhere("SELECT outcome, COUNT(*) FROM multiactive.conflict GROUP BY outcome", "Applied 2")
}

// TestSettleAgain loses the region once more on its way back, and a survivor with it; each step is repeated.
func TestSettleAgain(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	m.lose(func() {
		m.write("beijing", "UPDATE shop.orders SET value = 'late' WHERE id = 1", "INSERT INTO shop.orders VALUES (3, 'late')")
	})
	o := storage.Outage{Region: "beijing", ID: 7}
	m.hold(o)
	m.write("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	m.run("beijing", "SET GLOBAL read_only = ON") // whoever withdrew was killed before its last step
	m.withdraw(o)
	m.write("beijing", "INSERT INTO shop.orders VALUES (50, 'writable again')", "DELETE FROM shop.orders WHERE id = 50")
	m.release(o)
	m.settled()
	for _, region := range []string{"shanghai", "beijing"} {
		m.must(m.nodes[region].Kill())
		m.must(m.nodes[region].Start(t.Context()))
	}
	m.release(o)
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
	m.everywhere("SELECT DISTINCT row_key, late_row, other_row FROM multiactive.conflict WHERE outcome <> 'Applied' AND table_name = 'shop.orders' ORDER BY row_key",
		`{"id":1} {"id":1,"value":"late"} {"id":1,"value":"taken over"}`, `{"id":3} {"id":3,"value":"late"} {"id":3,"value":"taken over"}`)
	m.goesOn()
}

// TestSettleCrossing has an owner change a row before it has received what was decided on it.
func TestSettleCrossing(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.policies = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first'), (3, 'first')")
	m.lose(func() { m.write("beijing", "UPDATE shop.orders SET value = 'late'") })
	o := storage.Outage{Region: "beijing", ID: 7}
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	m.release(o)
	m.settled()
	// Links that stand still are slow ones.
	m.run("shenzhen", m.engine.StopAll)
	m.run("beijing", m.engine.StopAll)
	m.write("shenzhen", "UPDATE shop.orders SET value = 'taken over' WHERE id IN (1, 2)")
	m.decide(o)
	if done, err := m.servers["beijing"].Verify(t.Context(), m.want("beijing"), m.want("beijing").Sources); err != nil || done {
		t.Errorf("all is said to have arrived (%t, %v) while nothing does", done, err)
	}
	m.connect("beijing")
	m.connect("shenzhen")
	m.settled()
	m.write("shenzhen", "UPDATE shop.orders SET value = CONCAT(value, ' and on') WHERE id IN (2, 3)")
	m.settled()
	if got := m.rows("shenzhen", "SELECT value FROM shop.orders WHERE id = 1"); got[0] != "late" {
		t.Fatalf("row 1 is %v in shenzhen: nothing has crossed", got)
	}
	m.verify(o)
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 taken over", "2 late and on", "3 late and on")
	m.everywhere("SELECT row_key, outcome, late_row, other_row FROM multiactive.conflict ORDER BY number",
		`{"id":1} OwnerStands {"id":1,"value":"late"} {"id":1,"value":"taken over"}`,
		`{"id":2} Open {"id":2,"value":"late"} {"id":2,"value":"taken over"}`, `{"id":3} Applied  `)
	m.goesOn()
}

// TestSettleUnequal has one survivor with more of the lost region's changes than the other.
func TestSettleUnequal(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.settled()
	for _, from := range []string{"beijing", "shenzhen"} {
		m.pause("shanghai", from)
	}
	m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'received by one')")
	waitFor(m, "shenzhen", "SELECT COUNT(*) FROM shop.orders", "1")
	m.pause("shenzhen", "beijing")
	m.write("beijing", "INSERT INTO shop.orders VALUES (2, 'late')")
	m.must(m.nodes["beijing"].Kill())
	o := storage.Outage{Region: "beijing", ID: 7}
	m.hold(o)
	m.must(m.nodes["beijing"].Start(t.Context()))
	m.withdraw(o)
	released, err := m.servers["shanghai"].Release(t.Context(), m.want("shanghai"), o, m.source("beijing"))
	if err != nil || released {
		t.Errorf("shanghai goes on behind what beijing withdrew (%v) and lacks what shenzhen has received", err)
	}
	m.connect("shanghai", "beijing")
	m.release(o)
	m.settled()
	m.decide(o)
	m.settled()
	m.everywhere("SELECT id, value FROM shop.orders ORDER BY id", "1 received by one", "2 late")
	m.goesOn()
}

// TestSettleRefused leaves alone what it cannot take back as it was, and says what; nothing reaches the others meanwhile.
func TestSettleRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "CREATE TABLE shop.places (id INT PRIMARY KEY, at POINT)", "CREATE TABLE shop.keyless (id INT)", "CREATE TABLE shop.watched (id INT PRIMARY KEY)",
		"CREATE TRIGGER shop.watch AFTER INSERT ON shop.watched FOR EACH ROW SET @seen = 1")
	o := storage.Outage{Region: "beijing"}
	for what, statement := range map[string]string{
		"the column at, which is": "INSERT INTO shop.places VALUES (1, NULL)",
		"no primary key":          "INSERT INTO shop.keyless VALUES (1)", "triggers": "INSERT INTO shop.watched VALUES (1)", "is a statement": "CREATE TABLE shop.fresh (id INT PRIMARY KEY)",
	} {
		o.ID++
		m.lose(func() { m.write("beijing", statement) })
		m.hold(o)
		m.must(m.nodes["beijing"].Start(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := m.servers["beijing"].Withdraw(ctx, m.want("beijing"), o, m.want("beijing").Sources)
		cancel()
		var refused *store.UnsettledError
		if !errors.As(err, &refused) || !strings.Contains(refused.Why, what) {
			t.Errorf("%s: got error %v", what, err)
		}
		if released, err := m.servers["shanghai"].Release(t.Context(), m.want("shanghai"), o, m.source("beijing")); err != nil || released {
			t.Errorf("%s: released %t (%v)", what, released, err)
		}
		m.write("beijing", "INSERT INTO shop.orders VALUES (1, 'writable again')", "DELETE FROM shop.orders")
		m.connect("shanghai")
		m.connect("shenzhen")
		m.settled()
	}
}

// TestSettleNotHeld waits for those who may still receive.
func TestSettleNotHeld(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	o := storage.Outage{Region: "beijing", ID: 1}
	w := m.want("beijing")
	if err := m.servers["beijing"].Withdraw(t.Context(), w, o, w.Sources); !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("got error %v while nobody holds", err)
	}
	m.hold(o)
	m.must(m.nodes["shenzhen"].Kill())
	if err := m.servers["beijing"].Withdraw(t.Context(), w, o, w.Sources); !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("got error %v while one cannot be asked", err)
	}
	held, err := m.servers["shanghai"].Held(t.Context())
	if err != nil || len(held) != 1 || held[0] != o {
		t.Errorf("shanghai holds %v (%v)", held, err)
	}
}

// TestSettleFindings says what would keep late changes from being settled before a region is lost.
func TestSettleFindings(t *testing.T) {
	t.Parallel()
	m := newMesh(t, timed, "CREATE TABLE shop.places (id INT PRIMARY KEY, at POINT, name TEXT)", "CREATE TRIGGER shop.watch AFTER INSERT ON shop.notes FOR EACH ROW SET @seen = 1")
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
	m.policies = []storage.ConflictPolicy{{Table: "shop.notes", Winner: storage.WinnerLast, TimestampColumn: "changed"}}
	if got := seen()["shop.notes"]; !strings.Contains(got, "has triggers") || strings.Contains(got, "has no column") {
		t.Errorf("found %q", got)
	}
	m.policies = append(m.policies, storage.ConflictPolicy{Table: "shop.places", Winner: storage.WinnerOwner})
	if got := seen()["shop.places"]; !strings.Contains(got, "as they were: at point.") && !strings.Contains(got, "as they were: at geometry.") {
		t.Errorf("found %q", got)
	}
	m.policies[0].TimestampColumn = "text"
	if got := seen()["shop.notes"]; !strings.Contains(got, "has no column text") {
		t.Errorf("found %q", got)
	}
	lacks := "TRIGGER, UPDATE"
	if strings.Contains(m.engine.SettleGrants[0], "BINLOG REPLAY") {
		lacks = "BINLOG REPLAY, " + lacks
	}
	m.run("beijing", "REVOKE "+lacks+" ON *.* FROM 'multiactive'@'%'")
	if got := seen()[lacks]; !strings.Contains(got, "GRANT "+lacks+" ON *.* TO `multiactive`@`%` WITH GRANT OPTION") {
		t.Errorf("found %v", seen())
	}
	m.policies = nil
	if got := seen(); got[lacks] != "" || got["shop.notes"] != "" {
		t.Errorf("found %v without a policy", got)
	}
}
