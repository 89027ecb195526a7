package mysql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

// A primary that was lost with a change that nobody else has comes back as a replica: it gets what its successor
// wrote, keeps its own, and hands that over when it is the primary again.
func TestFormerPrimaryIsAhead(t *testing.T) {
	t.Parallel()
	e := engine(t)
	const one, other = "beijing", "shanghai"
	nodes := e.Run(t, one, other)
	servers := map[string]*mysql.Server{one: openNode(t, nodes[one]), other: openNode(t, nodes[other])}
	w := storage.Want{Regions: []string{one, other}}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, server := range servers {
		ok(server.Prepare(t.Context(), w))
	}
	connect := func(at, from string) {
		t.Helper()
		ok(servers[at].Connect(t.Context(), w, storage.Source{Region: from, Address: nodes[from].Addr()}))
	}
	has := func(at string, want map[int64]string) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error {
			rows, err := nodes[at].Rows(t.Context())
			if diff := cmp.Diff(want, rows); err == nil && diff != "" {
				err = fmt.Errorf("rows at %s (-want +got):\n%s", at, diff)
			}
			return err
		})
	}
	ok(servers[other].SetWritable(t.Context(), false))
	connect(other, one)
	ok(nodes[one].Put(t.Context(), 1, "shared"))
	has(other, map[int64]string{1: "shared"})
	ok(servers[other].Pause(t.Context(), one))
	ok(nodes[one].Put(t.Context(), 2, "nobody else's"))
	ok(nodes[one].Kill())

	ok(servers[other].Disconnect(t.Context(), w, one))
	ok(servers[other].SetWritable(t.Context(), true))
	ok(nodes[other].Put(t.Context(), 3, "successor's"))

	ok(nodes[one].Start(t.Context()))
	ok(servers[one].SetWritable(t.Context(), false))
	connect(one, other)
	all := map[int64]string{1: "shared", 2: "nobody else's", 3: "successor's"}
	has(one, all)
	has(other, map[int64]string{1: "shared", 3: "successor's"})

	ok(servers[other].SetWritable(t.Context(), false))
	ok(servers[one].Disconnect(t.Context(), w, other))
	ok(servers[one].SetWritable(t.Context(), true))
	connect(other, one)
	has(other, all)
}
