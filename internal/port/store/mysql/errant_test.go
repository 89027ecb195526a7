package mysql_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

// A policy that is removed once a former primary has taken back what only it had: that is not told as what only this server has, nor does it
// arrive as it was; it is written again when the server is the primary again.
func TestPolicyRemovedAfterWithdrawal(t *testing.T) {
	t.Parallel()
	const one, other = "beijing", "shanghai"
	e := engine(t)
	nodes := e.Run(t, one, other)
	servers := map[string]*mysql.Server{}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	source := func(region string) storage.Source {
		return storage.Source{Region: region, Address: nodes[region].Addr()}
	}
	want := func(region string, writable bool) storage.Want {
		return storage.Want{Region: region, Regions: []string{one, other}, Writable: writable, Tables: []string{"shop.orders"}, Outage: time.Hour}
	}
	for region, n := range nodes {
		must(t, n, e.SettleGrants...)
		servers[region] = openNode(t, n)
		ok(servers[region].Prepare(t.Context(), want(region, region == one)))
	}
	has := func(at string, rows map[int64]string) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error {
			got, err := nodes[at].Rows(t.Context())
			if diff := cmp.Diff(rows, got); err == nil && diff != "" {
				err = fmt.Errorf("rows at %s (-want +got):\n%s", at, diff)
			}
			return err
		})
	}
	ok(servers[other].SetWritable(t.Context(), false))
	_, err := servers[one].Beat(t.Context(), storage.Canary{Region: one, Sequence: 1, Time: time.Unix(1, 0)})
	ok(err)
	ok(servers[other].Connect(t.Context(), want(other, false), source(one)))
	ok(nodes[one].Put(t.Context(), 1, "shared"))
	has(other, map[int64]string{1: "shared"})
	ok(servers[other].Pause(t.Context(), one))
	ok(nodes[one].Put(t.Context(), 2, "nobody else's"))
	ok(nodes[one].Kill())

	declared := func(w storage.Want) storage.Want {
		w.Conflicts = []storage.ConflictPolicy{{Table: "shop.orders", Winner: storage.WinnerOwner}}
		return w
	}
	o := storage.Outage{Region: one, ID: 5}
	held, err := servers[other].Hold(t.Context(), declared(want(other, true)), o)
	if err != nil || !held {
		t.Fatalf("held %t (%v)", held, err)
	}
	ok(servers[other].SetWritable(t.Context(), true))
	ok(nodes[other].Put(t.Context(), 3, "successor's"))
	ok(nodes[one].Start(t.Context()))
	ok(servers[one].Withdraw(t.Context(), declared(want(one, false)), o, []storage.Source{source(other)}))
	has(one, map[int64]string{1: "shared"})

	// From here on no class declares a policy.
	ok(servers[one].Connect(t.Context(), want(one, false), source(other)))
	has(one, map[int64]string{1: "shared", 3: "successor's"})
	elsewhere, err := servers[one].Elsewhere(t.Context(), []storage.Source{source(other)})
	ok(err)
	found, err := servers[one].Errant(t.Context(), want(one, false), elsewhere)
	ok(err)
	if diff := cmp.Diff(storage.Errant{Complete: true}, found); diff != "" {
		t.Errorf("what was taken back is told as what only this server has (-want +got):\n%s", diff)
	}

	ok(servers[other].SetWritable(t.Context(), false))
	ok(servers[one].Disconnect(t.Context(), want(one, true), other))
	ok(servers[one].SetWritable(t.Context(), true))
	testkit.Eventually(t, time.Minute, func() error {
		released, err := servers[other].Release(t.Context(), want(other, false), o, source(one))
		if err == nil && !released {
			err = errors.New("not yet")
		}
		return err
	})
	ok(servers[other].Connect(t.Context(), want(other, false), source(one)))
	for more := true; more; {
		more, err = servers[one].Decide(t.Context(), want(one, true))
		ok(err)
	}
	all := map[int64]string{1: "shared", 2: "nobody else's", 3: "successor's"}
	has(one, all)
	has(other, all)
}
