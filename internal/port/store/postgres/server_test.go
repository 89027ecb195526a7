package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/postgres"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	testserver "multiactive.dev/operator/internal/testkit/postgres"
)

const patience = time.Minute

// fleet is a store with a primary.
type fleet struct {
	t       *testing.T
	regions []string
	primary string
	nodes   map[string]*node
	servers map[string]*postgres.Server
	tables  []string
}

func newFleet(t *testing.T, regions ...string) *fleet {
	t.Helper()
	return newFleetOf(t, "", regions...)
}

// newFleetOf runs the programs of a directory.
func newFleetOf(t *testing.T, programs string, regions ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, regions: regions, primary: regions[0], nodes: map[string]*node{}, servers: map[string]*postgres.Server{}, tables: []string{"shop.orders"}}
	for region, n := range start(programs)(t, regions...) {
		f.nodes[region] = n.(*node)
		server, err := postgres.Open(n.Options())
		f.must(err)
		t.Cleanup(func() { _ = server.Close() })
		f.servers[region] = server
	}
	return f
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) want(region string) storage.Want {
	w := storage.Want{Store: "s", Region: region, Regions: f.regions, Writable: region == f.primary, Tables: f.tables, Outage: time.Hour}
	if region != f.primary {
		w.Sources = []storage.Source{{Region: f.primary, Address: f.nodes[f.primary].Addr()}}
	}
	return w
}

func (f *fleet) prepare() {
	f.t.Helper()
	for _, region := range f.regions {
		f.must(f.servers[region].Prepare(f.t.Context(), f.want(region)))
		f.must(f.servers[region].SetWritable(f.t.Context(), region == f.primary))
	}
}

func (f *fleet) connect(region string) error {
	w := f.want(region)
	return f.servers[region].Connect(f.t.Context(), w, w.Sources[0])
}

func (f *fleet) put(region string, id int64) {
	f.t.Helper()
	f.must(f.nodes[region].Put(f.t.Context(), id, "row"))
}

// has waits until a server has exactly these rows.
func (f *fleet) has(region string, ids ...int64) {
	f.t.Helper()
	testkit.Eventually(f.t, patience, func() error {
		rows, err := f.nodes[region].Rows(f.t.Context())
		if err != nil {
			return err
		}
		got := make([]int64, 0, len(rows))
		for id := range rows {
			got = append(got, id)
		}
		slices.Sort(got)
		if diff := cmp.Diff(ids, got); diff != "" {
			return fmt.Errorf("rows of %s (-want +got):\n%s", region, diff)
		}
		return nil
	})
}

// takeover makes another region the primary, as the operator does: it waits until everything has arrived.
func (f *fleet) takeover(to string) {
	f.t.Helper()
	from := f.primary
	f.must(f.servers[from].SetWritable(f.t.Context(), false))
	own, err := f.servers[from].Positions(f.t.Context(), f.want(from))
	f.must(err)
	testkit.Eventually(f.t, patience, func() error {
		at, err := f.servers[to].Positions(f.t.Context(), f.want(to))
		if err == nil && at[from] < own[from] {
			err = fmt.Errorf("%s has %v, want %s at %d", to, at, from, own[from])
		}
		return err
	})
	f.must(f.servers[to].Disconnect(f.t.Context(), f.want(to), from))
	f.primary = to
	f.must(f.servers[to].SetWritable(f.t.Context(), true))
	f.must(f.servers[to].SetWritable(f.t.Context(), true))
}

// The primary changes, there and back, and nobody has to be seeded who had everything.
func TestTakeover(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai", "shenzhen")
	f.prepare()
	f.must(f.connect("shanghai"))
	f.must(f.connect("shenzhen"))
	f.put("beijing", 1)
	f.has("shanghai", 1)
	f.has("shenzhen", 1)
	// This one misses the last row.
	f.must(f.servers["shenzhen"].Disconnect(t.Context(), f.want("shenzhen"), "beijing"))
	f.put("beijing", 2)
	f.has("shanghai", 1, 2)
	f.takeover("shanghai")
	f.put("shanghai", 3)
	f.must(f.servers["beijing"].Prepare(t.Context(), f.want("beijing")))
	f.must(f.connect("beijing"))
	f.has("beijing", 1, 2, 3)
	var lacks *store.BootstrapError
	if err := f.connect("shenzhen"); !errors.As(err, &lacks) || !strings.Contains(lacks.Why, "beijing") {
		t.Errorf("a region that lacks rows was connected, error %v, want a BootstrapError", err)
	}
	f.takeover("beijing")
	f.put("beijing", 4)
	f.must(f.servers["shanghai"].Prepare(t.Context(), f.want("shanghai")))
	f.must(f.connect("shanghai"))
	f.has("shanghai", 1, 2, 3, 4)
	f.has("shenzhen", 1)
	if seen, err := f.servers["shanghai"].Observe(t.Context(), f.want("shanghai")); err != nil || !seen.Prepared || seen.Links["beijing"].Fault != nil {
		t.Errorf("the replica is observed as %+v, error %v", seen, err)
	}
}

