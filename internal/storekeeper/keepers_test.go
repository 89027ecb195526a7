package storekeeper_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/engines"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

const (
	name    = "users-db"
	service = "u-1"
	admin   = "operator"
	secret  = "s3cret"
)

var regions = []string{"beijing", "shanghai", "shenzhen"}

// machine is the real clock with a boot time.
type machine struct {
	clock.RealClock
	began time.Time
}

func (m machine) Boottime() time.Duration { return m.Since(m.began) }

// region is a region's server with its keepers.
type region struct {
	name    string
	server  *mariadb.Server
	root    *sql.DB
	keepers *storekeeper.Keepers
	lease   atomic.Int64
}

// world is a mesh of servers, each with keepers.
func world(t *testing.T) map[string]*region {
	t.Helper()
	options := make([]mariadb.Options, len(regions))
	for i, r := range regions {
		options[i] = mariadb.Options{Name: r, Settings: mariadb.Replicating(i+1, len(regions))}
	}
	out := map[string]*region{}
	for i, server := range mariadb.RunAll(t, options...) {
		r := newRegion(regions[i], server)
		r.root = mariadb.Root(t, server)
		mariadb.Execute(t, r.root,
			"CREATE DATABASE shop", "CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, value TEXT NOT NULL)",
			"CREATE USER operator IDENTIFIED BY '"+secret+"'", "GRANT ALL ON *.* TO operator WITH GRANT OPTION",
			"CREATE USER application IDENTIFIED BY '"+secret+"'", "GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO application")
		out[r.name] = r
	}
	for _, r := range out {
		r.run(t)
	}
	return out
}

// newRegion has keepers that nothing is known of.
func newRegion(name string, server *mariadb.Server) *region {
	r := &region{name: name, server: server}
	r.lease.Store(int64(10 * time.Second))
	r.keepers = storekeeper.New(storekeeper.Config{
		Region: name, Clock: machine{began: time.Now()}, Open: engines.Open,
		Lease: func() time.Duration { return time.Duration(r.lease.Load()) }, LongestLease: 10 * time.Second,
		Log: logr.Discard(),
	})
	return r
}

// options are how the operator reaches a region's server.
func options(r *region) store.Options {
	return store.Options{
		Address: r.server.Addr(), Timeout: 2 * time.Second,
		Admin: store.Credentials{User: admin, Password: secret}, Replication: store.Credentials{User: "replica", Password: secret},
	}
}

// run keeps until the test ends; nobody listens to what changes.
func (r *region) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = r.keepers.Start(ctx) })
	all.Go(func() {
		for {
			select {
			case <-r.keepers.Changed():
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); all.Wait() })
}

// declare hands every region the same store.
func declare(w map[string]*region, change func(r *region, t *storekeeper.Target)) {
	s := v1alpha1.StoreSlice{
		Name: name, StoreID: "d-1", Generation: 1, Engine: v1alpha1.EngineMariaDB, Management: v1alpha1.StoreManaged,
		Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
		Classes:  []v1alpha1.StoreClass{{Name: "order", Tables: []string{"shop.orders"}}},
	}
	for _, r := range regions {
		s.Endpoints = append(s.Endpoints, v1alpha1.StoreEndpoint{Region: r, Address: w[r].server.Addr(), SecretRef: v1alpha1.SecretReference{Name: "admin"}})
	}
	for _, r := range w {
		rs := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: r.name, ServiceID: service, Stores: []v1alpha1.StoreSlice{s}}}
		d := plan.Merge([]v1alpha1.RegionalService{rs}, r.name)[name]
		target := storekeeper.Target{
			Declared: d, Version: "1", Paused: map[string]bool{},
			Options: options(r),
		}
		if change != nil {
			change(r, &target)
		}
		r.keepers.Set(map[string]storekeeper.Target{name: target})
	}
}

// await waits until every region says that its links stream and its server is ready.
func await(t *testing.T, w map[string]*region) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, func() error {
		for _, r := range w {
			look := r.keepers.Look(name)
			if look.Problem != nil {
				return fmt.Errorf("%s: %s", r.name, look.Problem.Message)
			}
			for _, from := range regions {
				if l := look.Links[from]; from != r.name && (!l.Known || l.Age > 3*time.Second) {
					return fmt.Errorf("%s from %s: %+v, %+v", r.name, from, l, look.Observation.Links[from])
				}
			}
		}
		return nil
	})
}

