package agent_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/ports"
)

// place is where one store after the other answers.
type place struct {
	t       *testing.T
	options etcdstore.Options
}

func newPlace(t *testing.T) *place {
	t.Helper()
	host := ports.Host()
	free, err := ports.Free(host, 2)
	if err != nil {
		t.Fatal(err)
	}
	return &place{t, etcdstore.Options{
		HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second,
		Members: []etcdstore.MemberOptions{{Name: "beijing", Host: host, ClientPort: free[0], PeerPort: free[1]}},
	}}
}

// start runs an empty store with the token that makes its identity.
func (p *place) start(token string) *etcdstore.Store {
	p.t.Helper()
	o := p.options
	o.ExtraArgs = []string{"--initial-cluster-token=" + token}
	return testkit.StartStore(p.t, o)
}

func direct(t *testing.T, s *etcdstore.Store) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: s.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestAdoptedStore: an agent that meets a backup of its store under a new identity takes no lease and writes
// nothing; the one that is told to follow it has the epochs raised above all that its region has seen first.
func TestAdoptedStore(t *testing.T) {
	p := newPlace(t)
	store := p.start("one")
	run := func(known coordination.Position, above int64) (*agent.Agent, *coordination.Store) {
		t.Helper()
		c, err := coordination.Connect(coordination.Options{Endpoints: store.Endpoints(), RequestTimeout: 600 * time.Millisecond, Known: known})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, net: &network{dead: map[string]bool{}}, agents: map[string]*running{}}
		a, err := agent.New(agent.Config{
			Region: "beijing", Store: c, Clock: agent.SystemClock(), Timings: ownership.FastTimings(), Prober: w.net,
			AboveEpoch: above, RevisionBase: 1000, Log: testr.New(t),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.run("beijing", a)
		t.Cleanup(func() { _ = c.Close() })
		return a, c
	}
	first, followed := run(coordination.Position{}, 0)
	if _, err := connect(t, store.Endpoints()).PutRegionIntent(t.Context(), ownership.RegionIntent{Name: "beijing", Role: "Active"}); err != nil {
		t.Fatal(err)
	}
	leased := func(a *agent.Agent) func() error {
		return func() error {
			if c, _ := a.Snapshot(); a.Lease() == 0 {
				return fmt.Errorf("no lease, view %+v", c.View)
			}
			return nil
		}
	}
	testkit.Eventually(t, 30*time.Second, leased(first))
	backup, err := direct(t, store).Get(t.Context(), "/multiactive/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}

	if err := store.Kill(); err != nil {
		t.Fatal(err)
	}
	store = p.start("two")
	restored := direct(t, store)
	for _, kv := range backup.Kvs {
		if string(kv.Key) == "/multiactive/leader" {
			continue
		}
		if _, err := restored.Put(t.Context(), string(kv.Key), string(kv.Value)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := restored.Delete(t.Context(), "/multiactive/leader/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err) // whoever stood for election has a session no more
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		if _, err := first.StoreReachable(); !errors.Is(err, coordination.ErrOtherStore) {
			return fmt.Errorf("the store is refused for %w, want that it is another one", err)
		}
		if first.IsLeader() {
			return errors.New("the agent has not finished what it began as the leader of the other store")
		}
		return nil
	})
	before := revision(t, restored)
	testkit.Consistently(t, 3*time.Second, func() error {
		if first.Lease() != 0 || first.IsLeader() {
			return errors.New("a store that is refused gives a lease, or a leader")
		}
		if now := revision(t, restored); now != before {
			return fmt.Errorf("the agent that refuses the store has taken it from revision %d to %d", before, now)
		}
		return nil
	})
	refused := followed.Refusal()
	if refused == nil || refused.Restored || refused.Seen.ClusterID == followed.Position().ClusterID {
		t.Fatalf("the store is refused for %v, want for its ID", refused)
	}

	const above = 7
	second, _ := run(coordination.Position{ClusterID: refused.Seen.ClusterID}, above)
	testkit.Eventually(t, 30*time.Second, func() error {
		if err := leased(second)(); err != nil {
			return err
		}
		if c, _ := second.Snapshot(); c.View.Epoch != above+1 || c.View.Regions["beijing"].State != ownership.RegionServing {
			t.Fatalf("a lease came with %+v, want epoch %d", c.View, above+1)
		}
		return nil
	})
	if first.Lease() != 0 {
		t.Error("the agent that has not adopted the store has a lease")
	}
}

func revision(t *testing.T, c *clientv3.Client) int64 {
	t.Helper()
	answer, err := c.Get(t.Context(), "/multiactive/view")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Header.Revision
}

// TestRestoredUnderOldIdentity: nobody takes such a store, whatever its revision is by then, nor does the
// next process that knows of it.
func TestRestoredUnderOldIdentity(t *testing.T) {
	p := newPlace(t)
	store := p.start("one")
	s := connect(t, store.Endpoints())
	for n := range 20 {
		if _, err := s.PutRegionIntent(t.Context(), ownership.RegionIntent{Name: fmt.Sprintf("r%d", n), Role: "Active"}); err != nil {
			t.Fatal(err)
		}
	}
	known := s.Position()
	if err := store.Kill(); err != nil {
		t.Fatal(err)
	}
	store = p.start("one")
	refused := func(s *coordination.Store) error {
		_, err := s.Read(t.Context())
		var other *coordination.OtherStoreError
		if !errors.As(err, &other) || !other.Restored || s.Refusal() == nil {
			return fmt.Errorf("reading answered %w, want that the store was restored", err)
		}
		return nil
	}
	testkit.Eventually(t, 20*time.Second, func() error { return refused(s) })
	c := direct(t, store)
	for revision(t, c) <= known.Revision {
		if _, err := c.Put(t.Context(), "/multiactive/x", "y"); err != nil {
			t.Fatal(err)
		}
	}
	if err := refused(s); err != nil {
		t.Errorf("once its revision is as high as before: %v", err)
	}
	next, err := coordination.Connect(coordination.Options{Endpoints: store.Endpoints(), Known: known, Restored: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	if err := refused(next); err != nil {
		t.Errorf("the next process: %v", err)
	}
}
