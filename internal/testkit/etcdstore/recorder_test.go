package etcdstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

// A transaction is one revision, whatever it writes, and none is missed when a member dies.
func TestRecorderHasEveryRevision(t *testing.T) {
	t.Parallel()
	store := start(t, options(t, "beijing", "shanghai", "shenzhen"))
	c := client(t, store.Endpoints()...)
	began := time.Now()
	eventually(t, put(c, "before"))
	recorder, err := etcdstore.Record(t.Context(), store.Endpoints(), "/region/")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Txn(t.Context()).Then(clientv3.OpPut("/region/view", "1"), clientv3.OpPut("/region/gate/beijing", "1"), clientv3.OpPut("/other", "1")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Member("beijing").Kill(); err != nil {
		t.Fatal(err)
	}
	survivors := client(t, store.Member("shanghai").Endpoint(), store.Member("shenzhen").Endpoint())
	eventually(t, func(ctx context.Context) error { // a second one would change nothing
		_, err := survivors.Delete(ctx, "/region/view")
		return err
	})
	var keys [][]string
	testkit.Eventually(t, 30*time.Second, func() error {
		keys = nil
		for _, revision := range recorder.Between(began, time.Now()) {
			keys = append(keys, revision.Keys)
		}
		if len(keys) < 2 {
			return fmt.Errorf("heard of %v", keys)
		}
		return nil
	})
	if diff := cmp.Diff([][]string{{"gate/beijing", "view"}, {"-view"}}, keys); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if got := recorder.Between(began.Add(-time.Minute), began); len(got) > 0 {
		t.Errorf("before anything was written: %v", got)
	}
	if err := recorder.Close(); err != nil {
		t.Error(err)
	}
}