func (r *region) application(t *testing.T) *sql.DB {
	t.Helper()
	config := driver.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = "application", secret, "tcp", r.server.Addr()
	connector, err := driver.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func configuration(epoch int64, phase ownership.Phase) ownership.Configuration {
	return ownership.Configuration{View: ownership.View{Epoch: epoch, Phase: phase}}
}

// pinned is the slot of data that is pinned to a list of regions.
var pinned = ownership.PinnedSlot(regions)

// fence has all slots belong to an owner, that of pinned data too.
func fence(r *region, c ownership.Configuration, owner string) {
	r.keepers.SetFences(c, map[string]map[string]storage.Fences{name: {service: {
		Service: service, Slots: make([]uint16, ownership.SlotCount), Pinned: []int{pinned},
		Fences: []storage.Fence{{Owner: owner, Epoch: c.View.Epoch}, {Set: pinned, Owner: owner, Epoch: c.View.Epoch}},
	}}}, map[string]string{name: owner})
}

// TestMesh sets a mesh up from bare servers, and sees it through the loss and the return of one.
func TestMesh(t *testing.T) {
	w := world(t)
	declare(w, nil)
	await(t, w)
	put := func(r *region, id int) {
		if _, err := r.application(t).ExecContext(t.Context(), "INSERT INTO shop.orders VALUES (?, ?)", id, r.name); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(r *region, want int) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error {
			var n int
			if err := r.root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM shop.orders").Scan(&n); err != nil || n != want {
				return fmt.Errorf("%s has %d rows, want %d (%w)", r.name, n, want, err)
			}
			return nil
		})
	}
	for i, name := range regions {
		put(w[name], i)
	}
	for _, r := range w {
		rows(r, len(regions))
	}
	lost := w["beijing"]
	if err := lost.server.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		look := lost.keepers.Look(name)
		if look.Problem == nil || look.Problem.Reason != v1alpha1.ReasonServerUnreachable {
			return fmt.Errorf("its own region says %+v", look.Problem)
		}
		if l := w["shanghai"].keepers.Look(name).Links["beijing"]; l.Age < 5*time.Second {
			return fmt.Errorf("the lag of a dead server is %s", l.Age)
		}
		return nil
	})
	if n, err := testutil.GatherAndCount(registry(lost), "multiactive_store_server_usable", "multiactive_store_link_lag_seconds"); err != nil || n != 3 {
		t.Errorf("%d series (%v), want the server's and two links'", n, err)
	}
	if err := testutil.GatherAndCompare(registry(lost), strings.NewReader(`# HELP multiactive_store_server_usable 1 while the region's server of the store answers and takes the operator's user, else 0.
# TYPE multiactive_store_server_usable gauge
multiactive_store_server_usable{store="users-db"} 0
`), "multiactive_store_server_usable"); err != nil {
		t.Error(err)
	}
	put(w["shanghai"], 10)
	rows(w["shenzhen"], len(regions)+1)
	if err := lost.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, w)
	rows(lost, len(regions)+1)
	var have, want storage.Positions
	testkit.Eventually(t, time.Minute, func() (err error) {
		if want, err = w["shanghai"].keepers.Positions(t.Context(), name); err != nil {
			return err
		}
		if have, err = lost.keepers.Positions(t.Context(), name); err != nil {
			return err
		}
		if have["shanghai"] == 0 || have["shanghai"] > want["shanghai"]+5 || want["shanghai"] > have["shanghai"]+5 {
			return fmt.Errorf("shanghai is at %d, and beijing has %d of it", want["shanghai"], have["shanghai"])
		}
		return nil
	})
}

func registry(r *region) *prometheus.Registry {
	out := prometheus.NewRegistry()
	out.MustRegister(r.keepers)
	return out
}

