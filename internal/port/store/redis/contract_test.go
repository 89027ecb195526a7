package redis_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	client "github.com/redis/go-redis/v9"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/redis"
	"multiactive.dev/operator/internal/port/store/storetest"
	testserver "multiactive.dev/operator/internal/testkit/redis"
)

const (
	operatorPassword    = `it's"quoted"\and#long`
	replicationPassword = `r'p\l`
	applicationPassword = "an-application's"
	prefix              = "order:"
)

// node is a Redis of one region.
type node struct {
	*testserver.Server
	root, application *client.Client
}

func start(t testing.TB, regions ...string) map[string]storetest.Node {
	t.Helper()
	nodes := map[string]storetest.Node{}
	for _, region := range regions {
		nodes[region] = newNode(t, testserver.Options{Name: region})
	}
	return nodes
}

// bare runs a server as it is installed, but for a password.
func bare(t testing.TB, region string) storetest.Node {
	t.Helper()
	return newNode(t, testserver.Options{Name: region, Settings: map[string]string{
		"appendonly": "no", "save": `""`, "repl-backlog-size": "1mb", "repl-backlog-ttl": "3600"}})
}

func newNode(t testing.TB, o testserver.Options) *node {
	t.Helper()
	n := &node{Server: testserver.Run(t, o)}
	n.root = n.client(t, "default", testserver.Password)
	for _, rules := range []string{
		"multiactive on resetkeys ~multiactive:* resetchannels -@all +acl +config +client|kill +info +role +replicaof +ping +multi +exec " +
			"+set +setnx +get +del +exists +scan +zrange +zadd +lrange +lindex +lpush +ltrim +eval +evalsha >" + operatorPassword,
		"application on ~" + prefix + "* resetchannels -@all +@read +@write +ping >" + applicationPassword,
	} {
		args := []any{"ACL", "SETUSER"}
		for rule := range strings.FieldsSeq(rules) {
			args = append(args, rule)
		}
		if err := n.root.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.root.ConfigRewrite(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	n.application = n.client(t, "application", applicationPassword)
	return n
}

func (n *node) client(t testing.TB, user, password string) *client.Client {
	t.Helper()
	c := n.Client(user, password)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (n *node) Options() store.Options {
	return store.Options{
		Address:     n.Addr(),
		Admin:       store.Credentials{User: "multiactive", Password: operatorPassword},
		Replication: store.Credentials{User: "replica", Password: replicationPassword},
	}
}

func (n *node) Stranger() store.Options {
	o := n.Options()
	o.Admin = store.Credentials{User: "application", Password: applicationPassword}
	return o
}

func (n *node) Application() *sql.DB { return nil }

func (n *node) Put(ctx context.Context, id int64, value string) error {
	return n.application.Set(ctx, prefix+strconv.FormatInt(id, 10), value, 0).Err()
}

func (n *node) Rows(ctx context.Context) (map[int64]string, error) {
	keys, err := n.root.Keys(ctx, prefix+"*").Result()
	if err != nil {
		return nil, err
	}
	all := map[int64]string{}
	for _, key := range keys {
		id, err := strconv.ParseInt(strings.TrimPrefix(key, prefix), 10, 64)
		if err != nil {
			return nil, err
		}
		if all[id], err = n.root.Get(ctx, key).Result(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// here carries commands out on this server alone, also where it is a replica.
func (n *node) here(ctx context.Context, f func() error) error {
	if err := n.root.ConfigSet(ctx, "replica-read-only", "no").Err(); err != nil {
		return err
	}
	return errors.Join(f(), n.root.ConfigSet(ctx, "replica-read-only", "yes").Err())
}

func (n *node) PutHere(context.Context, int64, string) error {
	return errors.New("nothing conflicts in Redis")
}

func (n *node) Undo(context.Context, int64) error { return errors.New("nothing conflicts in Redis") }

// Purge has nothing to do: the log for replicas is in memory, and everything is copied when it is gone.
func (n *node) Purge(context.Context) error { return nil }

func (n *node) LoseCanaries(ctx context.Context, region string, from, to int64) error {
	return n.here(ctx, func() error {
		key := "multiactive:canary:" + region
		for _, entry := range n.root.LRange(ctx, key, 0, -1).Val() {
			first, _, _ := strings.Cut(entry, " ")
			if sequence, err := strconv.ParseInt(first, 10, 64); err != nil || sequence < from || sequence > to {
				continue
			}
			if err := n.root.LRem(ctx, key, 0, entry).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *node) Forget(ctx context.Context) error {
	return n.here(ctx, func() error {
		keys, err := n.root.Keys(ctx, "multiactive:*").Result()
		if err == nil && len(keys) > 0 {
			err = n.root.Del(ctx, keys...).Err()
		}
		return errors.Join(err, n.root.Do(ctx, "ACL", "DELUSER", "replica").Err())
	})
}

func (n *node) Password(ctx context.Context, user, password string) error {
	return errors.Join(
		n.root.Do(ctx, "ACL", "SETUSER", user, "resetpass", ">"+password).Err(),
		n.root.ConfigRewrite(ctx).Err(),
	)
}

// point changes where a server reads from, as a person does.
func point(ctx context.Context, n storetest.Node, _, address string) error {
	server, ok := n.(*node)
	if !ok {
		return errors.New("not a node of this engine")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	return server.root.Do(ctx, "REPLICAOF", host, port).Err()
}

func open(o store.Options) (store.Server, error) { return redis.Open(o) }

// Redis passes the contract.
func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.World{Resyncs: true, Table: prefix + "*", Start: start, Bare: bare, Point: point, Open: open})
}
