package mysql_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

// The commands that a link names seed a server whose source has deleted what it lacks.
func TestSeeding(t *testing.T) {
	t.Parallel()
	e := engine(t)
	names := []string{"beijing", "shanghai"}
	nodes := e.Run(t, names...)
	servers := map[string]*mysql.Server{}
	w := storage.Want{Region: "shanghai", Regions: names, Mesh: true, Writable: true}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, n := range nodes {
		servers[name] = openNode(t, n)
		ok(servers[name].Prepare(t.Context(), w))
	}
	connect := func(at, from string) error {
		return servers[at].Connect(t.Context(), w, storage.Source{Region: from, Address: nodes[from].Addr()})
	}
	has := func(want map[int64]string) {
		t.Helper()
		for name, n := range nodes {
			testkit.Eventually(t, time.Minute, func() error {
				rows, err := n.Rows(t.Context())
				if diff := cmp.Diff(want, rows); err == nil && diff != "" {
					err = fmt.Errorf("rows at %s (-want +got):\n%s", name, diff)
				}
				return err
			})
		}
	}
	ok(connect("shanghai", "beijing"))
	ok(connect("beijing", "shanghai"))
	ok(nodes["beijing"].Put(t.Context(), 1, "one"))
	ok(nodes["shanghai"].Put(t.Context(), 2, "two"))
	want := map[int64]string{1: "one", 2: "two"}
	has(want)
	ok(servers["shanghai"].Pause(t.Context(), "beijing"))
	ok(nodes["beijing"].Put(t.Context(), 3, "three"))
	ok(nodes["beijing"].Purge(t.Context()))
	needed, is := errors.AsType[*store.BootstrapError](connect("shanghai", "beijing"))
	if !is {
		t.Fatal("got no BootstrapError")
	}
	seed(t, needed.Commands, nodes["shanghai"], nodes["beijing"])
	for name := range nodes {
		servers[name] = openNode(t, nodes[name])
		ok(servers[name].Prepare(t.Context(), w))
	}
	ok(connect("shanghai", "beijing"))
	ok(connect("beijing", "shanghai"))
	ok(nodes["beijing"].Put(t.Context(), 4, "four"))
	ok(nodes["shanghai"].Put(t.Context(), 5, "five"))
	want[3], want[4], want[5] = "three", "four", "five"
	has(want)
	seen, err := servers["shanghai"].Observe(t.Context(), w)
	ok(err)
	if len(seen.Links) != 1 || !seen.Prepared {
		t.Errorf("observed as %+v, want one link, and Prepared", seen)
	}
}

// seed runs commands for a shell, with the sockets of servers in place of addresses and passwords.
func seed(t *testing.T, commands []string, target, source *mysqltest.Node) {
	t.Helper()
	host, port, _ := strings.Cut(source.Addr(), ":")
	replace := strings.NewReplacer(
		"--host=THIS-SERVER --user=root --password", "--socket="+target.Socket()+" --user=root",
		"--host="+host+" --port="+port+" --user=root --password", "--socket="+source.Socket()+" --user=root",
	)
	for _, text := range commands {
		if strings.Contains(replace.Replace(text), "password") {
			t.Errorf("command %q does not ask for a password as it should", text)
		}
		command := exec.CommandContext(t.Context(), "sh", "-c", replace.Replace(text))
		command.Dir = source.Dir() + "/.."
		if programs := target.Engine.Programs.Directory(); programs != "" {
			command.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
		}
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", replace.Replace(text), err, out)
		}
	}
}