// TestFences follows a configuration from Open over Closing, with a writer of pinned data in flight, a member that starts anew, and
// without a lease.
func TestFences(t *testing.T) {
	w := world(t)
	declare(w, nil)
	await(t, w)
	r := w["beijing"]
	mariadb.Execute(t, r.root, "GRANT SELECT ON multiactive.* TO application")
	open, closing := configuration(1, ownership.PhaseOpen), configuration(2, ownership.PhaseClosing)
	if r.keepers.Fenced(open, []string{name}) {
		t.Error("the store is fenced for a configuration that nobody has told it of")
	}
	if r.keepers.Fenced(open, []string{"unknown"}) {
		t.Error("a store that nobody looks after counts as fenced")
	}
	fence(r, open, "beijing")
	fenced := func(r *region, c ownership.Configuration) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error {
			if !r.keepers.Fenced(c, []string{name}) {
				return fmt.Errorf("not fenced: %s", r.keepers.Look(name).FenceProblem)
			}
			return nil
		})
	}
	until := func(c ownership.Configuration) {
		t.Helper()
		fenced(r, c)
	}
	until(open)
	db := r.application(t)
	guard := func(slot int) (tx *sql.Tx, owner string, epoch int64, leased bool) {
		t.Helper()
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRowContext(t.Context(), mysql.Guard, service, slot).Scan(&owner, &epoch, &leased); err != nil {
			t.Fatal(err)
		}
		return tx, owner, epoch, leased
	}
	var tx *sql.Tx
	testkit.Eventually(t, time.Minute, func() error {
		var owner string
		var leased bool
		if tx, owner, _, leased = guard(pinned); owner != "beijing" || !leased {
			_ = tx.Rollback()
			return fmt.Errorf("owner %q, leased %t", owner, leased)
		}
		return nil
	})
	fence(r, closing, "")
	if r.keepers.Fenced(closing, []string{name}) {
		t.Error("the store counts as fenced while a transaction holds the row")
	}
	if _, err := tx.ExecContext(t.Context(), "INSERT INTO shop.orders VALUES (100, 'in flight')"); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	until(closing)
	belong := func(want string, since int64) {
		t.Helper()
		for _, slot := range []int{5, pinned} {
			tx, owner, epoch, _ := guard(slot)
			_ = tx.Rollback()
			if owner != want || epoch != since {
				t.Errorf("slot %d belongs to %q since epoch %d, want %q since %d", slot, owner, epoch, want, since)
			}
		}
	}
	belong("", 2)

	fence(r, configuration(3, ownership.PhaseOpen), "beijing")
	until(configuration(3, ownership.PhaseOpen))
	belong("beijing", 3)
	again := newRegion("beijing", r.server) // a member that starts anew, and knows the next configuration alone
	again.run(t)
	again.keepers.Set(map[string]storekeeper.Target{name: {Declared: r.keepers.Declared(name), Version: "1", Options: options(again)}})
	fence(again, configuration(4, ownership.PhaseOpen), "beijing")
	fenced(again, configuration(4, ownership.PhaseOpen))
	belong("beijing", 3)
	again.keepers.Set(nil)
	if err := r.server.Freeze(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.server.Continue() }()
	// A server that cannot be reached counts as fenced once nobody can have a lease any more, and not before.
	last := configuration(5, ownership.PhaseClosing)
	fence(r, last, "")
	r.lease.Store(0)
	if r.keepers.Fenced(last, []string{name}) {
		t.Error("a frozen server counts as fenced at once")
	}
	until(last)
}

