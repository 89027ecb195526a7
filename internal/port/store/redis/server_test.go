package redis_test

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
	"multiactive.dev/operator/internal/port/store/redis"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	testserver "multiactive.dev/operator/internal/testkit/redis"
)

const patience = time.Minute

// fleet is a store of a primary and its replicas.
type fleet struct {
	t       *testing.T
	regions []string
	primary string
	nodes   map[string]*node
	servers map[string]*redis.Server
}

func newFleet(t *testing.T, regions ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, regions: regions, primary: regions[0], nodes: map[string]*node{}, servers: map[string]*redis.Server{}}
	for i, region := range regions {
		f.nodes[region] = newNode(t, testserver.Options{Name: fmt.Sprint(i)})
		server, err := redis.Open(f.nodes[region].Options())
		f.must(err)
		t.Cleanup(func() { _ = server.Close() })
		f.servers[region] = server
	}
	for _, region := range regions {
		f.must(f.servers[region].Prepare(t.Context(), f.want(region)))
		f.must(f.servers[region].SetWritable(t.Context(), region == f.primary))
	}
	return f
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) want(region string) storage.Want {
	w := storage.Want{Store: "s", Region: region, Regions: f.regions, Writable: region == f.primary, Tables: []string{prefix + "*"}, Outage: time.Hour}
	if region != f.primary {
		w.Sources = []storage.Source{{Region: f.primary, Address: f.nodes[f.primary].Addr()}}
	}
	return w
}

func (f *fleet) connect(region string) error {
	w := f.want(region)
	return f.servers[region].Connect(f.t.Context(), w, w.Sources[0])
}

// refuses tells whether a region is kept from becoming a replica because it would lose something.
func (f *fleet) refuses(region string) *store.BootstrapError {
	f.t.Helper()
	before, err := f.nodes[region].Rows(f.t.Context())
	f.must(err)
	var loses *store.BootstrapError
	if err := f.connect(region); !errors.As(err, &loses) || loses.Why == "" || len(loses.Commands) != 2 {
		f.t.Fatalf("connecting %s: got error %v, want a BootstrapError with what would be lost, and commands", region, err)
	}
	after, err := f.nodes[region].Rows(f.t.Context())
	f.must(err)
	if diff := cmp.Diff(before, after); diff != "" {
		f.t.Fatalf("%s lost something (-before +after):\n%s", region, diff)
	}
	return loses
}

func (f *fleet) put(region string, id int64) {
	f.t.Helper()
	f.must(f.nodes[region].Put(f.t.Context(), id, "row"))
}

func (f *fleet) has(region string, ids ...int64) {
	f.t.Helper()
	want := map[int64]string{}
	for _, id := range ids {
		want[id] = "row"
	}
	testkit.Eventually(f.t, patience, func() error {
		rows, err := f.nodes[region].Rows(f.t.Context())
		if diff := cmp.Diff(want, rows); err == nil && diff != "" {
			err = fmt.Errorf("rows of %s (-want +got):\n%s", region, diff)
		}
		return err
	})
}

// arrived waits until a region has what another one wrote.
func (f *fleet) arrived(from, to string) {
	f.t.Helper()
	own, err := f.servers[from].Positions(f.t.Context(), f.want(from))
	f.must(err)
	testkit.Eventually(f.t, patience, func() error {
		at, err := f.servers[to].Positions(f.t.Context(), f.want(to))
		if err == nil && at[from] < own[from] {
			err = fmt.Errorf("%s has %v, want %v", to, at, own)
		}
		return err
	})
}

// The primary changes in a planned way, there and back: everybody follows, and nothing is lost.
func TestTakeover(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai", "shenzhen")
	f.must(f.connect("shanghai"))
	f.must(f.connect("shenzhen"))
	rows := []int64{}
	for i, to := range []string{"shanghai", "beijing", "shenzhen"} {
		rows = append(rows, int64(i))
		from := f.primary
		f.put(from, int64(i))
		f.must(f.servers[from].SetWritable(t.Context(), false))
		if err := f.nodes[from].Put(t.Context(), 99, "refused"); err == nil {
			t.Fatal("a primary that was made read-only accepts a write")
		}
		f.arrived(from, to)
		f.must(f.servers[to].Disconnect(t.Context(), f.want(to), from))
		f.primary = to
		f.must(f.servers[to].SetWritable(t.Context(), true))
		f.put(to, int64(100+i))
		rows = append(rows, int64(100+i))
		for _, region := range f.regions {
			if region != to {
				f.must(f.connect(region))
			}
		}
		for _, region := range f.regions {
			f.has(region, rows...)
		}
	}
}