// A replica's slots do not hold its log up while it is a replica.
func TestStandbySlotsMove(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	f.prepare()
	f.must(f.connect("shanghai"))
	position := func() (lsn int64) {
		f.must(f.nodes["shanghai"].root.QueryRow(t.Context(), "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'multiactive_beijing'").Scan(&lsn))
		return lsn
	}
	before := position()
	beat := func() {
		_, err := f.servers["shanghai"].Beat(t.Context(), storage.Canary{Region: "shanghai", Sequence: 1, Time: time.Unix(0, 0)})
		f.must(err)
	}
	beat()
	if got := position(); got != before {
		t.Errorf("the slot moved from %d to %d, though it keeps next to nothing", before, got)
	}
	for range 18 {
		_, err := f.nodes["shanghai"].root.Exec(t.Context(), "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))")
		f.must(err)
	}
	beat()
	// It moves up to what the server has flushed, which is not all of what no transaction waited for.
	if got := position(); got < before+16_000_000 {
		t.Errorf("the slot is at %d, want it beyond %d", got, before+16_000_000)
	}
}

// The commands of a bootstrap bring a region what it lacks, while the source goes on being written to.
func TestBootstrapCommands(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	f.prepare()
	f.put("beijing", 1)
	var lacks *store.BootstrapError
	if err := f.connect("shanghai"); !errors.As(err, &lacks) {
		t.Fatalf("got error %v, want a BootstrapError", err)
	}
	f.put("beijing", 2)
	dir := t.TempDir()
	for _, command := range lacks.Commands {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PGPASSWORD="+operatorPassword, "PATH="+f.nodes["beijing"].Programs()+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if dumped, err := os.ReadFile(filepath.Join(dir, "multiactive-seed.sql")); err != nil || !strings.Contains(string(dumped), "shop.orders") {
		t.Fatalf("the dump is %q, error %v", dumped, err)
	}
	f.put("beijing", 3)
	f.must(f.connect("shanghai"))
	f.has("shanghai", 1, 2, 3)
	var left int
	f.must(f.nodes["shanghai"].root.QueryRow(t.Context(), "SELECT count(*) FROM multiactive.seeded").Scan(&left))
	if left != 0 {
		t.Error("the seed is noted after it was used")
	}
}

// A table that is declared later is carried by links that exist, if it has no rows yet.
func TestTableIsAdded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	f.prepare()
	f.must(f.connect("shanghai"))
	for _, statement := range []string{"CREATE TABLE shop.later (id bigint PRIMARY KEY)", "CREATE TABLE shop.used (id bigint PRIMARY KEY)"} {
		for _, region := range f.regions {
			f.must(f.nodes[region].run(t.Context(), statement))
		}
	}
	f.tables = append(f.tables, "shop.later")
	if seen, err := f.servers["shanghai"].Observe(t.Context(), f.want("shanghai")); err != nil || seen.Prepared {
		t.Errorf("a table was added, and Prepared is %t, error %v", seen.Prepared, err)
	}
	f.must(f.servers["beijing"].Prepare(t.Context(), f.want("beijing")))
	f.must(f.servers["shanghai"].Prepare(t.Context(), f.want("shanghai")))
	_, err := f.nodes["beijing"].root.Exec(t.Context(), "INSERT INTO shop.later VALUES (1)")
	f.must(err)
	testkit.Eventually(t, patience, func() error {
		var rows int
		err := f.nodes["shanghai"].root.QueryRow(t.Context(), "SELECT count(*) FROM shop.later").Scan(&rows)
		if err == nil && rows != 1 {
			err = fmt.Errorf("there are %d rows", rows)
		}
		return err
	})
	// One with rows is for a person.
	_, err = f.nodes["beijing"].root.Exec(t.Context(), "INSERT INTO shop.used VALUES (1)")
	f.must(err)
	f.tables = append(f.tables, "shop.used")
	f.must(f.servers["beijing"].Prepare(t.Context(), f.want("beijing")))
	if err := f.servers["shanghai"].Prepare(t.Context(), f.want("shanghai")); err == nil || !strings.Contains(err.Error(), "REFRESH PUBLICATION") {
		t.Errorf("got error %v, want one that says how the table's rows are brought", err)
	}
}

