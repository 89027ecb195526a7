//go:build e2e

package storekeeper_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/postgres"
)

// settling is a mesh of PostgreSQL servers with keepers.
type settling struct {
	t       *testing.T
	members map[string]*member
	servers map[string]*postgres.Server
	root    map[string]*pgxpool.Pool
}

func newSettling(t *testing.T) *settling {
	t.Helper()
	programs, err := postgres.Newer()
	if err != nil {
		t.Fatal(err)
	}
	s := &settling{t: t, members: map[string]*member{}, servers: map[string]*postgres.Server{}, root: map[string]*pgxpool.Pool{}}
	all := make([]postgres.Options, len(regions))
	for i, r := range regions {
		all[i] = postgres.Options{Name: r, Programs: programs}
	}
	for i, server := range postgres.RunAll(t, all...) {
		m := newMember(regions[i], store.Options{
			Address: server.Addr(), Database: "postgres", Admin: store.Credentials{User: postgres.Superuser, Password: postgres.Password},
			Replication: store.Credentials{User: "replica", Password: secret},
		})
		s.members[m.name], s.servers[m.name], s.root[m.name] = m, server, pool(t, server.Addr(), postgres.Superuser, postgres.Password)
		s.put(m.name, "CREATE SCHEMA shop", "CREATE TABLE shop.orders (id bigint PRIMARY KEY, value text)", "ALTER TABLE shop.orders REPLICA IDENTITY FULL")
	}
	s.declare(nil)
	for _, m := range s.members {
		m.run(t)
	}
	testkit.Eventually(t, 2*time.Minute, func() error {
		for _, m := range s.members {
			look := m.keepers.Look(name)
			for _, from := range regions {
				if l := look.Links[from]; from != m.name && (!l.Known || l.Age > 3*time.Second) {
					return fmt.Errorf("%s from %s: %+v, %+v", m.name, from, l, look.Observation)
				}
			}
		}
		return nil
	})
	return s
}

// declare hands every region the same store; cut are links that somebody has paused, by target and source.
func (s *settling) declare(cut map[string][]string) {
	slice := v1alpha1.StoreSlice{
		Name: name, StoreID: "d-1", Generation: 1, Engine: v1alpha1.EnginePostgreSQL, Management: v1alpha1.StoreManaged, ManageSettings: v1alpha1.ChoiceYes,
		Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
		Classes:  []v1alpha1.StoreClass{{Name: "order", Tables: []string{"shop.orders"}, Conflict: &v1alpha1.ConflictPolicy{Policy: v1alpha1.ConflictOwnerWins}}},
	}
	for _, r := range regions {
		slice.Endpoints = append(slice.Endpoints, v1alpha1.StoreEndpoint{Region: r, Address: s.servers[r].Addr(), SecretRef: v1alpha1.SecretReference{Name: "admin"}})
	}
	for _, m := range s.members {
		rs := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: m.name, ServiceID: service, Stores: []v1alpha1.StoreSlice{slice}}}
		target := storekeeper.Target{Declared: plan.Merge([]v1alpha1.RegionalService{rs}, m.name)[name], Version: "1", Options: m.options, Paused: map[string]bool{}}
		for _, from := range cut[m.name] {
			target.Paused[from] = true
		}
		m.keepers.Set(map[string]storekeeper.Target{name: target})
	}
}

func (s *settling) put(region string, statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		if _, err := s.root[region].Exec(s.t.Context(), statement); err != nil {
			s.t.Fatalf("%s: %s: %v", region, statement, err)
		}
	}
}

func (s *settling) rows(region string) string {
	var all string
	if err := s.root[region].QueryRow(s.t.Context(), "SELECT coalesce(string_agg(id || ' ' || value, ',' ORDER BY id), '') FROM shop.orders").Scan(&all); err != nil {
		return err.Error()
	}
	return all
}

