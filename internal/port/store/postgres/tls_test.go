package postgres_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/postgres"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/ports"
	testserver "multiactive.dev/operator/internal/testkit/postgres"
	"multiactive.dev/operator/internal/testkit/servercert"
)

// Where the Secrets have a CA, the operator and links use TLS: with servers that take the operator's users no other way
// a link works, and a certificate that the CA does not vouch for is an error.
func TestTLS(t *testing.T) {
	t.Parallel()
	f := &fleet{t: t, regions: []string{"beijing", "shanghai"}, primary: "beijing", nodes: map[string]*node{}, servers: map[string]*postgres.Server{}, tables: []string{"shop.orders"}}
	pairs := map[string]servercert.Pair{}
	with := func(region string, roots *x509.CertPool) *postgres.Server {
		o := f.nodes[region].Options()
		for _, user := range []*store.Credentials{&o.Admin, &o.Replication} {
			user.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		}
		server, err := postgres.Open(o)
		f.must(err)
		t.Cleanup(func() { _ = server.Close() })
		return server
	}
	for _, region := range f.regions {
		host := ports.Host()
		pairs[region] = servercert.New(t, host)
		f.nodes[region] = newNode(t, testserver.Run(t, testserver.Options{
			Name: region, Host: host, Certificate: pairs[region].Certificate, Key: pairs[region].Key,
			Access: []string{"host all postgres,application all scram-sha-256", "hostssl all all all scram-sha-256"},
		}))
	}
	// One CA for all, as the Secrets have it: a region's keeper reads from the others too.
	for _, region := range f.regions {
		f.servers[region] = with(region, servercert.Pool(pairs["beijing"], pairs["shanghai"]))
	}
	f.prepare()
	f.must(f.connect("shanghai"))
	f.put("beijing", 1)
	f.has("shanghai", 1)
	testkit.Eventually(t, patience, func() error {
		seen, err := f.servers["shanghai"].Observe(t.Context(), f.want("shanghai"))
		if err == nil && !seen.Prepared {
			t.Fatalf("observed as %+v, want Prepared", seen)
		}
		return err
	})
	plain := f.nodes["shanghai"].Options()
	for name, server := range map[string]*postgres.Server{"without TLS": opened(t, plain), "with another's CA": with("shanghai", servercert.Pool(pairs["beijing"]))} {
		_, err := server.Observe(t.Context(), f.want("shanghai"))
		if err == nil {
			t.Errorf("%s it was let in", name)
		} else if strings.Contains(err.Error(), operatorPassword) {
			t.Errorf("%s: the error has a password: %v", name, err)
		}
	}
}

// opened is closed with the test.
func opened(t *testing.T, o store.Options) *postgres.Server {
	t.Helper()
	server, err := postgres.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}
