package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// writer writes rows to a server until it is ended, and keeps what was acknowledged.
type writer struct {
	cancel       context.CancelFunc
	wait         sync.WaitGroup
	mu           sync.Mutex
	acknowledged map[int64]string
	attempted    map[int64]string
	count        atomic.Int64
}

// write begins at an id, one row after the other; an error costs the id.
func (s *set) write(name string, from int64) *writer {
	ctx, cancel := context.WithCancel(s.t.Context())
	w := &writer{cancel: cancel, acknowledged: map[int64]string{}, attempted: map[int64]string{}}
	w.wait.Go(func() {
		for id := from; ctx.Err() == nil; id++ {
			value := fmt.Sprintf("%s %d", name, id)
			w.mu.Lock()
			w.attempted[id] = value
			w.mu.Unlock()
			one, done := context.WithTimeout(ctx, 2*time.Second)
			err := s.nodes[name].Put(one, id, value)
			done()
			if err != nil {
				continue
			}
			w.mu.Lock()
			w.acknowledged[id] = value
			w.mu.Unlock()
			w.count.Add(1)
		}
	})
	s.t.Cleanup(w.end)
	return w
}

func (w *writer) end() {
	w.cancel()
	w.wait.Wait()
}

// reach waits until so many more rows have been acknowledged.
func (s *set) reach(w *writer, more int64) {
	s.t.Helper()
	goal := w.count.Load() + more
	s.eventually(func() error {
		if got := w.count.Load(); got < goal {
			return fmt.Errorf("%d rows were acknowledged, want %d", got, goal)
		}
		return nil
	})
}

// settle waits until all servers have the same rows: all that were acknowledged, and none that nobody wrote.
func (s *set) settle(writers ...*writer) {
	s.t.Helper()
	for _, w := range writers {
		w.end()
	}
	s.eventually(func() error {
		all := map[string]map[int64]string{}
		for _, name := range s.names {
			rows, err := s.nodes[name].Rows(s.t.Context())
			if err != nil {
				return err
			}
			all[name] = rows
		}
		for _, name := range s.names {
			if err := written(name, all[name], all[s.names[0]], writers); err != nil {
				return err
			}
		}
		return nil
	})
}

// written compares rows with those of another server and with what was written.
func written(name string, rows, others map[int64]string, writers []*writer) error {
	var all []error
	known := map[int64]string{}
	for _, w := range writers {
		maps.Copy(known, w.attempted)
		for id, value := range w.acknowledged {
			if rows[id] != value {
				all = append(all, fmt.Errorf("%s lacks row %d, which was acknowledged", name, id))
			}
		}
	}
	for id, value := range rows {
		if known[id] != value {
			all = append(all, fmt.Errorf("%s has row %d with %q, which nobody wrote", name, id, value))
		}
		if others[id] != value {
			all = append(all, fmt.Errorf("%s has row %d, and another server has not", name, id))
		}
	}
	if len(rows) != len(others) {
		all = append(all, fmt.Errorf("%s has %d rows, and another server has %d", name, len(rows), len(others)))
	}
	return errors.Join(all[:min(3, len(all))]...)
}

// pair is two servers that are linked, and where the first writes.
func (w World) pair(t *testing.T) *set {
	t.Helper()
	return w.connected(t, w.first(), regions[:2]...)
}

// Links go on by themselves after a source, or a target, was stopped or killed while rows came.
func (w World) testCrashes(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	rows := s.write(regions[0], 1)
	s.reach(rows, 50)
	for _, victim := range []string{regions[0], regions[1]} {
		for way, end := range map[string]func() error{
			"killed": s.nodes[victim].Kill, "stopped": func() error { return s.nodes[victim].Stop(t.Context()) },
		} {
			if err := end(); err != nil {
				t.Fatalf("%s is to be %s: %v", victim, way, err)
			}
			s.must(s.nodes[victim].Start(t.Context()))
			s.reach(rows, 50)
		}
	}
	s.settle(rows)
	s.sees(regions[1], runs(regions[0]))
}

// A link that is paused keeps its position and goes on from there.
func (w World) testPause(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	s.put(regions[0], 1, "before")
	s.arrive(regions[1], rowsOf(1, 1, "before"))
	for range 2 {
		s.must(s.servers[regions[1]].Pause(t.Context(), regions[0]))
	}
	s.sees(regions[1], func(seen storage.Observation) error {
		if link := seen.Links[regions[0]]; !link.Stopped || link.Fault != nil || link.Applying {
			return fmt.Errorf("link is %+v, want it stopped, without a fault", link)
		}
		return nil
	})
	s.put(regions[0], 2, "while")
	s.reopen(regions[1])
	s.connect(regions[1])
	s.arrive(regions[1], joined(rowsOf(1, 1, "before"), rowsOf(2, 2, "while")))
	for range 2 {
		s.must(s.servers[regions[1]].Disconnect(t.Context(), s.want(regions[1]), regions[0]))
	}
	if links := s.observe(regions[1]).Links; len(links) != 0 {
		t.Errorf("links are %v after the only one was removed", links)
	}
	s.must(s.servers[regions[1]].Pause(t.Context(), regions[0]))
	s.put(regions[0], 3, "after")
	if s.Forgets {
		want, needed := s.want(regions[1]), &store.BootstrapError{}
		if err := s.servers[regions[1]].Connect(t.Context(), want, want.Sources[0]); !errors.As(err, &needed) || len(needed.Commands) == 0 {
			t.Errorf("connecting again: got error %v, want a BootstrapError with commands", err)
		}
		return
	}
	s.connect(regions[1])
	s.arrive(regions[1], joined(rowsOf(1, 1, "before"), rowsOf(2, 2, "while"), rowsOf(3, 3, "after")))
}

