// Package testkit gives tests real Kubernetes API servers and a real etcd, and a way to wait for what
// they do. Everything that it starts ends with the test, also with one that fails.
//
// It is for tests only. Programs use the packages below it, which do not know of tests: apiserver,
// etcdstore, crds, process, poll, ports and binaries. It must never skip a test for want of a program:
// a missing one fails the test with the command that makes it.
package testkit

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/crds"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

// crdTimeout bounds InstallCRDs.
const crdTimeout = 60 * time.Second

// StartServer runs a control plane until the test ends. Name, Dir and Host have defaults here: "test",
// a temporary directory, and a loopback address of its own. When the test fails, the end of the
// server's log is shown.
func StartServer(t testing.TB, o apiserver.Options) *apiserver.Server {
	t.Helper()
	server := newServer(t, o)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server
}

// StartServers runs one control plane for each region at the same time, as StartServer does, with the
// region's name in place of o.Name; o must not name Dir, Host or ports.
func StartServers(t testing.TB, o apiserver.Options, regions ...string) map[string]*apiserver.Server {
	t.Helper()
	if o.Dir != "" || o.Host != "" || o.Port != 0 || o.EtcdClientPort != 0 || o.EtcdPeerPort != 0 {
		t.Fatal("several servers cannot share Dir, Host or a port; leave them out, or start each with StartServer")
	}
	servers := make(map[string]*apiserver.Server, len(regions))
	failures := make([]error, len(regions))
	var all sync.WaitGroup
	for i, region := range regions {
		o.Name = region
		server := newServer(t, o)
		servers[region] = server
		all.Go(func() { failures[i] = server.Start(t.Context()) })
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			t.Fatal(err)
		}
	}
	return servers
}

// StartStore runs a coordination store with one member per region until the test ends. Dir has a
// default here, a temporary directory; the members are the regions', each on a loopback address of its
// own, after any that o.Members has. Shorter intervals in o make elections, and so tests, quicker.
func StartStore(t testing.TB, o etcdstore.Options, regions ...string) *etcdstore.Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Members = slices.Clone(o.Members)
	for _, region := range regions {
		o.Members = append(o.Members, etcdstore.MemberOptions{Name: region, Host: ports.Host()})
	}
	store, err := etcdstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, member := range store.Members() {
			showLog(t, "etcd "+member.Name(), member.Process())
		}
		if err := store.Kill(); err != nil {
			t.Errorf("ending the coordination store: %v", err)
		}
	})
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// Config returns a client configuration for one of the server's users.
func Config(t testing.TB, server *apiserver.Server, user string) *rest.Config {
	t.Helper()
	config, err := server.Config(user)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// InstallCRDs installs the project's resources (config/crd/bases) in all the servers at once and waits until they are served.
func InstallCRDs(t testing.TB, servers ...*apiserver.Server) {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), crdTimeout)
	defer cancel()
	var all errgroup.Group
	for _, server := range servers {
		config := Config(t, server, apiserver.Admin)
		all.Go(func() error {
			_, err := crds.InstallDir(ctx, config, filepath.Join(root, "config", "crd", "bases"))
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

func newServer(t testing.TB, o apiserver.Options) *apiserver.Server {
	t.Helper()
	if o.Name == "" {
		o.Name = "test"
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Host == "" {
		o.Host = ports.Host()
	}
	server, err := apiserver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		showLog(t, "kube-apiserver "+server.Name(), server.Process())
		if err := server.Kill(); err != nil {
			t.Errorf("ending API server %s: %v", server.Name(), err)
		}
	})
	return server
}

// showLog adds the end of a process's log to a failed test; in a passed one it would only be noise.
func showLog(t testing.TB, name string, p *process.Process) {
	t.Helper()
	if t.Failed() && p != nil {
		t.Logf("end of the log of %s:\n%s", name, p.LogTail())
	}
}
