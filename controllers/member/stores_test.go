package member_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/engines"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

const (
	storeName     = "users-db"
	storePassword = "a password that nobody may see"
)

// databases runs a server here and one there, and hands the service's slice the store.
func databases(t *testing.T, rs *v1alpha1.RegionalService) (servers []*mariadb.Server, roots []*sql.DB) {
	t.Helper()
	servers = mariadb.RunAll(t,
		mariadb.Options{Name: here, Settings: mariadb.Replicating(1, 2)}, mariadb.Options{Name: there, Settings: mariadb.Replicating(2, 2)})
	s := v1alpha1.StoreSlice{
		Name: storeName, StoreID: "d-1", Generation: 1, Engine: v1alpha1.EngineMariaDB, Management: v1alpha1.StoreManaged,
		Topology:             v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
		ReplicationSecretRef: &v1alpha1.SecretReference{Name: "replication"},
		Classes:              []v1alpha1.StoreClass{{Name: "profile", Tables: []string{"shop.profiles"}, Objective: &metav1.Duration{Duration: time.Minute}}},
	}
	for i, region := range []string{here, there} {
		root := mariadb.Root(t, servers[i])
		roots = append(roots, root)
		mariadb.Execute(t, root, "CREATE DATABASE shop", "CREATE TABLE shop.profiles (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
			"CREATE USER operator IDENTIFIED BY '"+storePassword+"'", "GRANT ALL ON *.* TO operator WITH GRANT OPTION")
		s.Endpoints = append(s.Endpoints, v1alpha1.StoreEndpoint{Region: region, Address: servers[i].Addr(), SecretRef: v1alpha1.SecretReference{Name: "admin"}})
	}
	rs.Spec.Stores = []v1alpha1.StoreSlice{s}
	return servers, roots
}

// storeOptions are how the MariaDBs are spoken to.
func storeOptions() store.Options {
	return store.Options{
		Admin: store.Credentials{User: "operator", Password: storePassword}, Replication: store.Credentials{User: "replica", Password: storePassword},
	}
}