// A primary that was lost and comes back with writes that nobody else has keeps them, until a person decides.
func TestDivergedPrimary(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	f.must(f.connect("shanghai"))
	f.put("beijing", 1)
	f.has("shanghai", 1)
	f.must(f.servers["shanghai"].Pause(t.Context(), "beijing"))
	f.put("beijing", 2)
	f.must(f.nodes["beijing"].Kill())
	f.primary = "shanghai"
	f.must(f.servers["shanghai"].SetWritable(t.Context(), true))
	f.put("shanghai", 3)
	f.must(f.nodes["beijing"].Start(t.Context()))
	f.must(f.servers["beijing"].SetWritable(t.Context(), false))
	loses := f.refuses("beijing")
	noSecret := fmt.Sprint(loses.Commands)
	if strings.Contains(noSecret, operatorPassword) || strings.Contains(noSecret, replicationPassword) {
		t.Errorf("commands have a password: %s", noSecret)
	}
	// The person keeps a copy and gives the rest up.
	dir := t.TempDir()
	for _, command := range loses.Commands {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", strings.ReplaceAll(command, " --askpass", ""))
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "REDISCLI_AUTH="+testserver.Password)
		cmd.Args[2] = strings.ReplaceAll(cmd.Args[2], "--user multiactive", "--user default")
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERR") {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if copied, err := os.ReadFile(dir + "/multiactive-beijing.rdb"); err != nil || !strings.Contains(string(copied), prefix+"2") {
		t.Errorf("the copy lacks the row, error %v", err)
	}
	f.must(f.connect("beijing"))
	f.has("beijing", 1, 3)
}

// What a primary that was lost had not shipped is estimated, and lost only once just that is accepted.
func TestLossIsAccepted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	beat := func(sequence int64, at time.Time) {
		t.Helper()
		_, err := f.servers["beijing"].Beat(t.Context(), storage.Canary{Region: "beijing", Sequence: sequence, Time: at})
		f.must(err)
	}
	f.must(f.connect("shanghai"))
	f.put("beijing", 1)
	beat(1, time.Unix(1000, 0))
	f.arrived("beijing", "shanghai")
	f.must(f.servers["shanghai"].Pause(t.Context(), "beijing"))
	f.put("beijing", 2)
	beat(2, time.Unix(1003, 0))
	f.primary = "shanghai"
	f.must(f.servers["shanghai"].SetWritable(t.Context(), true))
	f.put("shanghai", 3)
	accepts := func(token string) error {
		w := f.want("beijing")
		w.Sources[0].Accepted = token
		return f.servers["beijing"].Connect(t.Context(), w, w.Sources[0])
	}
	loss := f.refuses("beijing").Loss
	if loss == nil || !loss.Returning || loss.Keys != 2 || loss.Span != 3*time.Second || loss.Bytes <= 0 || loss.Token == "" {
		t.Fatalf("the loss is %+v, want 2 keys, 3 s, and some bytes of the log", loss)
	}
	if err := accepts(loss.Token); err == nil {
		t.Error("a server that takes writes still was made a replica")
	}
	beat(3, time.Unix(1004, 0))
	f.must(f.servers["beijing"].SetWritable(t.Context(), false))
	if again := f.refuses("beijing").Loss; again.Token == loss.Token || again.Span != 4*time.Second {
		t.Errorf("with another canary the loss is %+v, it was %+v", again, loss)
	}
	if err := accepts(loss.Token); err == nil {
		t.Error("another loss was accepted than there is")
	}
	// A primary that was killed has another log.
	f.must(f.nodes["beijing"].Kill())
	f.must(f.nodes["beijing"].Start(t.Context()))
	loses := f.refuses("beijing")
	if loss = loses.Loss; !loss.Returning || loss.Span != 4*time.Second || !strings.Contains(loses.Why, "the last 5 s") {
		t.Errorf("after a restart the loss is %+v: %s", loss, loses.Why)
	}
	f.must(accepts(loss.Token))
	f.has("beijing", 1, 3)
}

