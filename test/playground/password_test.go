package playground_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// usersLink is how beijing's passwords and profiles reach another region.
const usersLink = "store-users-db-from-beijing"

// TestPasswordLostWithItsRegion follows a user whose password is changed through a gateway in a region that is lost before it ships that.
// The former password goes on elsewhere, and the incident tells what is at risk. The user changes it again at the region that has taken
// over: that one stands after the return, and the other is kept aside. The profile, which nobody else has written, comes back.
// The example has passwords and profiles in MariaDBs of their own here, which replicate, and all else in files.
func TestPasswordLostWithItsRegion(t *testing.T) {
	m := newMesh(t, "users", "beijing", "shanghai", "shenzhen")
	w := exampleTown(t, m.use, m.declare)
	for _, condition := range []string{"StoresReady", "ReplicationHealthy"} {
		w.mas("wait", "--for=condition="+condition, "--timeout="+storyTimeout.String())
	}
	ann := w.settler("beijing", "shanghai")
	w.known([]*visitor{ann}, "beijing", "shanghai", "shenzhen")
	ann.enters("beijing").changes("shanghai", "the second password")
	w.known([]*visitor{ann}, "beijing", "shanghai", "shenzhen")

	// A link that is paused stands for one that is slow.
	for _, region := range []string{"shanghai", "shenzhen"} {
		w.kubectl(region, "annotate", "replicationlink", usersLink, "multiactive.dev/paused=yes")
		m.receives(region, 1)
	}
	ann.changes("shenzhen", "the third password")
	if a := ann.saves("shenzhen", "not shipped"); a.status != http.StatusOK {
		t.Fatalf("the profile before the loss: %d %s", a.status, a.body)
	}
	if err := m.servers["beijing"].Kill(); err != nil {
		t.Fatal(err)
	}
	w.lose("beijing")
	if a := ann.login("shanghai"); a.text("reason") != "cannot-check" {
		t.Errorf("a password that only the lost region may know: %d %s", a.status, a.body)
	}
	ann.password = "the second password"
	ann.enters("shanghai")
	if _, lag, _ := w.incident("beijing", usersLink); lag <= 0 {
		t.Errorf("the incident tells that %s is at risk", lag)
	}
	testkit.Eventually(t, storyTimeout, func() error { return ann.tries("shanghai", "the fourth password") })
	for _, region := range []string{"shanghai", "shenzhen"} {
		w.kubectl(region, "annotate", "replicationlink", usersLink, "multiactive.dev/paused-")
	}

	if err := m.servers["beijing"].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.comeBack("beijing")
	w.order("Handback", "beijing")
	w.known([]*visitor{ann}, "beijing", "shanghai", "shenzhen")
	for _, former := range []string{"the second password", "the third password"} {
		other := &visitor{town: w, User: ann.User, password: former}
		if a := other.login("beijing"); a.status != http.StatusUnauthorized {
			t.Errorf("%s after the return: %d %s", former, a.status, a.body)
		}
	}
	if a := ann.enters("beijing").ask(http.MethodGet, "beijing", "/v1/profile", nil, ""); a.text("about") != "not shipped" {
		t.Errorf("the profile that nobody else had written: %d %s", a.status, a.body)
	}
	testkit.Eventually(t, storyTimeout, func() error {
		_, _, status := w.incident("beijing", usersLink)
		if late := status.LateChanges; len(late) != 1 || late[0].OwnerStands != 1 || late[0].Applied != 1 ||
			len(late[0].Conflicts) != 1 || late[0].Conflicts[0].Table != "users.password" {
			return fmt.Errorf("the incident tells of late changes: %+v", late)
		}
		return nil
	})
	var late, other string
	if err := m.root["shanghai"].QueryRowContext(t.Context(), "SELECT late_row, other_row FROM multiactive.conflict WHERE outcome = 'OwnerStands'").Scan(&late, &other); err != nil ||
		late == other || !strings.Contains(late, ann.Phone) || !strings.Contains(other, ann.Phone) {
		t.Errorf("shanghai keeps the versions %s and %s (%v)", late, other, err)
	}
}

// changes changes the password, which has to succeed.
func (v *visitor) changes(at, to string) {
	v.town.t.Helper()
	if err := v.tries(at, to); err != nil {
		v.town.t.Fatal(err)
	}
}