// otherMember keeps the server there, as that region's member does.
func otherMember(t *testing.T, rs *v1alpha1.RegionalService, o store.Options) {
	t.Helper()
	k := storekeeper.New(storekeeper.Config{
		Region: there, Clock: agent.SystemClock(), Open: engines.Open, Lease: func() time.Duration { return time.Minute }, LongestLease: time.Second,
	})
	theirs := rs.DeepCopy()
	theirs.Spec.Region = there
	d := plan.Merge([]v1alpha1.RegionalService{*theirs}, there)[storeName]
	o.Address = d.Endpoint.Address
	k.Set(map[string]storekeeper.Target{storeName: {Declared: d, Version: "1", Options: o}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = k.Start(ctx) }()
	go func() {
		for {
			select {
			case <-k.Changed():
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// link waits until a link's condition is as wanted, and returns its message.
func (w *world) link(name, condition string, status metav1.ConditionStatus, reason string) string {
	w.t.Helper()
	message := ""
	testkit.Eventually(w.t, timeout, func() error {
		l, err := get(w, &v1alpha1.ReplicationLink{}, "", name)
		if err != nil {
			return err
		}
		for _, c := range l.Status.Conditions {
			if c.Type == condition && c.Status == status && c.Reason == reason {
				message = c.Message
				return nil
			}
		}
		return fmt.Errorf("the link's status is %+v", l.Status)
	})
	return message
}

// TestStores follows a store's link from missing Secrets over its streaming to a source that is lost, a duplicate
// key and its removal.
func TestStores(t *testing.T) {
	w := newWorld(t)
	const ns = "profiles"
	w.namespace(ns)
	rs := slice(ns, "user")
	servers, roots := databases(t, rs)
	otherMember(t, rs, storeOptions())
	w.region.accept(rs, specHash)
	w.create(rs)
	name := regional.StoreLinkName(storeName, there)
	message := w.condition(ns, "user", v1alpha1.ConditionStoresReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "multiactive-system/admin") {
		t.Errorf("%q does not name the Secret", message)
	}
	for secret, user := range map[string]string{"admin": "operator", "replication": "replica"} {
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: secret}, StringData: map[string]string{
			regional.SecretKeyUser: user, regional.SecretKeyPassword: storePassword,
		}})
	}
	w.condition(ns, "user", v1alpha1.ConditionStoresReady, metav1.ConditionTrue, v1alpha1.ReasonPreconditions) // a test's server may lose what it acknowledged
	w.link(name, v1alpha1.ConditionStreaming, metav1.ConditionTrue, v1alpha1.ReasonStreaming)
	w.linkState(name, v1alpha1.LinkStreaming, "<2s")
	w.condition(ns, "user", v1alpha1.ConditionLinksHealthy, metav1.ConditionTrue, v1alpha1.ReasonStreaming)
	testkit.Eventually(t, timeout, func() error {
		var owned int
		err := roots[0].QueryRowContext(t.Context(), "SELECT COUNT(*) FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) "+
			"WHERE f.service = ? AND f.owner = ?", ns+"/user", here).Scan(&owned)
		if err != nil || owned < ownership.SlotCount/4 || owned > ownership.SlotCount*3/4 {
			return fmt.Errorf("%d slots are fenced for %s (%w)", owned, here, err)
		}
		return nil
	})
	w.quiet(8 * time.Second)

	edit(w, &v1alpha1.ReplicationLink{}, "", name, func(l *v1alpha1.ReplicationLink) {
		l.Annotations = map[string]string{regional.AnnotationPaused: "maintenance"}
	})
	w.linkState(name, v1alpha1.LinkPaused, "unknown")
	w.condition(ns, "user", v1alpha1.ConditionLinksHealthy, metav1.ConditionFalse, v1alpha1.ReasonPaused)
	edit(w, &v1alpha1.ReplicationLink{}, "", name, func(l *v1alpha1.ReplicationLink) { l.Annotations = nil })
	w.linkState(name, v1alpha1.LinkStreaming, "<2s")

	// Lost: what had arrived by then is data at risk.
	if err := servers[1].Kill(); err != nil {
		t.Fatal(err)
	}
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions[there] = ownership.RegionRecord{State: ownership.RegionLost, LostAt: ptr.To(time.Now())}
	})
	w.link(name, v1alpha1.ConditionStreaming, metav1.ConditionFalse, v1alpha1.ReasonSourceLost)
	testkit.Eventually(t, timeout, func() error {
		got, err := get(w, &v1alpha1.RegionalService{}, ns, "user")
		if err != nil || len(got.Status.DataAtRisk) != 1 || got.Status.DataAtRisk[0].Name != name || got.Status.DataAtRisk[0].Lag == nil {
			return fmt.Errorf("data at risk is %+v (%w)", got.Status.DataAtRisk, err)
		}
		return nil
	})
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions[there] = ownership.RegionRecord{State: ownership.RegionServing}
	})
	if err := servers[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.linkState(name, v1alpha1.LinkStreaming, "<2s")

	// A key that both wrote stops the link, and says so; nobody skips anything.
	mariadb.Execute(t, roots[0], "INSERT INTO shop.profiles VALUES (1, 'here')") // without the binary log
	config := driver.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = "operator", storePassword, "tcp", servers[1].Addr()
	connector, err := driver.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	theirs := sql.OpenDB(connector)
	defer func() { _ = theirs.Close() }()
	mariadb.Execute(t, theirs, "INSERT INTO shop.profiles VALUES (1, 'there')")
	message = w.link(name, v1alpha1.ConditionStreaming, metav1.ConditionFalse, v1alpha1.ReasonConflictingRows)
	if !strings.Contains(message, "1062") {
		t.Errorf("%q does not have the engine's code", message)
	}
	mariadb.Execute(t, roots[0], "DELETE FROM shop.profiles WHERE id = 1", "START SLAVE '"+there+"'")
	w.linkState(name, v1alpha1.LinkStreaming, "<2s")

	got, err := get(w, &v1alpha1.RegionalService{}, ns, "user")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.Delete(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, timeout, func() error {
		if _, err := get(w, &v1alpha1.ReplicationLink{}, "", name); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the link is still there (%w)", err)
		}
		return nil
	})
	rows, err := roots[0].QueryContext(t.Context(), "SHOW ALL SLAVES STATUS")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() || rows.Err() != nil {
		t.Errorf("the server still replicates (%v)", rows.Err())
	}
}