// A server with keys of its own is never made a replica, one without is.
func TestOwnKeys(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing", "shanghai")
	f.put("beijing", 1)
	f.must(f.servers["shanghai"].SetWritable(t.Context(), true))
	f.put("shanghai", 2)
	_ = f.refuses("shanghai")
	f.must(f.servers["shanghai"].SetWritable(t.Context(), false))
	if loses := f.refuses("shanghai"); !strings.Contains(loses.Why, "1 keys") || !strings.Contains(loses.Why, "other data") || loses.Loss.Returning {
		t.Errorf("it says %q, want how many keys would be lost, and that they come from nobody else", loses.Why)
	}
	// A source that is somebody's replica is none.
	other := newFleet(t, "shenzhen", "wuhan")
	other.must(other.connect("wuhan"))
	w := storage.Want{Region: "beijing", Regions: []string{"wuhan", "beijing"}, Sources: []storage.Source{{Region: "wuhan", Address: other.nodes["wuhan"].Addr()}}}
	if err := f.servers["beijing"].Connect(t.Context(), w, w.Sources[0]); err == nil || !strings.Contains(err.Error(), "replica itself") {
		t.Errorf("got error %v, want that the source is a replica itself", err)
	}
	f.has("beijing", 1)
}

// That a primary is read-only outlives its restart, and its own setting comes back.
func TestReadOnlyStays(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "beijing")
	f.must(f.nodes["beijing"].root.ConfigSet(t.Context(), "min-replicas-max-lag", "0").Err())
	f.must(f.nodes["beijing"].root.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
	f.put("beijing", 1)
	for range 2 {
		f.must(f.servers["beijing"].SetWritable(t.Context(), false))
	}
	f.must(f.nodes["beijing"].Kill())
	f.must(f.nodes["beijing"].Start(t.Context()))
	if seen, err := f.servers["beijing"].Observe(t.Context(), f.want("beijing")); err != nil || seen.Writable {
		t.Errorf("after a restart Writable is %t, error %v", seen.Writable, err)
	}
	if err := f.nodes["beijing"].Put(t.Context(), 2, "refused"); err == nil {
		t.Error("a write was accepted after a restart")
	}
	if _, err := f.servers["beijing"].Beat(t.Context(), storage.Canary{Region: "beijing", Sequence: 1, Time: time.Unix(1, 0)}); err != nil {
		t.Errorf("a beat of a server that is read-only: %v", err)
	}
	f.must(f.servers["beijing"].SetWritable(t.Context(), true))
	if got := f.nodes["beijing"].root.ConfigGet(t.Context(), "min-replicas-to-write").Val()["min-replicas-to-write"]; got != "0" {
		t.Errorf("min-replicas-to-write is %s after the server was made writable", got)
	}
	f.put("beijing", 3)
	f.has("beijing", 1, 3)
}

// Regions' names are data, whatever is in them.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	evil := "x' \"\r\nFLUSHALL\r\n*"
	f := newFleet(t, evil, "shanghai")
	f.must(f.connect("shanghai"))
	f.put(evil, 1)
	f.has("shanghai", 1)
	_, err := f.servers[evil].Beat(t.Context(), storage.Canary{Region: evil, Sequence: 7, Time: time.Unix(7, 0)})
	f.must(err)
	testkit.Eventually(t, patience, func() error {
		others, err := f.servers["shanghai"].Beat(t.Context(), storage.Canary{Region: "shanghai"})
		want := []storage.Canary{{Region: evil, Sequence: 7, Time: time.Unix(7, 0).UTC()}}
		if diff := cmp.Diff(want, others); err == nil && diff != "" {
			err = errors.New(diff)
		}
		return err
	})
}

// What Redis has no means for says so.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	server, err := redis.Open(store.Options{Address: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	_, fences := server.Fences(t.Context())
	_, digests := server.Digests(t.Context(), "t", 1, nil, nil)
	for name, err := range map[string]error{
		"fences": server.SetFences(t.Context(), storage.Fences{}), "removing": server.RemoveFences(t.Context(), "s"),
		"reading": fences, "leases": server.Lease(t.Context(), "r", time.Second), "digests": digests,
	} {
		if !errors.Is(err, store.ErrUnsupported) || !strings.Contains(err.Error(), "in Redis") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