// A source that has another address is followed, and a link that somebody pointed elsewhere is repaired.
func (w World) testMove(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	before := s.nodes[regions[0]].Options().Address
	s.must(s.nodes[regions[0]].Stop(t.Context()))
	s.must(s.nodes[regions[0]].Move())
	s.must(s.nodes[regions[0]].Start(t.Context()))
	s.put(regions[0], 1, "moved")
	if got := s.observe(regions[1]).Links[regions[0]].Address; got != before {
		t.Errorf("link has address %s, want %s, the one before", got, before)
	}
	s.connect(regions[1])
	s.arrive(regions[1], rowsOf(1, 1, "moved"))
	if got, want := s.observe(regions[1]).Links[regions[0]].Address, s.source(regions[0]).Address; got != want {
		t.Errorf("link has address %s, want %s", got, want)
	}
	if s.Point == nil {
		return
	}
	s.must(s.Point(t.Context(), s.nodes[regions[1]], regions[0], "127.0.0.1:1"))
	if got := s.observe(regions[1]).Links[regions[0]].Address; got != "127.0.0.1:1" {
		t.Errorf("link has address %s, want the one that it was pointed to", got)
	}
	s.put(regions[0], 2, "back")
	s.connect(regions[1])
	s.arrive(regions[1], joined(rowsOf(1, 1, "moved"), rowsOf(2, 2, "back")))
}

// A server that hangs holds nobody up beyond Timeout, or the context.
func (w World) testFrozen(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	o := s.nodes[regions[0]].Options()
	o.Timeout = time.Second
	server, err := s.Open(o)
	s.must(err)
	defer func() { _ = server.Close() }()
	want := s.want(regions[0])
	s.eventually(func() error { _, err := server.Observe(t.Context(), want); return err })
	s.must(s.nodes[regions[0]].Freeze())
	methods := map[string]func(context.Context) error{
		"Observe":     func(ctx context.Context) error { _, err := server.Observe(ctx, want); return err },
		"Prepare":     func(ctx context.Context) error { return server.Prepare(ctx, want) },
		"Connect":     func(ctx context.Context) error { return server.Connect(ctx, want, s.source(regions[1])) },
		"Pause":       func(ctx context.Context) error { return server.Pause(ctx, regions[1]) },
		"Disconnect":  func(ctx context.Context) error { return server.Disconnect(ctx, want, regions[1]) },
		"Positions":   func(ctx context.Context) error { _, err := server.Positions(ctx, want); return err },
		"SetWritable": func(ctx context.Context) error { return server.SetWritable(ctx, true) },
		"Beat": func(ctx context.Context) error {
			_, err := server.Beat(ctx, storage.Canary{Region: regions[0], Sequence: 1, Time: time.Unix(1, 0)})
			return err
		},
	}
	if w.Fences {
		methods["SetFences"] = func(ctx context.Context) error { return server.SetFences(ctx, fencesOf(1, regions[0])) }
		methods["Lease"] = func(ctx context.Context) error { return server.Lease(ctx, regions[0], time.Second) }
	}
	var all sync.WaitGroup
	for name, method := range methods {
		all.Go(func() {
			began := time.Now()
			if err := method(t.Context()); err == nil {
				t.Errorf("%s of a frozen server succeeded", name)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s took %s with a timeout of 1 s", name, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			began = time.Now()
			if err := method(ctx); err == nil {
				t.Errorf("%s of a frozen server succeeded", name)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s took %s with a context of 100 ms", name, took)
			}
		})
	}
	all.Wait()
	s.must(s.nodes[regions[0]].Continue())
	s.eventually(func() error { _, err := server.Observe(t.Context(), want); return err })
}

// A server that cannot be reached is an error that says so, and names no password.
func (w World) testUnreachable(t *testing.T) {
	t.Parallel()
	o := store.Options{
		Address: "127.0.0.1:1", Admin: store.Credentials{User: "u", Password: "top-secret"},
		Replication: store.Credentials{User: "r", Password: "top-secret"}, Timeout: time.Second,
	}
	server, err := w.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	_, err = server.Observe(t.Context(), storage.Want{Region: "r", Regions: []string{"r"}})
	var refused *store.CredentialsError
	if err == nil || errors.As(err, &refused) {
		t.Errorf("got error %v, want one that is not about credentials", err)
	}
	noSecret(t, err, "top-secret")
}
