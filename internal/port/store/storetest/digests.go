package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/storage"
)

// Servers with the same rows have the same digests, and a row that differs shows in its part alone.
func (w World) testDigests(t *testing.T) {
	t.Parallel()
	if !w.Digests {
		t.Skip("the engine has no digests")
	}
	s := w.start(t, w.first(), regions[:2]...)
	const rows, part = 60, 10
	for _, name := range s.names {
		// Not linked: each gets its rows in an order of its own.
		for _, i := range rand.Perm(rows) {
			s.must(s.nodes[name].PutHere(t.Context(), int64(i*3), fmt.Sprintf("'value\\\" é %d", i)))
		}
	}
	one, other := s.digests(regions[0], nil), []storage.Digest(nil)
	compare := func(what string, differ ...int) {
		t.Helper()
		other = s.digests(regions[1], one)
		if len(other) != len(one) {
			t.Fatalf("%s: %d parts, want %d", what, len(other), len(one))
		}
		var got []int
		for i := range one {
			if one[i] != other[i] {
				got = append(got, i)
			}
		}
		if diff := cmp.Diff(differ, got); diff != "" {
			t.Errorf("%s: parts that differ (-want +got):\n%s", what, diff)
		}
	}
	var count int64
	for _, digest := range one {
		count += digest.Rows
	}
	if count != rows || len(one) < rows/part {
		t.Fatalf("%d rows in %d parts, want %d in parts of at most %d", count, len(one), rows, part)
	}
	compare("the same rows")
	last := len(one) - 1
	for what, change := range map[string]struct {
		id   int64
		part int
	}{"before all": {-5, 0}, "within": {31, 1}, "after all": {100_000, last}} {
		s.must(s.nodes[regions[1]].PutHere(t.Context(), change.id, "more"))
		compare("a row "+what, change.part)
		s.must(s.nodes[regions[1]].Undo(t.Context(), change.id))
		compare("the same rows again, after a row " + what)
	}
	s.must(s.nodes[regions[1]].PutHere(t.Context(), 31, "more"))
	some, err := s.servers[regions[1]].Digests(t.Context(), s.Table, part, one, []int{1, last})
	s.must(err)
	for i := range one {
		want := storage.Digest{From: one[i].From, To: one[i].To}
		switch i {
		case 1:
			want = s.digests(regions[1], one)[1]
		case last:
			want = one[last]
		}
		if some[i] != want {
			t.Errorf("part %d of parts 1 and %d alone is %+v, want %+v", i, last, some[i], want)
		}
	}
	s.must(s.nodes[regions[1]].Undo(t.Context(), 31))
	s.must(s.nodes[regions[1]].Undo(t.Context(), 0))
	s.must(s.nodes[regions[1]].PutHere(t.Context(), 0, "another value"))
	compare("another value", 0)
	for id := range int64(rows) {
		s.must(s.nodes[regions[0]].Undo(t.Context(), id*3))
	}
	empty := s.digests(regions[0], nil)
	if len(empty) != 1 || empty[0].Rows != 0 {
		t.Errorf("an empty table has the digests %+v, want one of no rows", empty)
	}
	if got := s.digests(regions[1], empty); len(got) != 1 || got[0].Rows != rows {
		t.Errorf("a server with rows has the digests %+v with the bounds of an empty table, want one of all rows", got)
	}
	if _, err := s.servers[regions[0]].Digests(t.Context(), "no.table", 10, nil, nil); err == nil {
		t.Error("digests of a table that does not exist succeeded")
	}
}

func (s *set) digests(name string, bounds []storage.Digest) []storage.Digest {
	s.t.Helper()
	digests, err := s.servers[name].Digests(s.t.Context(), s.Table, 10, bounds, nil)
	s.must(err)
	return digests
}
