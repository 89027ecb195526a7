package playground_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

const (
	storeUser     = "operator"
	storePassword = "only for the operator"
	ledgerService = "shop/orders"
	ledgerPause   = 10 * time.Millisecond
)

// TestDatabasesFollowTheOwners has two real databases replicate to each other for a service, with writers in both
// that keep to the fences, while a region is drained and gets its keys back: no two regions write to a slot at a time,
// whoever begins has what the other wrote, and both end with the same rows. One slot is that of data with a fixed home.
func TestDatabasesFollowTheOwners(t *testing.T) {
	w := ordersWorld(t)
	l := newLedger(t, w)
	l.declare()
	l.await("StoresReady")
	l.await("ReplicationHealthy")
	t.Logf("the hub:\n%s", w.kubectl("hub", "get", "datastores", "-o", "wide"))
	t.Logf("north:\n%s", w.kubectl("north", "get", "replicationlinks", "-o", "wide"))

	l.write()
	l.both("at first")
	l.told("south")
	l.w.order("Drain", "south")
	l.testOwners("south", 0)
	l.alone("north", "while south is drained")
	l.told("north")
	l.w.order("Undrain", "south")
	l.both("after the undrain")

	l.lose("south")
	l.writes("north", "while south is lost")
	l.comeBack("south")
	l.both("after the return")
	l.check()
}

// ledger is a table of numbered entries by slot, in two databases, and those that write it.
type ledger struct {
	t    *testing.T
	w    *secured
	dbs  map[string]*sql.DB // the application's
	root map[string]*sql.DB
	addr map[string]string
	stop context.CancelFunc
	done sync.WaitGroup

	server map[string]*mariadb.Server

	mu      sync.Mutex
	written map[string]int // by region
	// held are the regions in which nobody writes, and homes, once a region was lost, the slots' owners before.
	held  map[string]bool
	homes map[int]string
}

// lose ends a region at once, with its database. Until it is back the other one writes what it owned before alone:
// nothing says that the rest had arrived.
func (l *ledger) lose(region string) {
	l.t.Helper()
	homes := map[int]string{}
	rows, err := l.root[region].QueryContext(l.t.Context(), "SELECT s.slot, f.owner FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) WHERE f.service = ?", ledgerService)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var slot int
		var owner string
		if err := rows.Scan(&slot, &owner); err != nil {
			l.t.Fatal(err)
		}
		homes[slot] = owner
	}
	if rows.Err() != nil || len(homes) != ownership.SlotCount+1 {
		l.t.Fatalf("%d slots have fences: %v", len(homes), rows.Err())
	}
	l.mu.Lock()
	l.homes = homes
	for name := range l.dbs {
		l.held[name] = true
	}
	l.mu.Unlock()
	if err := errors.Join(l.server[region].Kill(), l.w.Region(region).Kill()); err != nil {
		l.t.Fatal(err)
	}
	l.w.kubectl("hub", "wait", "region/"+region, "--for=condition=Serving=False", "--timeout="+storyTimeout.String())
	l.mu.Lock()
	for name := range l.dbs {
		l.held[name] = name == region
	}
	l.mu.Unlock()
}