func (s *settling) equal(want string) {
	s.t.Helper()
	testkit.Eventually(s.t, 2*time.Minute, func() error {
		for _, r := range regions {
			if got := s.rows(r); got != want {
				return fmt.Errorf("%s has %s, want %s; it says %+v", r, got, want, s.members[r].keepers.Look(name))
			}
		}
		return nil
	})
}

// TestRealSettleMesh does with PostgreSQL what TestSettle does.
func TestRealSettleMesh(t *testing.T) {
	s := newSettling(t)
	lostAt := time.Now()
	agree := func(epoch int64, state ownership.RegionState) {
		for _, m := range s.members {
			fence(m.region, away(epoch, state, lostAt), "")
		}
	}
	s.put("beijing", "INSERT INTO shop.orders VALUES (1, 'first'), (2, 'first')")
	s.equal("1 first,2 first")
	s.declare(map[string][]string{"shanghai": {"beijing"}, "shenzhen": {"beijing"}})
	for _, r := range []string{"shanghai", "shenzhen"} {
		testkit.Eventually(t, time.Minute, func() error {
			if link := s.members[r].keepers.Look(name).Observation.Links["beijing"]; !link.Stopped {
				return fmt.Errorf("%s still receives from beijing: %+v", r, link)
			}
			return nil
		})
	}
	s.put("beijing", "UPDATE shop.orders SET value = 'late'", "INSERT INTO shop.orders VALUES (3, 'late')")
	if err := s.servers["beijing"].Kill(); err != nil {
		t.Fatal(err)
	}
	lostAt = time.Now()
	agree(2, ownership.RegionLost)
	for _, r := range []string{"shanghai", "shenzhen"} {
		testkit.Eventually(t, time.Minute, func() error {
			if look := s.members[r].keepers.Look(name); !strings.Contains(look.Held["beijing"], "lost") {
				return fmt.Errorf("%s does not hold: %+v", r, look)
			}
			return nil
		})
	}
	s.declare(nil)
	s.put("shanghai", "UPDATE shop.orders SET value = 'taken over' WHERE id = 1")

	// It is back, and not agreed to be: nothing comes, and nothing goes.
	if err := s.servers["beijing"].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		link := s.members["beijing"].keepers.Look(name).Observation.Links["shanghai"]
		if link.Fault == nil || !strings.Contains(link.Fault.Message, "taken back") || link.Bootstrap != nil {
			return fmt.Errorf("it does not say what it waits for: %+v %+v", link, link.Fault)
		}
		return nil
	})
	testkit.Consistently(t, 3*time.Second, func() error {
		if got := s.rows("shanghai") + "; " + s.rows("beijing"); got != "1 taken over,2 first; 1 late,2 late,3 late" {
			return fmt.Errorf("shanghai and beijing have %s", got)
		}
		return nil
	})
	agree(3, ownership.RegionReturning)
	s.equal("1 taken over,2 late,3 late")
	want := []storage.Late{{
		Outage: storage.Outage{Region: "beijing", ID: lostAt.UnixMicro()}, Applied: 2, OwnerStands: 1,
		Conflicts: []storage.Conflict{{Table: "shop.orders", Key: `{"id":"1"}`, Outcome: storage.OutcomeOwnerStands}},
	}}
	for _, r := range regions {
		testkit.Eventually(t, 2*time.Minute, func() error {
			look := s.members[r].keepers.Look(name)
			late := slices.Clone(look.Late)
			for i := range late {
				late[i].Withdrawn = false
			}
			if diff := cmp.Diff(want, late); diff != "" || look.Settling != "" || len(look.Held) > 0 {
				return fmt.Errorf("%s says %q, holds %v, late changes (-want +got):\n%s", r, look.Settling, look.Held, diff)
			}
			if look.Problem != nil {
				return errors.New(look.Problem.Message)
			}
			return nil
		})
	}
	s.put("beijing", "INSERT INTO shop.orders VALUES (4, 'on')")
	s.equal("1 taken over,2 late,3 late,4 on")
}
