package coordination_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/testkit"
)

// A store whose disk quota is used up goes on to be read, takes no beat, says what to do, and serves again
// once that is done, without a restart of anybody.
func TestFullStore(t *testing.T) {
	o := fast
	// The size is known once a batch is committed: each put is one, else all fit into the first.
	o.ExtraArgs = []string{"--quota-backend-bytes=4194304", "--backend-batch-limit=1"}
	members := testkit.StartStore(t, o, "beijing")
	direct, err := clientv3.New(clientv3.Config{Endpoints: members.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close() })
	w := &world{t: t, Store: connect(t, coordination.Options{Endpoints: members.Endpoints(), RequestTimeout: 5 * time.Second})}
	term, agent := w.lead("x"), w.register("one")
	w.must(agent.Ask(t.Context(), w.read()))
	w.must(term.OpenGate(t.Context(), w.read(), "beijing"))
	w.must(agent.Beat(t.Context(), w.read(), 1))
	if h := w.Inspect(t.Context(), time.Now()); len(h.Broken)+len(h.Warnings) > 0 || h.Quota != 4194304 || h.Size == 0 {
		t.Errorf("a new store is reported as %+v", h)
	}

	t.Log("somebody else fills it")
	warned := false
	filler := strings.Repeat("x", 100_000)
	for i := 0; ; i++ {
		if _, err := direct.Put(t.Context(), fmt.Sprintf("/else/%d", i), filler); err != nil {
			break
		}
		warned = warned || strings.Contains(strings.Join(w.Inspect(t.Context(), time.Now()).Warnings, " "), "above 80 % of its quota")
		if i > 100 {
			t.Fatal("the quota does not end")
		}
	}
	if !warned {
		t.Error("nobody was warned before it was full")
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		_, err := agent.Beat(t.Context(), w.read(), 2) // reading goes on
		if coordination.Explain(err) != coordination.Full {
			return fmt.Errorf("a beat answers: %w", err)
		}
		return nil
	})
	if got := w.Inspect(t.Context(), time.Now()).Broken; len(got) != 1 || got[0] != coordination.Full {
		t.Errorf("reported %q", got)
	}

	t.Log("a person does what the report says")
	if _, err := direct.Delete(t.Context(), "/else/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Compact(t.Context(), w.read().Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Defragment(t.Context(), members.Endpoints()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		_, err := agent.Beat(t.Context(), w.read(), 3)
		return err
	})
	if h := w.Inspect(t.Context(), time.Now()); len(h.Broken)+len(h.Warnings) > 0 {
		t.Errorf("still reported: %+v", h)
	}
}