// tries changes the password.
func (v *visitor) tries(at, to string) error {
	a := v.ask(http.MethodPost, at, "/v1/password", map[string]any{"old": v.password, "new": to}, "")
	if a.status != http.StatusNoContent {
		return fmt.Errorf("changing the password of a user of %s at %s to %s: %d %s", v.Home, at, to, a.status, a.body)
	}
	v.password = to
	return nil
}

// mesh are MariaDBs with a database of a service, one in each region.
type mesh struct {
	t       *testing.T
	regions []string
	servers map[string]*mariadb.Server
	root    map[string]*sql.DB
}

func newMesh(t *testing.T, database string, regions ...string) *mesh {
	t.Helper()
	m := &mesh{t: t, regions: regions, servers: map[string]*mariadb.Server{}, root: map[string]*sql.DB{}}
	options := make([]mariadb.Options, 0, len(regions))
	for i, region := range regions {
		options = append(options, mariadb.Options{Name: region, Settings: mariadb.Replicating(i+1, len(regions))})
	}
	for i, server := range mariadb.RunAll(t, options...) {
		root := mariadb.Root(t, server)
		mariadb.Execute(t, root, "CREATE DATABASE "+database,
			"CREATE USER "+storeUser+" IDENTIFIED BY '"+storePassword+"'", "GRANT ALL ON *.* TO "+storeUser+" WITH GRANT OPTION",
			"CREATE USER application IDENTIFIED BY 'a'", "GRANT ALL ON "+database+".* TO application", "GRANT SELECT ON multiactive.* TO application")
		m.servers[regions[i]], m.root[regions[i]] = server, root
	}
	return m
}

// use has the example keep passwords and profiles there, behind the fences, and lets others take password changes over.
func (m *mesh) use(manifest *world.Manifest) {
	spec := &manifest.Service.Spec
	for i := range spec.Regions {
		r := &spec.Regions[i]
		r.Overrides.Env = append(r.Overrides.Env,
			v1alpha1.EnvVar{Name: "CHANGES_DSN", Value: new("application:a@tcp(" + m.servers[r.Name].Addr() + ")/users")},
			v1alpha1.EnvVar{Name: "FENCE_SERVICE", Value: new("accounts/user")})
	}
	for i := range spec.Flows {
		if f := &spec.Flows[i]; f.Name == "password" {
			f.OnHomeLoss = &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}
		}
	}
}

// declare tells the operator of the servers, with their credentials in each region's own cluster.
func (m *mesh) declare(w *secured) {
	m.t.Helper()
	endpoints := make([]map[string]any, 0, len(m.regions))
	for _, region := range m.regions {
		m.credentials(w, region)
		endpoints = append(endpoints, m.endpoint(region))
	}
	w.create(map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "DataStore", "metadata": map[string]any{"name": "users-db"},
		"spec": map[string]any{
			"engine": "MariaDB", "topology": map[string]any{"type": "Mesh"}, "manageSettings": "Yes",
			"replicationSecretRef": map[string]any{"name": "users-db-replication"},
			"allowedNamespaces":    map[string]any{"selector": map[string]any{}},
			"endpoints":            endpoints,
		},
	})
}

// credentials are the operator's, in the region's own cluster.
func (m *mesh) credentials(w *secured, region string) {
	m.t.Helper()
	for name, user := range map[string]string{"users-db": storeUser, "users-db-replication": "replica"} {
		w.kubectl(region, "-n", "multiactive-system", "create", "secret", "generic", name, "--from-literal=username="+user, "--from-literal=password="+storePassword)
	}
}

func (m *mesh) endpoint(region string) map[string]any {
	return map[string]any{"region": region, "address": m.servers[region].Addr(), "secretRef": map[string]any{"name": "users-db"}}
}

// receives waits until a region's server receives from so many others.
func (m *mesh) receives(region string, want int) {
	m.t.Helper()
	testkit.Eventually(m.t, storyTimeout, func() error {
		var threads int
		err := m.root[region].QueryRowContext(m.t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Slave_IO'").Scan(&threads)
		if err == nil && threads != want {
			err = errors.New("it receives from others")
		}
		if err != nil {
			return fmt.Errorf("%s: %d threads: %w", region, threads, err)
		}
		return nil
	})
}
