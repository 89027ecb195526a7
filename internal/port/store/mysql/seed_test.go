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

// A server that was seeded, and has replicated since, has what another wrote itself from then on alone. That other's link, which stood
// further back when its source was seeded, goes on all the same, once it is set up anew: nothing is lacking.
func TestSeededServerIsReadFrom(t *testing.T) {
	t.Parallel()
	e := engine(t)
	names := []string{"beijing", "shanghai"}
	nodes := e.Run(t, names...)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := func(region string) storage.Want {
		return storage.Want{Region: region, Regions: names, Mesh: true, Writable: true}
	}
	servers := map[string]*mysql.Server{}
	for name := range nodes {
		servers[name] = openNode(t, nodes[name])
		ok(servers[name].Prepare(t.Context(), w(name)))
	}
	connect := func(at, from string) error {
		return servers[at].Connect(t.Context(), w(at), storage.Source{Region: from, Address: nodes[from].Addr()})
	}
	beat := func(number int64) {
		t.Helper()
		_, err := servers["shanghai"].Beat(t.Context(), storage.Canary{Region: "shanghai", Sequence: number, Time: time.Now()})
		ok(err)
	}
	ok(nodes["beijing"].Put(t.Context(), 1, "one"))
	ok(connect("beijing", "shanghai")) // it counts its own up to here among what it has
	for id := range int64(20) {
		ok(nodes["beijing"].Put(t.Context(), 2+id, "more"))
	}
	ok(nodes["beijing"].Purge(t.Context()))
	beat(1) // arrives before the seed
	testkit.Eventually(t, time.Minute, func() error {
		others, err := servers["beijing"].Beat(t.Context(), storage.Canary{Region: "beijing", Sequence: 1, Time: time.Now()})
		if err == nil && len(others) == 0 {
			err = errors.New("the canary of shanghai has not arrived")
		}
		return err
	})
	needed, is := errors.AsType[*store.BootstrapError](connect("shanghai", "beijing"))
	if !is {
		t.Fatal("got no BootstrapError")
	}
	// What the server wrote from here on would be in the way of the seed.
	ok(nodes["beijing"].Root(t.Context(), e.StopLink, "shanghai"))
	beat(2)
	seed(t, needed.Commands, nodes["shanghai"], nodes["beijing"])
	ok(nodes["beijing"].Root(t.Context(), e.StartLink, "shanghai"))
	servers["shanghai"] = openNode(t, nodes["shanghai"])
	ok(servers["shanghai"].Prepare(t.Context(), w("shanghai")))
	ok(connect("shanghai", "beijing"))
	ok(nodes["beijing"].Put(t.Context(), 50, "after the seed"))
	rows := func(at string, id int64) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error {
			got, err := nodes[at].Rows(t.Context())
			if err == nil && got[id] == "" {
				err = fmt.Errorf("%s lacks row %d, it has %d rows", at, id, len(got))
			}
			return err
		})
	}
	rows("shanghai", 50)

	// The link from the seeded server begins anew, as after any lost connection.
	ok(nodes["shanghai"].Kill())
	ok(nodes["shanghai"].Start(t.Context()))
	ok(nodes["shanghai"].Put(t.Context(), 60, "of the seeded one"))
	testkit.Eventually(t, time.Minute, func() error {
		seen, err := servers["beijing"].Observe(t.Context(), w("beijing"))
		if err != nil {
			return err
		}
		switch link := seen.Links["shanghai"]; {
		case link.Fault == nil && link.Receiving && link.Applying:
			return nil
		case link.Fault != nil && link.Fault.Kind == storage.FaultPurged && link.Mendable:
			return errors.Join(fmt.Errorf("the link says %s", link.Fault.Message), connect("beijing", "shanghai"))
		default:
			return fmt.Errorf("the link is %+v with %+v", link, link.Fault)
		}
	})
	rows("beijing", 60)
	ok(nodes["beijing"].Put(t.Context(), 70, "both ways"))
	rows("shanghai", 70)
	beat(3)
	testkit.Eventually(t, time.Minute, func() error {
		others, err := servers["beijing"].Beat(t.Context(), storage.Canary{Region: "beijing", Sequence: 2, Time: time.Now()})
		if err == nil && (len(others) == 0 || others[0].Sequence < 2) {
			err = fmt.Errorf("canaries are %v", others)
		}
		return err
	})
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
