package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/poll"
	"multiactive.dev/operator/internal/testkit/ports"
)

func options(t *testing.T, names ...string) etcdstore.Options {
	t.Helper()
	o := etcdstore.Options{Dir: t.TempDir(), HeartbeatInterval: 50 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond}
	for _, name := range names {
		o.Members = append(o.Members, etcdstore.MemberOptions{Name: name, Host: ports.Host()})
	}
	return o
}

func start(t *testing.T, o etcdstore.Options) *etcdstore.Store {
	t.Helper()
	store, err := etcdstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Kill() })
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func client(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually repeats what, whose requests a change of leader may fail.
func eventually(t *testing.T, what func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := poll.Until(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		return what(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// key is the one that these tests write.
const key = "epoch"

func put(c *clientv3.Client, value string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.Put(ctx, key, value)
		return err
	}
}

func get(c *clientv3.Client, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		response, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		if len(response.Kvs) != 1 || string(response.Kvs[0].Value) != want {
			return fmt.Errorf("key %s holds %v, want %q", key, response.Kvs, want)
		}
		return nil
	}
}

func TestThreeMembersSurviveOne(t *testing.T) {
	t.Parallel()
	store := start(t, options(t, "beijing", "shanghai", "shenzhen"))
	shanghai := store.Member("shanghai")
	eventually(t, put(client(t, store.Endpoints()...), "1"))

	if err := shanghai.Kill(); err != nil {
		t.Fatal(err)
	}
	if shanghai.Process() != nil {
		t.Error("a killed member still has a process")
	}
	survivors := client(t, store.Member("beijing").Endpoint(), store.Member("shenzhen").Endpoint())
	eventually(t, put(survivors, "2"))

	if err := shanghai.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	returned := client(t, shanghai.Endpoint())
	eventually(t, get(returned, "2"))
	members, err := returned.MemberList(t.Context())
	if err != nil || len(members.Members) != 3 {
		t.Fatalf("got %v and error %v, want the same three members", members, err)
	}
}

func TestTwoOfThreeFrozenLeaveNoMajority(t *testing.T) {
	t.Parallel()
	store := start(t, options(t, "beijing", "shanghai", "shenzhen"))
	beijing := client(t, store.Member("beijing").Endpoint())
	eventually(t, put(beijing, "1"))
	others := []*etcdstore.Member{store.Member("shanghai"), store.Member("shenzhen")}
	for _, member := range others {
		if err := member.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := put(beijing, "2")(ctx); err == nil {
		t.Fatal("one of three members accepted a write alone")
	}
	for _, member := range others {
		if err := member.Continue(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, put(beijing, "3"))
}

// A later run finds data and addresses again, also after all members died at once.
func TestDataAndAddressesOutliveTheStore(t *testing.T) {
	t.Parallel()
	o := options(t, "beijing")
	first := start(t, o)
	eventually(t, put(client(t, first.Endpoints()...), "7"))
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second := start(t, o)
	if got, want := second.Endpoints()[0], first.Endpoints()[0]; got != want {
		t.Fatalf("the endpoint changed from %s to %s", want, got)
	}
	eventually(t, get(client(t, second.Endpoints()...), "7"))
	if err := second.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMemberFailsWithEtcdsReason(t *testing.T) {
	t.Parallel()
	o := options(t, "beijing")
	o.ExtraArgs = []string{"--no-such-flag"}
	store, err := etcdstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Fatalf("got error %v, want one that carries what etcd said", err)
	}
	if err := store.Member("beijing").Freeze(); err == nil {
		t.Error("freezing a member that does not run is not refused")
	}
	if err := errors.Join(store.Kill(), store.Stop(t.Context())); err != nil {
		t.Errorf("ending a store that does not run: %v", err)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	t.Parallel()
	member := etcdstore.MemberOptions{Name: "beijing", Host: "127.11.0.1"}
	dir := filepath.Join(t.TempDir(), "etcd")
	for name, test := range map[string]struct {
		options etcdstore.Options
		want    string
	}{
		"no directory": {etcdstore.Options{Members: []etcdstore.MemberOptions{member}}, "Dir is empty"},
		"no members":   {etcdstore.Options{Dir: dir}, "Members is empty"},
		"same name":    {etcdstore.Options{Dir: dir, Members: []etcdstore.MemberOptions{member, member}}, "Members[1].Name"},
		"bad name":     {etcdstore.Options{Dir: dir, Members: []etcdstore.MemberOptions{{Name: "Bei Jing", Host: "127.0.0.1"}}}, "Members[0].Name"},
		"open address": {etcdstore.Options{Dir: dir, Members: []etcdstore.MemberOptions{{Name: "a", Host: "0.0.0.0"}}}, "Members[0].Host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := etcdstore.New(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that mentions %q", err, test.want)
			}
		})
	}
}
