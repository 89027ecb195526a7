package playground_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// perRegion is how many entries each region writes before one of them is gone.
const perRegion = 30

// TestRegionTakesThePlaceOfALostOne declares a region lost for good, and another one in its place, whose MariaDB has nothing and whose
// source has purged its log. The link names the commands that seed it; then the service is ready, the new region has every row that was
// acknowledged, and owns and writes its share of the keys.
func TestRegionTakesThePlaceOfALostOne(t *testing.T) {
	m := newMesh(t, "shop", "north", "south", "west")
	w, west := threeOrders(t)
	for _, region := range []string{"north", "south"} {
		mariadb.Execute(t, m.root[region], "CREATE TABLE shop.ledger (slot INT, n BIGINT, region VARCHAR(32) NOT NULL, PRIMARY KEY (slot, n))")
	}
	m.regions = []string{"north", "south"}
	m.declare(w)
	m.credentials(w, "west")
	orders := func(args ...string) string {
		t.Helper()
		return w.kubectl("hub", append([]string{"-n", "shop"}, args...)...)
	}
	orders("patch", "multiactiveservice", "orders", "--type=merge", "-p",
		`{"spec":{"dataClasses":[{"name":"ledger","conflict":{"policy":"OwnerWins"},"staleness":{"normal":"1m"},"sync":[{"method":"StorageReplication","storageReplication":{"store":"users-db","tables":["shop.ledger"]}}]}]}}`)
	await := func() {
		t.Helper()
		for _, condition := range []string{"StoresReady", "ReplicationHealthy"} {
			orders("wait", "multiactiveservice/orders", "--for=condition="+condition, "--timeout="+storyTimeout.String())
		}
	}
	await()
	m.fill("north", "south")
	m.has("north", 2*perRegion)
	m.has("south", 2*perRegion)

	if err := m.servers["south"].Kill(); err != nil {
		t.Fatal(err)
	}
	w.lose("south")
	w.order("DeclareLost", "south")
	m.purge("north")
	declared, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/regions/1", "value": west}})
	if err != nil {
		t.Fatal(err)
	}
	servers, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/endpoints/1", "value": m.endpoint("west")}})
	if err != nil {
		t.Fatal(err)
	}
	w.kubectl("hub", "patch", "datastore", "users-db", "--type=json", "-p", string(servers))
	orders("patch", "multiactiveservice", "orders", "--type=json", "-p", string(declared))
	m.seed(w, "west", "north")
	await()
	orders("wait", "multiactiveservice/orders", "--for=condition=Ready", "--timeout="+storyTimeout.String())
	m.has("west", 2*perRegion)
	m.fill("west")
	m.has("north", 3*perRegion)
}

// threeOrders is a world of three regions, and the service orders in two of them; the third is as it would be declared.
func threeOrders(t *testing.T) (*secured, v1alpha1.ServiceRegion) {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	m, err := world.ReadManifest(filepath.Join("testdata", "orders.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	third := *m.Service.Spec.Regions[1].DeepCopy()
	third.Name = "west"
	m.Service.Spec.Regions = append(m.Service.Spec.Regions, third)
	w := boot(t, m, node.Programs{"registry.example.com/shop/orders:v3": filepath.Join(bin, "echo")}, bin)
	third = m.Service.Spec.Regions[2]
	m.Service.Spec.Regions = m.Service.Spec.Regions[:2]
	w.open()
	return w, third
}

// fill writes entries in regions, of slots that each owns.
func (m *mesh) fill(regions ...string) {
	m.t.Helper()
	for _, region := range regions {
		application, written := m.application(region), 0
		testkit.Eventually(m.t, storyTimeout, func() error {
			for slot := 0; slot < ownership.SlotCount && written < perRegion; slot++ {
				wrote, err := entry(m.t.Context(), application, region, slot)
				if err != nil {
					return err
				}
				if wrote {
					written++
				}
			}
			if written < perRegion {
				return fmt.Errorf("%s has written %d entries", region, written)
			}
			return nil
		})
	}
}

// application connects as the service does: what it writes goes into the server's log.
func (m *mesh) application(region string) *sql.DB {
	m.t.Helper()
	db, err := sql.Open("mysql", "application:a@tcp("+m.servers[region].Addr()+")/")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = db.Close() })
	return db
}

// has waits until a region has so many entries.
func (m *mesh) has(region string, want int) {
	m.t.Helper()
	testkit.Eventually(m.t, storyTimeout, func() error {
		var got int
		err := m.root[region].QueryRowContext(m.t.Context(), "SELECT COUNT(*) FROM shop.ledger").Scan(&got)
		if err != nil || got != want {
			return fmt.Errorf("%s has %d entries, want %d (%w)", region, got, want, err)
		}
		return nil
	})
}

// purge has a region's server forget its log, so that nobody can begin with it.
func (m *mesh) purge(region string) {
	m.t.Helper()
	mariadb.Execute(m.t, m.root[region], "FLUSH BINARY LOGS")
	testkit.Eventually(m.t, storyTimeout, func() error {
		var last string
		var position int64
		var do, ignore string
		if err := m.root[region].QueryRowContext(m.t.Context(), "SHOW MASTER STATUS").Scan(&last, &position, &do, &ignore); err != nil {
			return err
		}
		_, err := m.root[region].ExecContext(m.t.Context(), "PURGE BINARY LOGS TO ?", last)
		if err != nil {
			return err
		}
		var logs int
		rows, err := m.root[region].QueryContext(m.t.Context(), "SHOW BINARY LOGS")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			logs++
		}
		if logs > 1 {
			return fmt.Errorf("%s has %d logs", region, logs)
		}
		return rows.Err()
	})
}

// seed runs the commands that a link names when its server has to be seeded, with the servers' sockets in place of addresses and passwords.
func (m *mesh) seed(w *secured, region, from string) {
	m.t.Helper()
	link := "replicationlink/store-users-db-from-" + from
	testkit.Eventually(m.t, storyTimeout, func() error {
		out, err := w.Kubectl(m.t.Context(), region, "get", link, "-o", `jsonpath={.status.conditions[?(@.type=="Configured")].reason}`)
		if err != nil || strings.TrimSpace(out) != "BootstrapRequired" {
			return fmt.Errorf("%s of %s says %q (%w)", link, region, out, err)
		}
		return nil
	})
	message := w.kubectl(region, "get", link, "-o", `jsonpath={.status.conditions[?(@.type=="Configured")].message}`)
	_, commands, found := strings.Cut(message, "then the link goes on: ")
	if !found {
		m.t.Fatalf("the link names no commands: %s", message)
	}
	host, port, _ := strings.Cut(m.servers[from].Addr(), ":")
	commands = strings.NewReplacer(
		"--host=THIS-SERVER --user=root --password", "--socket="+m.servers[region].Socket()+" --user=root",
		"--host="+host+" --port="+port+" --user=root --password", "--socket="+m.servers[from].Socket()+" --user=root",
	).Replace(commands)
	command := exec.CommandContext(m.t.Context(), "sh", "-c", commands)
	command.Dir = m.t.TempDir()
	if out, err := command.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", commands, err, out)
	}
}