// TestPrimary moves the region that is written to, as a drain does, with a row written before and one after.
func TestPrimary(t *testing.T) {
	w := world(t)
	declare(w, func(_ *region, target *storekeeper.Target) {
		d := target.Declared
		d.Slice.Topology = v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: "beijing"}
		d.Want.Mesh = false
	})
	agreed := func(c ownership.Configuration, primary string) {
		for _, r := range w {
			fence(r, c, primary)
		}
		testkit.Eventually(t, time.Minute, func() error {
			for _, r := range w {
				if !r.keepers.Fenced(c, []string{name}) {
					return fmt.Errorf("%s is not fenced: %s", r.name, r.keepers.Look(name).FenceProblem)
				}
			}
			return nil
		})
	}
	put := func(r *region, id int) error {
		_, err := r.application(t).ExecContext(t.Context(), "INSERT INTO shop.orders VALUES (?, ?)", id, r.name)
		return err
	}
	// written has the region take a row that arrives in all others, which take none.
	written := func(primary string, id int) {
		t.Helper()
		if err := put(w[primary], id); err != nil {
			t.Fatal(err)
		}
		for _, r := range w {
			if r.name != primary {
				if err := put(r, 1000+id); err == nil {
					t.Errorf("%s takes a write and %s is the primary", r.name, primary)
				}
			}
			testkit.Eventually(t, time.Minute, func() error {
				var n int
				if err := r.root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM shop.orders WHERE id = ?", id).Scan(&n); err != nil || n != 1 {
					return fmt.Errorf("row %d is %d times in %s (%w): %+v", id, n, r.name, err, r.keepers.Look(name))
				}
				return nil
			})
		}
	}
	agreed(configuration(1, ownership.PhaseOpen), "beijing")
	written("beijing", 1)
	agreed(configuration(2, ownership.PhaseClosing), "")
	if err := put(w["beijing"], 2000); err == nil {
		t.Error("the old primary takes a write while nobody may be written to")
	}
	agreed(configuration(3, ownership.PhaseOpen), "shanghai")
	written("shanghai", 2)

	// Whoever begins to keep a primary leaves it as it is until it knows better.
	successor := newRegion("shanghai", w["shanghai"].server)
	successor.root = w["shanghai"].root
	successor.lease.Store(0)
	successor.run(t)
	was := w["shanghai"].keepers.Declared(name)
	successor.keepers.Set(map[string]storekeeper.Target{name: {Declared: was, Version: "1", Options: options(successor)}})
	fence(successor, configuration(3, ownership.PhaseOpen), "shanghai")
	testkit.Eventually(t, time.Minute, func() error {
		if look := successor.keepers.Look(name); !look.Observed {
			return errors.New("it has not looked yet")
		}
		return nil
	})
	testkit.Consistently(t, 3*time.Second, func() error { return put(w["shanghai"], int(time.Now().UnixNano()%1e9)+10_000) })
	testkit.Eventually(t, time.Minute, func() error { // no lease has come by then
		if err := put(w["shanghai"], int(time.Now().UnixNano()%1e9)+10_000); err == nil {
			return errors.New("a primary takes writes that has had no lease for long")
		}
		return nil
	})
	successor.keepers.Set(nil)

	// Without the region's lease its server takes nothing, whatever is agreed on.
	w["shanghai"].lease.Store(0)
	testkit.Eventually(t, time.Minute, func() error {
		if err := put(w["shanghai"], 3000); err == nil {
			mariadb.Execute(t, w["shanghai"].root, "DELETE FROM shop.orders WHERE id = 3000")
			return errors.New("a primary without a lease takes a write")
		}
		return nil
	})
}

// TestCredentials goes on with another password of both users.
func TestCredentials(t *testing.T) {
	w := world(t)
	declare(w, func(r *region, target *storekeeper.Target) {
		if r.name == "beijing" {
			target.Options.Admin.Password = "wrong"
		}
	})
	testkit.Eventually(t, time.Minute, func() error {
		p := w["beijing"].keepers.Look(name).Problem
		if p == nil || p.Reason != v1alpha1.ReasonServerUnauthorized {
			return fmt.Errorf("the problem is %+v", p)
		}
		return nil
	})
	declare(w, func(_ *region, target *storekeeper.Target) { target.Version = "2" })
	await(t, w)
	declare(w, func(_ *region, target *storekeeper.Target) {
		target.Version, target.Options.Replication.Password = "3", "another"
	})
	await(t, w)
	// Links that connect anew have to have the new password.
	for _, r := range w {
		mariadb.Execute(t, r.root, "STOP ALL SLAVES")
	}
	await(t, w)
	testkit.Eventually(t, time.Minute, func() error {
		for _, r := range w {
			for from, l := range r.keepers.Look(name).Observation.Links {
				if l.Fault != nil || !l.Receiving {
					return fmt.Errorf("%s from %s: %+v, %+v", r.name, from, l, l.Fault)
				}
			}
		}
		return nil
	})
}