// comeBack starts a region and its database again, and has its keys handed back.
func (l *ledger) comeBack(region string) {
	l.t.Helper()
	if err := errors.Join(l.server[region].Start(l.t.Context()), l.w.Region(region).Return(l.t.Context())); err != nil {
		l.t.Fatal(err)
	}
	testkit.Eventually(l.t, storyTimeout, func() error {
		if state := l.w.kubectl("hub", "get", "region", region, "-o", "jsonpath={.status.state}"); state != "Returning" {
			return errors.New(region + " is " + state)
		}
		return nil
	})
	l.w.order("Handback", region)
	message := l.w.kubectl(region, "get", "replicationlinks", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="RowsEqual")].message}`)
	if !strings.Contains(message, "are the same") {
		l.t.Errorf("%s got its keys back, and of its rows it is told: %q", region, message)
	}
	l.mu.Lock()
	l.held, l.homes = map[string]bool{}, nil
	l.mu.Unlock()
}

// may reports whether somebody writes to a slot in a region at present.
func (l *ledger) may(region string, slot int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.held[region] && (l.homes == nil || l.homes[slot] == region)
}

func newLedger(t *testing.T, w *secured) *ledger {
	t.Helper()
	l := &ledger{t: t, w: w, dbs: map[string]*sql.DB{}, root: map[string]*sql.DB{}, addr: map[string]string{}, server: map[string]*mariadb.Server{}, written: map[string]int{}, held: map[string]bool{}}
	servers := mariadb.RunAll(t,
		mariadb.Options{Name: "north", Settings: mariadb.Replicating(1, 2)}, mariadb.Options{Name: "south", Settings: mariadb.Replicating(2, 2)})
	for i, region := range []string{"north", "south"} {
		root := mariadb.Root(t, servers[i])
		mariadb.Execute(t, root, "CREATE DATABASE shop",
			"CREATE TABLE shop.ledger (slot INT, n BIGINT, region VARCHAR(32) NOT NULL, PRIMARY KEY (slot, n))",
			"CREATE USER "+storeUser+" IDENTIFIED BY '"+storePassword+"'", "GRANT ALL ON *.* TO "+storeUser+" WITH GRANT OPTION",
			"CREATE USER application IDENTIFIED BY 'a'", "GRANT SELECT, INSERT ON shop.* TO application", "GRANT SELECT ON multiactive.* TO application")
		config := driver.NewConfig()
		config.User, config.Passwd, config.Net, config.Addr = "application", "a", "tcp", servers[i].Addr()
		connector, err := driver.NewConnector(config)
		if err != nil {
			t.Fatal(err)
		}
		l.dbs[region], l.root[region], l.addr[region], l.server[region] = sql.OpenDB(connector), root, servers[i].Addr(), servers[i]
		t.Cleanup(func() { _ = l.dbs[region].Close() })
	}
	return l
}

// declare tells the operator of the databases, with their credentials in each region's own cluster.
func (l *ledger) declare() {
	l.t.Helper()
	for _, region := range []string{"north", "south"} {
		for name, user := range map[string]string{"orders-db": storeUser, "orders-db-replication": "replica"} {
			l.w.kubectl(region, "-n", "multiactive-system", "create", "secret", "generic", name, "--from-literal=username="+user, "--from-literal=password="+storePassword)
		}
	}
	l.w.create(map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "DataStore", "metadata": map[string]any{"name": "orders-db"},
		"spec": map[string]any{
			"engine": "MariaDB", "topology": map[string]any{"type": "Mesh"}, "manageSettings": "Yes",
			"replicationSecretRef": map[string]any{"name": "orders-db-replication"},
			"allowedNamespaces":    map[string]any{"selector": map[string]any{}},
			"endpoints": []map[string]any{
				{"region": "north", "address": l.addr["north"], "secretRef": map[string]any{"name": "orders-db"}},
				{"region": "south", "address": l.addr["south"], "secretRef": map[string]any{"name": "orders-db"}},
			},
		},
	})
	l.w.kubectl("hub", "-n", "shop", "patch", "multiactiveservice", "orders", "--type=json", "-p",
		`[{"op":"add","path":"/spec/dataClasses","value":[{"name":"ledger","conflict":{"policy":"OwnerWins"},"staleness":{"normal":"1m"},
			"home":{"type":"Pinned","pinned":{"regions":["south","north"]}},
			"sync":[{"method":"StorageReplication","storageReplication":{"store":"orders-db","tables":["shop.ledger"]}}]}]},
		{"op":"add","path":"/spec/flows/-","value":{"name":"terms","tier":"NonCore","servedBy":"HomeRegion","writes":["ledger"],
			"match":[{"method":"PUT","path":"/orders/all/terms"}],"onHomeLoss":{"action":"Takeover"}}}]`)
}

// ledgerTerms is the slot of the data that is pinned.
var ledgerTerms = ownership.PinnedSlot([]string{"south", "north"})

// told holds that an application which serves the flow whose data is pinned is told the slot that the fences have, and
// that its region is their owner, whichever region is asked.
func (l *ledger) told(owner string) {
	l.t.Helper()
	for _, asked := range []string{"north", "south"} {
		testkit.Eventually(l.t, storyTimeout, func() error {
			status, body := l.w.request(http.MethodPut, asked, "all/terms")
			var got struct{ Slot, Owner string }
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || got.Owner != owner || got.Slot != strconv.Itoa(ledgerTerms) {
				return fmt.Errorf("asked in %s: %d %s, want slot %d of %s", asked, status, body, ledgerTerms, owner)
			}
			return nil
		})
	}
}

func (l *ledger) await(condition string) {
	l.t.Helper()
	l.w.kubectl("hub", "-n", "shop", "wait", "multiactiveservice/orders", "--for=condition="+condition, "--timeout="+storyTimeout.String())
}

// write writes in both regions until check, as their applications do: the next entry of a slot, if its fence allows.
func (l *ledger) write() {
	ctx, cancel := context.WithCancel(l.t.Context())
	l.stop = cancel
	l.t.Cleanup(func() { cancel(); l.done.Wait() })
	for region, db := range l.dbs {
		for range 2 {
			l.done.Go(func() {
				for ctx.Err() == nil {
					l.one(ctx, db, region)
					select {
					case <-ctx.Done():
					case <-time.After(ledgerPause):
					}
				}
			})
		}
	}
}

// one writes an entry, if it may.
func (l *ledger) one(ctx context.Context, db *sql.DB, region string) {
	slot := rand.IntN(ownership.SlotCount)
	if rand.IntN(10) == 0 {
		slot = ledgerTerms
	}
	if !l.may(region, slot) {
		return
	}
	wrote, err := entry(ctx, db, region, slot)
	l.mu.Lock()
	defer l.mu.Unlock()
	if wrote {
		l.written[region]++
	}
	if err != nil && ctx.Err() == nil && !l.held[region] {
		l.t.Errorf("writing in %s: %v", region, err)
	}
}

// entry adds the next entry of a slot, unless the fence says that it is another region's.
func entry(ctx context.Context, db *sql.DB, region string, slot int) (bool, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	var owner string
	var epoch int64
	var leased bool
	err = tx.QueryRowContext(ctx, mysql.Guard, ledgerService, slot).Scan(&owner, &epoch, &leased)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (owner != region || !leased) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO shop.ledger SELECT ?, COALESCE(MAX(n), 0) + 1, ? FROM shop.ledger WHERE slot = ?", slot, region, slot); err != nil {
		var failed *driver.MySQLError
		if errors.As(err, &failed) && (failed.Number == 1062 || failed.Number == 1213) {
			return false, nil // the other writer of this region was first
		}
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return false, err // it may be there nevertheless
	}
	return true, nil
}

func (l *ledger) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return map[string]int{"north": l.written["north"], "south": l.written["south"]}
}

// both waits until both regions have written more.
func (l *ledger) both(when string) {
	l.t.Helper()
	before := l.counts()
	testkit.Eventually(l.t, storyTimeout, func() error {
		now := l.counts()
		if now["north"] < before["north"]+50 || now["south"] < before["south"]+50 {
			return fmt.Errorf("%s: %v entries, were %v", when, now, before)
		}
		return nil
	})
}

// writes waits until a region has written more.
func (l *ledger) writes(region, when string) {
	l.t.Helper()
	before := l.counts()
	testkit.Eventually(l.t, storyTimeout, func() error {
		if now := l.counts(); now[region] < before[region]+100 {
			return fmt.Errorf("%s: %v entries, were %v", when, now, before)
		}
		return nil
	})
}

// alone waits until one region has written more, and holds that the other has written nothing meanwhile.
func (l *ledger) alone(region, when string) {
	l.t.Helper()
	before := l.counts()
	testkit.Eventually(l.t, storyTimeout, func() error {
		now := l.counts()
		for name := range now {
			if name != region && now[name] != before[name] {
				l.t.Fatalf("%s: %s has written too: %v, was %v", when, name, now, before)
			}
		}
		if now[region] < before[region]+100 {
			return fmt.Errorf("%s: %v entries, were %v", when, now, before)
		}
		return nil
	})
}

// testOwners holds how many slots a region owns by the fences in its own database.
func (l *ledger) testOwners(region string, want int) {
	l.t.Helper()
	var owned int
	err := l.root[region].QueryRowContext(l.t.Context(), "SELECT COUNT(*) FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) "+
		"WHERE f.service = ? AND f.owner = ?", ledgerService, region).Scan(&owned)
	if err != nil || owned != want {
		l.t.Errorf("%s owns %d slots (%v), want %d", region, owned, err, want)
	}
}

// check ends the writers and holds that both databases have every entry, without a gap.
func (l *ledger) check() {
	l.t.Helper()
	l.stop()
	l.done.Wait()
	counts := l.counts()
	all := counts["north"] + counts["south"]
	for region, db := range l.root {
		testkit.Eventually(l.t, storyTimeout, func() error {
			var rows, gaps int
			if err := db.QueryRowContext(l.t.Context(), "SELECT COUNT(*) FROM shop.ledger").Scan(&rows); err != nil {
				return err
			}
			if err := db.QueryRowContext(l.t.Context(), "SELECT COUNT(*) FROM (SELECT slot FROM shop.ledger GROUP BY slot HAVING MAX(n) <> COUNT(*)) g").Scan(&gaps); err != nil {
				return err
			}
			// A commit whose answer was cut off, by a kill or the end of the test, may be there.
			if rows < all || rows > all+8 || gaps > 0 {
				return fmt.Errorf("%s has %d entries with %d gaps, want %d: %s", region, rows, gaps, all, l.w.kubectl(region, "get", "replicationlinks", "-o", "jsonpath={.items[*].status}"))
			}
			return nil
		})
	}
	var pinned int
	if err := l.root["south"].QueryRowContext(l.t.Context(), "SELECT COUNT(DISTINCT region) FROM shop.ledger WHERE slot = ?", ledgerTerms).Scan(&pinned); err != nil || pinned != 2 {
		l.t.Errorf("%d regions have written pinned data (%v), want each at its time", pinned, err)
	}
	l.t.Logf("%v entries", counts)
}
