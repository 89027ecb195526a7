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
				if err := s.nodes[name].Put(ctx, 10_000*int64(i+1)+n, "value"); err != nil && ctx.Err() == nil {
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
		found, err := s.check(regions[1], regions[0]).Tables(ctx, []string{s.Table})
		s.must(err)
		return found
	}
	s.beatAll(1)
	// Canaries tell what servers count by.
	s.eventually(func() error {
		have, err := s.servers[regions[1]].Positions(t.Context(), s.want(regions[1]))
		if err == nil && have[regions[0]] == 0 {
			err = fmt.Errorf("positions are %v, want one of %s", have, regions[0])
		}
		return err
	})
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