// A fence is taken away though transactions that hold it never stop coming, and under every isolation.
func TestFenceUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing")
	f.prepare()
	ctx, server, db := t.Context(), f.servers["beijing"], f.nodes["beijing"].application
	slots := make([]uint16, 1024)
	fences := func(epoch int64, owner string) storage.Fences {
		return storage.Fences{Service: "s", Slots: slots, Fences: []storage.Fence{{Set: 0, Owner: owner, Epoch: epoch}}}
	}
	f.must(server.SetFences(ctx, fences(1, "beijing")))
	loading, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for loading.Err() == nil {
				tx, err := db.BeginTx(loading, nil)
				if err != nil {
					continue
				}
				var owner string
				var epoch int64
				var leased bool
				if err := tx.QueryRowContext(loading, postgres.Guard, "s", 7).Scan(&owner, &epoch, &leased); err == nil {
					_, _ = tx.ExecContext(loading, "SELECT pg_sleep(0.03)")
				}
				_ = tx.Rollback()
			}
		})
	}
	for epoch := range int64(5) {
		began := time.Now()
		f.must(server.SetFences(ctx, fences(2+epoch, "shanghai")))
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the fence was taken away after %s, with transactions of 30 ms", took)
		}
	}
	stop()
	all.Wait()

	// An old snapshot does not show an old owner.
	conn, err := f.nodes["beijing"].root.Acquire(ctx)
	f.must(err)
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	f.must(err)
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, "SELECT count(*) FROM shop.orders")
	f.must(err)
	f.must(server.SetFences(ctx, fences(100, "shenzhen")))
	var owner string
	if err := tx.QueryRow(ctx, "SELECT owner FROM multiactive.fence_of('s', 7)").Scan(&owner); err == nil {
		t.Errorf("a transaction with an old snapshot sees the owner %q, want that it is refused", owner)
	}
}

// A function of another version, or of somebody who meddles, is replaced.
func TestFunctionsAreReplaced(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing")
	f.prepare()
	server, ctx := f.servers["beijing"], t.Context()
	f.must(server.Lease(ctx, "beijing", time.Minute))
	f.must(server.SetFences(ctx, storage.Fences{Service: "s", Slots: []uint16{0}, Fences: []storage.Fence{{Set: 0, Owner: "shanghai", Epoch: 7}}}))
	prepared := func() bool {
		seen, err := server.Observe(ctx, f.want("beijing"))
		f.must(err)
		return seen.Prepared
	}
	if !prepared() {
		t.Fatal("what was just prepared is not")
	}
	f.must(f.nodes["beijing"].run(ctx, `CREATE OR REPLACE FUNCTION multiactive.fence_of(service text, slot integer, OUT owner text, OUT epoch bigint, OUT leased boolean)
		LANGUAGE sql AS $$ SELECT 'beijing', 8::bigint, true $$`))
	if prepared() {
		t.Error("another fence_of counts as this operator's")
	}
	f.must(server.Prepare(ctx, f.want("beijing")))
	var owner string
	var epoch int64
	var leased bool
	f.must(f.nodes["beijing"].application.QueryRowContext(ctx, postgres.Guard, "s", 0).Scan(&owner, &epoch, &leased))
	if owner != "shanghai" || !prepared() {
		t.Errorf("after Prepare the guard answers %s, want shanghai", owner)
	}
}

