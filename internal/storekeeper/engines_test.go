package storekeeper_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/postgres"
	"multiactive.dev/operator/internal/testkit/redis"
)

// member is a region's server of any engine with its keepers.
type member struct {
	*region
	options store.Options
	// put writes as an application does, has reads here.
	put   func(ctx context.Context, id int) error
	has   func(ctx context.Context, id int) (bool, error)
	kill  func() error
	start func(context.Context) error
	// kept waits until the server keeps what another one needs that is to replicate from it; nil for engines that keep nothing.
	kept func(ctx context.Context, other string) error
	// seed has the server give up what it has for another one's data, as a person does who was told that it must; nil for
	// engines that need nobody for a server that has nothing of its own.
	seed func(ctx context.Context, from string) error
}

// TestPrimaryOfEngines moves the region that is written to by a drain, and by the loss of its server, for the engines
// that have one such region.
func TestPrimaryOfEngines(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) { testPrimary(t, v1alpha1.EnginePostgreSQL, "shop.orders", postgresMembers(t), "") })
	t.Run("Redis", func(t *testing.T) { testPrimary(t, v1alpha1.EngineRedis, "order:*", redisMembers(t), byHand) })
	t.Run("Redis, accepted", func(t *testing.T) { testPrimary(t, v1alpha1.EngineRedis, "order:*", redisMembers(t), byAnnotation) })
	t.Run("Redis, by itself", func(t *testing.T) { testPrimary(t, v1alpha1.EngineRedis, "order:*", redisMembers(t), byItself) })
}

// How a server gives up what it alone has; "" for engines that need nobody for one that has nothing of its own.
const (
	byHand       = "by hand"
	byAnnotation = "by an annotation"
	byItself     = "by itself"
)

func testPrimary(t *testing.T, engine v1alpha1.StoreEngine, table string, members []*member, givesUp string) {
	s := v1alpha1.StoreSlice{
		Name: name, StoreID: "d-1", Generation: 1, Engine: engine, Management: v1alpha1.StoreManaged, ManageSettings: v1alpha1.ChoiceYes,
		Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: members[0].name},
		Classes:  []v1alpha1.StoreClass{{Name: "order", Tables: []string{table}}},
	}
	for _, m := range members {
		s.Endpoints = append(s.Endpoints, v1alpha1.StoreEndpoint{Region: m.name, Address: m.options.Address, SecretRef: v1alpha1.SecretReference{Name: "admin"}})
	}
	declared := func(m *member, losses map[string]string) {
		rs := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: m.name, ServiceID: service, Stores: []v1alpha1.StoreSlice{s}}}
		m.keepers.Set(map[string]storekeeper.Target{name: {
			Declared: plan.Merge([]v1alpha1.RegionalService{rs}, m.name)[name], Version: "1", Options: m.options, Paused: map[string]bool{},
			Losses: losses, Automatic: givesUp == byItself,
		}})
	}
	for _, m := range members {
		m.run(t)
		declared(m, nil)
	}
	agreed := func(c ownership.Configuration, primary string, among ...*member) {
		t.Helper()
		for _, m := range members {
			fence(m.region, c, primary)
		}
		testkit.Eventually(t, 2*time.Minute, func() error {
			for _, m := range among {
				if look := m.keepers.Look(name); !m.keepers.Fenced(c, []string{name}) {
					return fmt.Errorf("%s is not fenced: %s, %+v", m.name, look.FenceProblem, look)
				}
			}
			return nil
		})
	}
	written := func(primary *member, id int, others ...*member) {
		t.Helper()
		testkit.Eventually(t, time.Minute, func() error { return primary.put(t.Context(), id) })
		for _, m := range others {
			if err := m.put(t.Context(), 1000+id); err == nil {
				t.Errorf("%s takes a write and %s is the primary", m.name, primary.name)
			}
			testkit.Eventually(t, 2*time.Minute, func() error {
				if has, err := m.has(t.Context(), id); err != nil || !has {
					return fmt.Errorf("%d is not in %s (%w): %+v", id, m.name, err, m.keepers.Look(name))
				}
				return nil
			})
		}
	}
	first, second := members[0], members[1]
	agreed(configuration(1, ownership.PhaseOpen), first.name, members...)
	// What the first has before there is a link, the link does not bring.
	testkit.Eventually(t, 2*time.Minute, func() error {
		if look := second.keepers.Look(name); !look.Links[first.name].Known {
			return fmt.Errorf("nothing arrives in %s yet: %+v", second.name, look)
		}
		return nil
	})
	written(first, 1, second)
	agreed(configuration(2, ownership.PhaseClosing), "", members...)
	if err := first.put(t.Context(), 2000); err == nil {
		t.Error("the old primary takes a write while nobody may be written to")
	}
	agreed(configuration(3, ownership.PhaseOpen), second.name, members...)
	written(second, 2, first)

	if first.kept != nil {
		testkit.Eventually(t, time.Minute, func() error { return first.kept(t.Context(), second.name) })
	}
	// The primary's server dies, and its region goes on without a lease.
	if err := second.kill(); err != nil {
		t.Fatal(err)
	}
	second.lease.Store(0)
	agreed(configuration(4, ownership.PhaseClosing), "", first)
	agreed(configuration(5, ownership.PhaseOpen), first.name, first)
	written(first, 3)
	if err := second.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.lease.Store(int64(10 * time.Second))
	back := configuration(5, ownership.PhaseOpen)
	lostAt := time.Now()
	back.View.Regions = map[string]ownership.RegionRecord{second.name: {State: ownership.RegionReturning, Incident: "i", LostAt: &lostAt, Unshipped: true}}
	agreed(back, first.name, members...)
	if givesUp != "" {
		givesItUp(t, first, second, givesUp, func(losses map[string]string) { declared(second, losses) })
	}
	written(first, 4, second)
	if has, err := second.has(t.Context(), 3); err != nil || !has {
		t.Errorf("%s has not got what was written without it: %v", second.name, err)
	}
}

