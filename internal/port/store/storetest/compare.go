package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/rowcheck"
	"multiactive.dev/operator/internal/storage"
)

// Rows are compared by the user that servers replicate as, while all servers are written to: nothing that replication
// brings is told as a difference, and what it does not bring is.
func (w World) testCompare(t *testing.T) {
	t.Parallel()
	if !w.Digests {
		t.Skip("the engine has no digests")
	}
	s := w.connected(t, w.first(), regions[:2]...)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	for i, name := range s.names {
		if s.primary != "" && s.primary != name {
			continue
		}
		writers.Go(func() {
			for n := int64(0); ctx.Err() == nil; n++ {
				if err := s.nodes[name].Put(ctx, 10_000_000*int64(i+1)+n, "value"); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	compared := func() storage.Comparison {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), s.Patience)
		defer cancel()
		check, run := s.check(regions[1], regions[0]), rowcheck.Begin([]string{s.Table})
		check.Part = 50 // so that the first part is soon one that nobody writes to, however slow the machine is
		s.finish(ctx, check, run)
		return run.Found()
	}
	s.counted(regions[1], regions[0])
	for range 3 {
		if found := compared(); len(found.Differences) > 0 || found.Tables != 1 {
			t.Errorf("servers that replicate from each other compare as %+v, want no differences", found)
		}
	}
	s.must(s.nodes[regions[1]].PutHere(t.Context(), -7, "only here"))
	found := compared()
	if len(found.Differences) != 1 {
		t.Fatalf("a row that one server alone has compares as %+v, want one difference", found)
	}
	if d := found.Differences[0]; d.Table != s.Table || d.After != "" || d.Here != d.There+1 {
		t.Errorf("the difference is %+v, want one row more here, in the first part", d)
	}
}

// A comparison that was interrupted goes on where it was: what lies before that is not read again, and parts of the whole are all
// compared.
func (w World) testCompareGoesOn(t *testing.T) {
	t.Parallel()
	if !w.Digests {
		t.Skip("the engine has no digests")
	}
	s := w.connected(t, w.first(), regions[:2]...)
	s.counted(regions[1], regions[0])
	const rows = 25
	for id := range int64(rows) {
		s.put(regions[0], id, "value")
	}
	s.arrive(regions[1], rowsOf(0, rows-1, "value"))
	check := s.check(regions[1], regions[0])
	check.Part, check.Stretch = 2, 4
	run := rowcheck.Begin([]string{"no.table", s.Table})
	if _, err := check.Next(t.Context(), run); err == nil {
		t.Fatal("a table that does not exist was compared")
	}
	run = rowcheck.Begin([]string{s.Table})
	done, err := check.Next(t.Context(), run)
	s.must(err)
	if table, number, of := run.At(); done || table != s.Table || number != 1 || of != 1 || run.Found().Rows != 8 {
		t.Fatalf("after a stretch of 8 rows of %d it is done: %t, at table %s, %d of %d, with %+v", rows, done, table, number, of, run.Found())
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := check.Next(over, run); err == nil || run.Found().Rows != 8 {
		t.Errorf("interrupted, error %v, it has %+v, want what it had", err, run.Found())
	}
	s.must(s.nodes[regions[1]].PutHere(t.Context(), -7, "behind it"))
	s.must(s.nodes[regions[1]].PutHere(t.Context(), 1000, "before it"))
	s.finish(t.Context(), s.resumed(check), run)
	found := run.Found()
	if found.Tables != 1 || found.Rows != rows || len(found.Differences) != 1 {
		t.Fatalf("the comparison is %+v, want %d rows of one table and one difference", found, rows)
	}
	if d := found.Differences[0]; d.After == "" || d.UpTo != "" || d.Here != d.There+1 {
		t.Errorf("the difference is %+v, want one row more here, in the last part", d)
	}
}

// counted has canaries arrive, which tell what servers count by.
func (s *set) counted(here, there string) {
	s.t.Helper()
	s.beatAll(1)
	s.eventually(func() error {
		have, err := s.servers[here].Positions(s.t.Context(), s.want(here))
		if err == nil && have[there] == 0 {
			err = fmt.Errorf("positions are %v, want one of %s", have, there)
		}
		return err
	})
}

// finish goes on until all is compared.
func (s *set) finish(ctx context.Context, c rowcheck.Check, run *rowcheck.Run) {
	s.t.Helper()
	for {
		done, err := c.Next(ctx, run)
		s.must(err)
		if done {
			return
		}
	}
}

// resumed is the same check, over another connection to the other region.
func (s *set) resumed(c rowcheck.Check) rowcheck.Check {
	again := s.check(c.Here.Want.Region, c.There.Want.Region)
	again.Part, again.Stretch = c.Part, c.Stretch
	return again
}

// check compares the rows of one region with another's, as its member does.
func (s *set) check(here, there string) rowcheck.Check {
	s.t.Helper()
	o := s.nodes[here].Options()
	server, err := s.Open(store.Options{Address: s.nodes[there].Options().Address, Admin: o.Replication, Database: o.Database, Timeout: 10 * time.Second})
	s.must(err)
	s.t.Cleanup(func() { _ = server.Close() })
	return rowcheck.Check{
		Clock: clock.RealClock{},
		Here:  rowcheck.Side{Server: s.servers[here], Want: s.want(here)},
		There: rowcheck.Side{Server: server, Want: s.want(there)},
	}
}
