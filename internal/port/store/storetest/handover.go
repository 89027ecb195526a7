package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// promote makes a region the primary of all others, whose links are set up anew.
func (s *set) promote(name string) {
	s.t.Helper()
	ctx := s.t.Context()
	before := s.primary
	s.primary = name
	for _, other := range s.names {
		if other != name {
			s.must(s.servers[other].SetWritable(ctx, false))
		}
	}
	s.must(s.servers[name].Disconnect(ctx, s.want(name), before))
	s.must(s.servers[name].SetWritable(ctx, true))
	for _, other := range s.names {
		s.prepare(other)
		s.connect(other)
	}
}

// Another region becomes the primary and the first one its replica, also when what they once replicated has been
// deleted since; and back again.
func (w World) testHandOver(t *testing.T) {
	t.Parallel()
	s := w.connected(t, regions[0], regions[:2]...)
	one, other := regions[0], regions[1]
	want := rowsOf(1, 5, "first")
	for id := range int64(5) {
		s.put(one, id+1, "first")
	}
	s.arriveEverywhere(want)
	s.beatAll(1)
	for _, name := range s.names {
		s.must(s.nodes[name].Purge(t.Context()))
	}
	s.promote(other)
	s.put(other, 6, "second")
	want = joined(want, rowsOf(6, 6, "second"))
	s.arriveEverywhere(want)
	s.beatAll(1)
	s.eventually(func() error { return s.canariesAt(one, 1) })
	s.sees(one, runs(other))
	s.positionsAgree()
	if err := s.nodes[one].Put(t.Context(), 7, "refused"); err == nil {
		t.Error("the former primary accepted a write")
	}
	for _, name := range s.names {
		s.must(s.nodes[name].Purge(t.Context()))
	}
	s.promote(one)
	s.put(one, 8, "third")
	s.arriveEverywhere(joined(want, rowsOf(8, 8, "third")))
	s.sees(other, runs(one))
}

// What only a primary has that was lost is told when it is back: how much, and in which tables.
func (w World) testErrant(t *testing.T) {
	t.Parallel()
	s := w.connected(t, regions[0], regions[:2]...)
	one, other := regions[0], regions[1]
	finder, ok := s.servers[one].(store.ErrantFinder)
	if !ok {
		t.Skip("the engine cannot tell")
	}
	s.put(one, 1, "shared")
	s.beatAll(1)
	s.eventually(func() error { return s.canariesAt(other, 1) })
	s.positionsAgree()
	elsewhere := func() int64 {
		t.Helper()
		at, err := s.servers[other].Positions(t.Context(), s.want(other))
		s.must(err)
		return at[one]
	}
	found, err := finder.Errant(t.Context(), s.want(one), elsewhere())
	s.must(err)
	if found.Transactions != 0 || !found.Complete {
		t.Errorf("found %+v where both servers have the same", found)
	}
	s.must(s.servers[other].Pause(t.Context(), one))
	for id := range int64(3) {
		s.put(one, 2+id, "nobody else's")
	}
	s.must(s.nodes[one].Kill())
	s.must(s.nodes[one].Start(t.Context()))
	position := elsewhere()
	asked, err := finder.Elsewhere(t.Context(), []storage.Source{s.source(other)})
	if err != nil || asked != position {
		t.Errorf("the other server says that it has up to %d (%v), want %d", asked, err, position)
	}
	found, err = finder.Errant(t.Context(), s.want(one), position)
	s.must(err)
	if found.Command == "" {
		t.Error("no command shows what was found")
	}
	found.Command = ""
	want := storage.Errant{First: position + 1, Last: position + 3, Transactions: 3, Tables: []string{w.Table}, Complete: true}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("what only %s has (-want +got):\n%s", one, diff)
	}
	s.connect(other)
	s.arriveEverywhere(joined(rowsOf(1, 1, "shared"), rowsOf(2, 4, "nobody else's")))
}
