package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"
)

// SetWritable stops applications and lets replication go on; what had begun ends or is refused.
func (w World) testWritable(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	target := s.servers[regions[1]]
	if !w.Mesh {
		target = s.servers[regions[0]]
	}
	name := regions[1]
	if !w.Mesh {
		name = regions[0]
	}
	s.must(target.SetWritable(t.Context(), true))
	var begun *sql.Tx
	if db := s.nodes[name].Application(); db != nil {
		var err error
		begun, err = db.BeginTx(t.Context(), nil)
		s.must(err)
		_, err = begun.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO %s (id, value) VALUES (7, 'begun')", w.Table))
		s.must(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- target.SetWritable(t.Context(), false) }()
	var committed bool
	select {
	case err := <-stopped:
		s.must(err)
		// It did not wait, so what had begun is refused.
		if begun != nil && begun.Commit() == nil {
			t.Error("a transaction was committed after SetWritable(false) had returned")
		}
	case <-time.After(2 * time.Second):
		committed = begun != nil && begun.Commit() == nil
		s.must(<-stopped)
	}
	if err := s.nodes[name].Put(t.Context(), 8, "refused"); err == nil {
		t.Error("a server that is not writable accepted a write")
	}
	if s.observe(name).Writable {
		t.Error("Writable is true after SetWritable(false)")
	}
	want := map[int64]string{}
	if committed {
		want[7] = "begun"
	}
	if w.Mesh {
		s.put(regions[0], 9, "replicated")
		want[9] = "replicated"
	}
	s.arrive(name, want)
	for range 2 {
		s.must(target.SetWritable(t.Context(), true))
	}
	s.put(name, 10, "again")
	want[10] = "again"
	s.arriveEverywhere(want)
}

// guarded begins a transaction of an application, and returns what its guard says.
func (s *set) guarded(ctx context.Context, name string, slot int) (tx *sql.Tx, owner string, epoch int64, leased bool, err error) {
	tx, err = s.nodes[name].Application().BeginTx(ctx, nil)
	if err != nil {
		return nil, "", 0, false, err
	}
	err = tx.QueryRowContext(ctx, s.Guard, service, slot).Scan(&owner, &epoch, &leased)
	if err != nil {
		_ = tx.Rollback()
	}
	return tx, owner, epoch, leased, err
}

// says runs the guard and compares what it says with what is wanted.
func (s *set) says(name string, slot int, owner string, epoch int64, leased bool) {
	s.t.Helper()
	tx, gotOwner, gotEpoch, gotLeased, err := s.guarded(s.t.Context(), name, slot)
	s.must(err)
	_ = tx.Rollback()
	if gotOwner != owner || gotEpoch != epoch || gotLeased != leased {
		s.t.Errorf("slot %d: the guard says %q since %d, leased %t; want %q since %d, leased %t",
			slot, gotOwner, gotEpoch, gotLeased, owner, epoch, leased)
	}
}

// Applications see fence and lease; a fence that is taken away waits for those who hold it.
func (w World) testGuard(t *testing.T) {
	t.Parallel()
	if !w.Fences {
		t.Skip("the engine has no fences")
	}
	mine := regions[0]
	s := w.start(t, mine, mine)
	s.prepare(mine)
	server := s.servers[mine]
	if _, _, _, _, err := s.guarded(t.Context(), mine, 0); err == nil {
		t.Error("the guard answers for a service that has no fences")
	}
	s.must(server.SetFences(t.Context(), fencesOf(1, mine, regions[1])))
	s.says(mine, 0, mine, 1, false)
	s.must(server.Lease(t.Context(), mine, time.Hour))
	s.says(mine, 0, mine, 1, true)
	s.says(mine, 1, regions[1], 1, false)
	s.must(server.Lease(t.Context(), mine, 0))
	s.says(mine, 0, mine, 1, false)
	s.must(server.Lease(t.Context(), mine, 700*time.Millisecond))
	s.says(mine, 0, mine, 1, true)
	s.eventually(func() error {
		tx, _, _, leased, err := s.guarded(t.Context(), mine, 0)
		if err != nil {
			return err
		}
		_ = tx.Rollback()
		if leased {
			return fmt.Errorf("the lease is valid still")
		}
		return nil
	})
	s.must(server.Lease(t.Context(), mine, time.Hour))
	s.fenceWaits(mine)
}

// fenceWaits tests a fence that is taken away while a transaction holds it.
func (s *set) fenceWaits(mine string) {
	s.t.Helper()
	ctx := s.t.Context()
	tx, owner, _, leased, err := s.guarded(ctx, mine, 0)
	s.must(err)
	if owner != mine || !leased {
		s.t.Fatalf("the guard says %q, leased %t, want %q, true", owner, leased, mine)
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (id, value) VALUES (1, 'held')", s.Table))
	s.must(err)
	// Others may go on meanwhile, and the lease is renewed.
	s.says(mine, 2, mine, 1, true)
	s.must(s.servers[mine].Lease(ctx, mine, time.Hour))
	taken := make(chan error, 1)
	go func() { taken <- s.servers[mine].SetFences(ctx, fencesOf(2, "", regions[1])) }()
	select {
	case err := <-taken:
		s.t.Fatalf("the fence was taken away (%v) while a transaction holds it", err)
	case <-time.After(500 * time.Millisecond):
	}
	// Whoever asks now waits, or sees what it was; it never sees that and commits after the fence.
	s.must(tx.Commit())
	s.must(<-taken)
	s.says(mine, 0, "", 2, false)
	// Nobody holds it: it is quick, in some round on a machine that does much else.
	quickest := time.Hour
	for round := 0; round < 4 || (quickest > 100*time.Millisecond && round < 100); round += 2 {
		for i, owner := range []string{"", mine} {
			began := time.Now()
			s.must(s.servers[mine].SetFences(ctx, fencesOf(int64(3+round+i), owner, regions[1])))
			quickest = min(quickest, time.Since(began))
		}
	}
	if quickest > 100*time.Millisecond {
		s.t.Errorf("a fence that nobody holds took %s, want 100 ms", quickest)
	}
	// One that is held for long is an error after Timeout, and nothing has changed.
	tx, owner, _, _, err = s.guarded(ctx, mine, 0)
	s.must(err)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	err = s.servers[mine].SetFences(short, fencesOf(1000, "thief", regions[1]))
	if err == nil || strings.Contains(err.Error(), "changed") {
		s.t.Errorf("a fence that is held: got error %v, want one of time", err)
	}
	s.must(tx.Rollback())
	s.eventually(func() error { return s.servers[mine].SetFences(ctx, fencesOf(1001, owner, regions[1])) })
	s.says(mine, 0, owner, 1001, true)
}