// Tables and sequences that do not fit are found, and mended where that is safe.
func TestTableFindings(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	f.prepare()
	ctx, n := t.Context(), f.nodes["shanghai"]
	for _, statement := range []string{
		"CREATE TABLE shop.keyless (a int)", "CREATE UNLOGGED TABLE shop.unlogged (a int PRIMARY KEY)", "CREATE VIEW shop.view AS SELECT 1 AS a",
		`CREATE TABLE shop."o'dd ""name" (id bigserial PRIMARY KEY, other int GENERATED ALWAYS AS IDENTITY)`, `INSERT INTO shop."o'dd ""name" VALUES (41)`,
	} {
		f.must(n.run(ctx, statement))
	}
	f.tables = []string{"shop.keyless", "shop.unlogged", "shop.view", "shop.missing", `shop.o'dd "name`}
	checks := func() (found []string) {
		seen, err := f.servers["shanghai"].Observe(ctx, f.want("shanghai"))
		f.must(err)
		for _, one := range seen.Findings {
			if strings.HasPrefix(one.Check, "table ") || strings.HasPrefix(one.Check, "sequence ") {
				found = append(found, one.Check)
			}
		}
		f.must(f.servers["shanghai"].Mend(ctx, seen.Findings))
		return found
	}
	tables := []string{"table shop.keyless", "table shop.unlogged", "table shop.view", "table shop.missing"}
	if diff := cmp.Diff(append(slices.Clone(tables), `sequence shop.o'dd "name_id_seq`, `sequence shop.o'dd "name_other_seq`), checks()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tables, checks()); diff != "" {
		t.Errorf("findings after they were mended (-want +got):\n%s", diff)
	}
	var next int
	f.must(n.root.QueryRow(ctx, `SELECT start_value FROM pg_sequences WHERE sequencename = 'o''dd "name_id_seq'`).Scan(&next))
	if next != 42 { // the second region of ten
		t.Errorf("numbers begin with %d, want 42", next)
	}
	f.must(f.servers["shanghai"].Prepare(ctx, f.want("shanghai")))
	var published []string
	f.must(n.root.QueryRow(ctx, "SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'multiactive'").Scan(&published))
	if diff := cmp.Diff([]string{"canary", `o'dd "name`, "orders"}, published); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
}

// Regions' names are data, whatever is in them.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	evil := `x'); DROP TABLE shop.orders; --"\`
	f := newFleet(t, evil, "UPPER-case.and-a-name-that-is-much-longer-than-any-identifier-may-be")
	f.prepare()
	f.must(f.connect(f.regions[1]))
	f.put(evil, 1)
	f.has(f.regions[1], 1)
	_, err := f.servers[evil].Beat(t.Context(), storage.Canary{Region: evil, Sequence: 5, Time: time.Unix(5, 0)})
	f.must(err)
	testkit.Eventually(t, patience, func() error {
		others, err := f.servers[f.regions[1]].Beat(t.Context(), storage.Canary{Region: f.regions[1]})
		if err == nil && (len(others) != 1 || others[0].Region != evil || others[0].Sequence != 5) {
			err = fmt.Errorf("canaries are %v", others)
		}
		return err
	})
	seen, err := f.servers[f.regions[1]].Observe(t.Context(), f.want(f.regions[1]))
	f.must(err)
	if link, ok := seen.Links[evil]; !ok || link.Fault != nil || !seen.Prepared {
		t.Errorf("observed %+v", seen)
	}
	f.must(f.servers[evil].Lease(t.Context(), evil, time.Hour))
	f.must(f.servers[f.regions[1]].Disconnect(t.Context(), f.want(f.regions[1]), evil))
}

// Passwords are in no log of a server that logs every statement.
func TestNoPasswordIsLogged(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	for _, n := range f.nodes {
		for _, statement := range []string{"ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_min_duration_statement = 0", "SELECT pg_reload_conf()"} {
			_, err := n.root.Exec(t.Context(), statement)
			f.must(err)
		}
	}
	f.prepare()
	f.must(f.connect("shanghai"))
	f.must(point(t.Context(), f.nodes["shanghai"], "beijing", "127.0.0.1:1"))
	f.must(f.connect("shanghai"))
	f.put("beijing", 1)
	f.has("shanghai", 1)
	log, err := os.ReadFile(f.nodes["shanghai"].LogFile())
	f.must(err)
	if !strings.Contains(string(log), "SELECT EXISTS (SELECT FROM pg_publication") {
		t.Fatal("statements are not logged")
	}
	for _, secret := range []string{replicationPassword, operatorPassword, `r\\'p`, "r''p"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log has the password, written as %s", secret)
		}
	}
}

// BenchmarkBeat is what one region's server costs the operator every second.
func BenchmarkBeat(b *testing.B) {
	n := newNode(b, testserver.Run(b, testserver.Options{}))
	server, err := postgres.Open(n.Options())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := server.Prepare(b.Context(), storage.Want{Region: "a", Regions: []string{"a"}, Mesh: true, Tables: []string{"shop.orders"}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := server.Beat(b.Context(), storage.Canary{Region: "a", Sequence: 1, Time: time.Unix(1, 0)}); err != nil {
			b.Fatal(err)
		}
	}
}
