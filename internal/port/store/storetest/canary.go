package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"multiactive.dev/operator/internal/storage"
)

// Canaries that did not arrive are counted, and numbers go on after a restart of the operator.
func (w World) testCanaries(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	from, to := regions[0], regions[1]
	for sequence := range int64(storage.KeptCanaries) * 2 {
		_, err := s.beat(from, sequence+1)
		s.must(err)
	}
	last := int64(storage.KeptCanaries) * 2
	s.eventually(func() error { return s.missing(to, from, last, 0) })
	s.must(s.nodes[to].LoseCanaries(t.Context(), from, last-10, last-8))
	s.eventually(func() error { return s.missing(to, from, last, 3) })
	// A restarted operator begins from 1: nobody takes that for an old canary.
	s.reopen(from)
	_, err := s.beat(from, 1)
	s.must(err)
	s.eventually(func() error { return s.missing(to, from, last+1, 3) })
	// What was lost is forgotten when it is not kept any more.
	for range storage.KeptCanaries * 2 {
		_, err := s.beat(from, 1)
		s.must(err)
		if _, err := s.beat(to, 1); err != nil {
			s.must(err)
		}
	}
	s.eventually(func() error { return s.missing(to, from, last+1+2*storage.KeptCanaries, 0) })
}

func (s *set) missing(at, from string, sequence, want int64) error {
	others, err := s.beat(at, 1)
	if err != nil {
		return err
	}
	if got := others[from]; got.Sequence != sequence || got.Missing != want {
		return fmt.Errorf("%s sees %+v, want number %d with %d missing", at, got, sequence, want)
	}
	return nil
}

// A canary table that was lost is made again and stops no link.
func (w World) testForgotten(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	from, to := regions[0], regions[1]
	s.beatAll(1)
	s.eventually(func() error { return s.canariesAt(to, 1) })
	s.must(s.servers[to].Pause(t.Context(), from))
	s.must(s.nodes[to].Forget(t.Context()))
	s.prepare(to)
	s.connect(to)
	s.beatAll(2)
	s.put(from, 1, "one")
	s.arrive(to, rowsOf(1, 1, "one"))
	s.eventually(func() error { return s.canariesAt(to, 2) })
	s.sees(to, runs(from))
}

// A server that has a source's position has the source's rows, whichever way they came.
func (w World) testPositions(t *testing.T) {
	t.Parallel()
	names := regions[:2]
	if w.Mesh {
		names = regions
	}
	s := w.connected(t, w.first(), names...)
	from := regions[0]
	s.beatAll(1)
	for _, to := range names[1:] {
		s.eventually(func() error { return s.canariesAt(to, 1) })
	}
	before, more := int64(0), int64(0)
	for id := range int64(40) {
		for range rand.IntN(3) {
			more++
			s.put(from, 1000+more, "more")
		}
		s.put(from, id, "row")
		own, err := s.servers[from].Positions(t.Context(), s.want(from))
		s.must(err)
		if own[from] <= before {
			t.Errorf("the position of %s went from %d to %d with a row", from, before, own[from])
		}
		before = own[from]
		for _, to := range names[1:] {
			s.reached(to, from, before, id)
		}
	}
}

// reached waits until a region has a position of another, and looks for the row that was written before.
func (s *set) reached(to, from string, position, id int64) {
	s.t.Helper()
	s.eventually(func() error {
		at, err := s.servers[to].Positions(s.t.Context(), s.want(to))
		if err == nil && at[from] < position {
			err = fmt.Errorf("%s has %v, want %s at %d", to, at, from, position)
		}
		return err
	})
	rows, err := s.nodes[to].Rows(s.t.Context())
	s.must(err)
	if rows[id] != "row" {
		s.t.Fatalf("%s has position %d of %s and not row %d, which was written before", to, position, from, id)
	}
	if link := s.observe(to).Links[from]; link.Received != -1 && link.Received < position {
		s.t.Errorf("link has received %d, and %d is applied", link.Received, position)
	}
}
