package redis_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/redis"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/ports"
	testserver "multiactive.dev/operator/internal/testkit/redis"
	"multiactive.dev/operator/internal/testkit/servercert"
)

// Where the Secrets have a CA, the operator and links use TLS (a port of TLS takes nothing else), and a certificate that the CA does not vouch for is an
// error. A replica checks its source's certificate with its own CA file.
func TestTLS(t *testing.T) {
	t.Parallel()
	regions := []string{"beijing", "shanghai"}
	hosts, pairs := map[string]string{}, map[string]servercert.Pair{}
	var bundle []byte
	for _, region := range regions {
		hosts[region] = ports.Host()
		pairs[region] = servercert.New(t, hosts[region])
		bundle = append(bundle, pairs[region].Certificate...)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	nodes, addresses, servers := map[string]*node{}, map[string]string{}, map[string]*redis.Server{}
	with := func(region string, roots *x509.CertPool) *redis.Server {
		o := nodes[region].Options()
		o.Address = addresses[region]
		for _, user := range []*store.Credentials{&o.Admin, &o.Replication} {
			user.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		}
		server, err := redis.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		return server
	}
	for _, region := range regions {
		port := testkit.FreePort(t, hosts[region])
		addresses[region] = net.JoinHostPort(hosts[region], strconv.Itoa(port))
		cert, key := pairs[region].Write(t, t.TempDir())
		nodes[region] = newNode(t, testserver.Options{Name: region, Host: hosts[region], Settings: map[string]string{
			"tls-port": strconv.Itoa(port), "tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": ca, "tls-auth-clients": "no",
		}})
		servers[region] = with(region, servercert.Pool(pairs["beijing"], pairs["shanghai"]))
	}
	want := func(region string) storage.Want {
		w := storage.Want{Store: "s", Region: region, Regions: regions, Writable: region == "beijing", Outage: time.Hour}
		if region == "shanghai" {
			w.Sources = []storage.Source{{Region: "beijing", Address: addresses["beijing"]}}
		}
		return w
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, region := range regions {
		must(servers[region].Prepare(t.Context(), want(region)))
		must(servers[region].SetWritable(t.Context(), region == "beijing"))
	}
	must(servers["shanghai"].Connect(t.Context(), want("shanghai"), want("shanghai").Sources[0]))
	must(nodes["beijing"].Put(t.Context(), 1, "one"))
	testkit.Eventually(t, time.Minute, func() error {
		rows, err := nodes["shanghai"].Rows(t.Context())
		if err == nil && len(rows) != 1 {
			err = fmt.Errorf("rows are %v, want one", rows)
		}
		return err
	})
	if _, err := with("shanghai", servercert.Pool(pairs["beijing"])).Observe(t.Context(), want("shanghai")); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
}