// givesItUp has the second server be a replica of the first again, once it has told what it would lose by that.
func givesItUp(t *testing.T, first, second *member, how string, declared func(losses map[string]string)) {
	t.Helper()
	var l plan.LinkLook
	testkit.Eventually(t, time.Minute, func() error {
		look := second.keepers.Look(name)
		if l = look.Links[first.name]; l.Bootstrap == nil || len(l.Bootstrap.Commands) == 0 || l.Bootstrap.Loss == nil || !l.Bootstrap.Loss.Returning {
			return fmt.Errorf("of a server that may have what nobody else has it is not told how to go on: %+v", look)
		}
		return nil
	})
	if l.GoesOn != (how == byItself) {
		t.Errorf("that it goes on by itself is told: %t, for one that gives things up %s", l.GoesOn, how)
	}
	if has, err := second.has(t.Context(), 3); err != nil || has {
		t.Errorf("%s has what was written without it before anybody could know (%v)", second.name, err)
	}
	switch how {
	case byHand:
		if err := second.seed(t.Context(), first.options.Address); err != nil {
			t.Fatal(err)
		}
	case byAnnotation:
		declared(map[string]string{first.name: "another"})
		testkit.Consistently(t, 5*time.Second, func() error {
			if has, err := second.has(t.Context(), 3); err != nil || has {
				return fmt.Errorf("another loss was accepted than there is (%w)", err)
			}
			return nil
		})
		declared(map[string]string{first.name: l.Bootstrap.Loss.Token})
	case byItself:
		second.keepers.Told(name, first.name, l.Bootstrap.Loss.Token)
	}
	if how == byHand {
		return
	}
	testkit.Eventually(t, time.Minute, func() error {
		if l := second.keepers.Look(name).Links[first.name]; l.Lost == "" || l.Bootstrap != nil {
			return fmt.Errorf("what it has lost is not told: %+v", l)
		}
		return nil
	})
}

func newMember(name string, o store.Options) *member {
	o.Timeout = 2 * time.Second
	return &member{region: newRegion(name, nil), options: o}
}

func postgresMembers(t *testing.T) []*member {
	t.Helper()
	var out []*member
	for i, server := range postgres.RunAll(t, postgres.Options{Name: regions[0]}, postgres.Options{Name: regions[1]}) {
		m := newMember(regions[i], store.Options{
			Address: server.Addr(), Database: "postgres", Admin: store.Credentials{User: postgres.Superuser, Password: postgres.Password},
			Replication: store.Credentials{User: "replica", Password: secret},
		})
		root := pool(t, server.Addr(), postgres.Superuser, postgres.Password)
		for _, statement := range []string{
			"CREATE SCHEMA shop", "CREATE TABLE shop.orders (id bigint PRIMARY KEY)", "CREATE ROLE application LOGIN PASSWORD '" + secret + "'",
			"GRANT USAGE ON SCHEMA shop TO application", "GRANT ALL ON ALL TABLES IN SCHEMA shop TO application",
		} {
			if _, err := root.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		application := pool(t, server.Addr(), "application", secret)
		m.put = func(ctx context.Context, id int) error {
			_, err := application.Exec(ctx, "INSERT INTO shop.orders VALUES ($1)", id)
			return err
		}
		m.has = func(ctx context.Context, id int) (bool, error) {
			var there int
			err := root.QueryRow(ctx, "SELECT id FROM shop.orders WHERE id = $1", id).Scan(&there)
			if errors.Is(err, pgx.ErrNoRows) {
				return false, nil
			}
			return err == nil, err
		}
		m.kept = func(ctx context.Context, other string) error {
			var slots int
			err := root.QueryRow(ctx, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1", "multiactive_"+other).Scan(&slots)
			if err == nil && slots != 1 {
				err = fmt.Errorf("there is no slot for %s", other)
			}
			return err
		}
		m.kill, m.start = server.Kill, server.Start
		out = append(out, m)
	}
	return out
}

func pool(t *testing.T, address, user, password string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig("postgres://" + address + "/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.User, config.ConnConfig.Password = user, password
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // the server is killed
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func redisMembers(t *testing.T) []*member {
	t.Helper()
	var out []*member
	for _, region := range regions[:2] {
		server := redis.Run(t, redis.Options{Name: region})
		root := server.Client("default", redis.Password)
		t.Cleanup(func() { _ = root.Close() })
		if err := root.Do(t.Context(), "ACL", "SETUSER", "application", "on", "~order:*", "-@all", "+@read", "+@write", ">"+secret).Err(); err != nil {
			t.Fatal(err)
		}
		if err := root.ConfigRewrite(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		application := server.Client("application", secret)
		t.Cleanup(func() { _ = application.Close() })
		m := newMember(region, store.Options{
			Address: server.Addr(), Admin: store.Credentials{User: "default", Password: redis.Password},
			Replication: store.Credentials{User: "replica", Password: secret},
		})
		m.put = func(ctx context.Context, id int) error {
			return application.Set(ctx, fmt.Sprintf("order:%d", id), id, 0).Err()
		}
		m.has = func(ctx context.Context, id int) (bool, error) {
			n, err := root.Exists(ctx, fmt.Sprintf("order:%d", id)).Result()
			return n == 1, err
		}
		m.kill, m.start = server.Kill, server.Start
		m.seed = func(ctx context.Context, from string) error {
			host, port, err := net.SplitHostPort(from)
			if err != nil {
				return err
			}
			return root.Do(ctx, "REPLICAOF", host, port).Err()
		}
		out = append(out, m)
	}
	return out
}
