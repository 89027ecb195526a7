package mysql_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/servercert"
)

// Where the Secrets have a CA, the operator and links use TLS: users that may not do without are let in, and a
// certificate that the CA does not vouch for is an error.
func TestTLS(t *testing.T) {
	t.Parallel()
	e := engine(t)
	regions := []string{"beijing", "shanghai"}
	nodes, servers := map[string]*mysqltest.Node{}, map[string]*mysql.Server{}
	w := storage.Want{Region: "shanghai", Regions: regions, Mesh: true, Writable: true}
	var pools []*x509.CertPool
	for i, region := range regions {
		host := ports.Host()
		pair := servercert.New(t, host)
		pools = append(pools, servercert.Pool(pair))
		settings := e.Settings(i+1, len(regions))
		settings["ssl-cert"], settings["ssl-key"] = pair.Write(t, t.TempDir())
		n := e.RunOne(t, mariadb.Options{Name: region, Host: host, Settings: settings})
		must(t, n, "ALTER USER multiactive@'%' REQUIRE SSL")
		nodes[region] = n
	}
	with := func(region string, roots *x509.CertPool) store.Options {
		o := nodes[region].Options()
		o.Admin.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		o.Replication.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		return o
	}
	for i, region := range regions {
		server, err := mysql.Open(with(region, pools[i]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		servers[region] = server
		if err := server.Prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		must(t, nodes[region], "ALTER USER replica@'%' REQUIRE SSL")
	}
	if err := servers["shanghai"].Connect(t.Context(), w, storage.Source{Region: "beijing", Address: nodes["beijing"].Addr()}); err != nil {
		t.Fatal(err)
	}
	if err := nodes["beijing"].Put(t.Context(), 1, "one"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		rows, err := nodes["shanghai"].Rows(t.Context())
		if err == nil && len(rows) != 1 {
			err = fmt.Errorf("rows are %v, want one", rows)
		}
		return err
	})
	if seen, err := servers["shanghai"].Observe(t.Context(), w); err != nil || !seen.Prepared {
		t.Errorf("observed as %+v, error %v, want Prepared", seen, err)
	}
	stranger, err := mysql.Open(with("shanghai", pools[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := stranger.Observe(t.Context(), w); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
}
