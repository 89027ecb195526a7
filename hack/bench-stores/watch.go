package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/hack/internal/report"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store/engines"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit/mariadb"
	"multiactive.dev/operator/internal/testkit/poll"
)

// stores that are watched in every region.
const stores = 20

// machineClock is the real clock; the machine is not suspended while it is measured.
type machineClock struct {
	clock.RealClock
	began time.Time
}

func (m machineClock) Boottime() time.Duration { return m.Since(m.began) }

// small is what servers have that nobody writes to.
var small = map[string]string{
	"innodb-buffer-pool-size": "8M", "innodb-log-file-size": "4M", "key-buffer-size": "1M", "aria-pagecache-buffer-size": "1M",
	"performance-schema": "OFF", "slave-net-timeout": "10", "sync-binlog": "1", "innodb-flush-log-at-trx-commit": "1",
}

// servers starts those of all stores, each with one in every region.
func (p *page) servers(ctx context.Context, dir string, do func(map[string]map[string]*mysqltest.Node) error) error {
	all := map[string]map[string]*mysqltest.Node{}
	defer func() {
		for _, nodes := range all {
			for _, n := range nodes {
				n.Close()
				_ = n.Kill()
			}
		}
	}()
	for n := range stores {
		name := storeName(n)
		all[name] = map[string]*mysqltest.Node{}
		for i, region := range regions {
			settings := mysqltest.Settings(i+1, len(regions))
			maps.Copy(settings, small)
			node, err := start(ctx, mariadb.Options{Name: region, Dir: filepath.Join(dir, name, region), Settings: settings})
			if err != nil {
				return err
			}
			all[name][region] = node
		}
	}
	return do(all)
}

// watch measures what it costs this process to keep many stores in all regions: canaries, looks, fences and leases.
func (p *page) watch(ctx context.Context, nodes map[string]map[string]*mysqltest.Node) error {
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	var keepers []*storekeeper.Keepers
	for _, region := range regions {
		k := storekeeper.New(storekeeper.Config{
			Region: region, Clock: machineClock{began: time.Now()}, Open: engines.Open,
			Lease: func() time.Duration { return 10 * time.Second }, LongestLease: 10 * time.Second, Log: logr.Discard(),
		})
		keepers = append(keepers, k)
		k.Set(targets(region, nodes))
		k.SetFences(ownership.Configuration{View: ownership.View{Epoch: 1, Phase: ownership.PhaseOpen}}, fencesOfAll(region), nil)
		all.Go(func() { _ = k.Start(running) })
		all.Go(func() {
			for {
				select {
				case <-k.Changed():
				case <-running.Done():
					return
				}
			}
		})
	}
	if err := settled(ctx, keepers); err != nil {
		return err
	}
	// A server is looked at often until nothing has been wrong with it for a while.
	if err := poll.Pause(ctx, time.Minute); err != nil {
		return err
	}
	before, err := report.ProcessorTime(os.Getpid())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := poll.Pause(ctx, p.options.watch); err != nil {
		return err
	}
	after, err := report.ProcessorTime(os.Getpid())
	if err != nil {
		return err
	}
	p.watched = float64(after-before) / float64(time.Since(began))
	return nil
}

// settled waits until all stores of all regions have had canaries from everywhere for a moment.
func settled(ctx context.Context, all []*storekeeper.Keepers) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		missing := ""
		for i, k := range all {
			for n := range stores {
				look := k.Look(storeName(n))
				for _, from := range look.Sources {
					if l := look.Links[from]; !l.Known || l.Age > 5*time.Second {
						missing = fmt.Sprintf("%s in %s from %s: %+v, %+v", storeName(n), regions[i], from, l, look.Problem)
					}
				}
				if len(look.Sources) == 0 || look.FenceProblem != "" {
					missing = fmt.Sprintf("%s in %s: %q, %+v", storeName(n), regions[i], look.FenceProblem, look.Problem)
				}
			}
		}
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("stores do not settle: " + missing)
		case <-time.After(time.Second):
		}
	}
}

func storeName(n int) string { return fmt.Sprintf("store-%d", n) }

func targets(region string, nodes map[string]map[string]*mysqltest.Node) map[string]storekeeper.Target {
	out := map[string]storekeeper.Target{}
	for n := range stores {
		s := v1alpha1.StoreSlice{
			Name: storeName(n), StoreID: storeName(n), Generation: 1, Engine: v1alpha1.EngineMariaDB, Management: v1alpha1.StoreManaged,
			Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
			Classes:  []v1alpha1.StoreClass{{Name: "order", Tables: []string{"shop.orders"}}},
		}
		for _, r := range regions {
			s.Endpoints = append(s.Endpoints, v1alpha1.StoreEndpoint{Region: r, Address: nodes[s.Name][r].Options().Address, SecretRef: v1alpha1.SecretReference{Name: "admin"}})
		}
		rs := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: region, ServiceID: service, Stores: []v1alpha1.StoreSlice{s}}}
		d := plan.Merge([]v1alpha1.RegionalService{rs}, region)[s.Name]
		out[s.Name] = storekeeper.Target{Declared: d, Version: "1", Options: nodes[s.Name][region].Options()}
	}
	return out
}

// fencesOfAll has every store fenced for one service.
func fencesOfAll(owner string) map[string]map[string]storage.Fences {
	out := map[string]map[string]storage.Fences{}
	for n := range stores {
		name := fmt.Sprintf("shop/%d", n)
		out[storeName(n)] = map[string]storage.Fences{name: fences(name, owner)}
	}
	return out
}

// fences gives all sets of a service to an owner.
func fences(service, owner string) storage.Fences {
	f := storage.Fences{Service: service, Slots: make([]uint16, ownership.SlotCount)}
	for slot := range f.Slots {
		f.Slots[slot] = uint16(slot % sets)
	}
	for set := range sets {
		f.Fences = append(f.Fences, storage.Fence{Set: set, Owner: owner, Epoch: 1})
	}
	return f
}
