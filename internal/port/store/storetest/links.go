package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/storage"
)

// first is the primary where the engine can do no better.
func (w World) first() string {
	if w.Mesh {
		return ""
	}
	return regions[0]
}

// Preparing twice changes nothing, and what somebody removed is made again.
func (w World) testPrepare(t *testing.T) {
	t.Parallel()
	s := w.start(t, regions[0], regions[0])
	if seen := s.observe(regions[0]); seen.Prepared || seen.Version == "" {
		t.Errorf("a bare server is observed as %+v, want a version, and Prepared false", seen)
	}
	for range 2 {
		s.prepare(regions[0])
		if seen := s.observe(regions[0]); !seen.Prepared || len(seen.Links) != 0 {
			t.Errorf("observed as %+v, want Prepared and no links", seen)
		}
	}
	s.must(s.nodes[regions[0]].Forget(t.Context()))
	if s.observe(regions[0]).Prepared {
		t.Error("the schema is gone, and Prepared is true")
	}
	s.prepare(regions[0])
	if !s.observe(regions[0]).Prepared {
		t.Error("the schema was not made again")
	}
}

// Rows of all regions arrive everywhere, once; canaries and positions tell.
func (w World) testLinks(t *testing.T) {
	t.Parallel()
	if !w.Mesh {
		t.Skip("the engine has no mesh")
	}
	s := w.connected(t, "", regions...)
	want := map[int64]string{}
	for i, name := range s.names {
		s.put(name, int64(i+1), name)
		want[int64(i+1)] = name
	}
	s.arriveEverywhere(want)
	for sequence := range int64(3) {
		s.beatAll(sequence + 1)
	}
	for _, name := range s.names {
		s.eventually(func() error { return s.canariesAt(name, 3) })
		for _, other := range s.names {
			if other != name {
				s.sees(name, runs(other))
			}
		}
	}
	s.positionsAgree()
}

// canariesAt tells whether a region sees canary number sequence of all others that write.
func (s *set) canariesAt(name string, sequence int64) error {
	mine := storage.Canary{Region: name, Sequence: sequence, Time: time.Unix(1_700_000_000+sequence, 0).UTC()}
	others, err := s.servers[name].Beat(s.t.Context(), mine)
	if err != nil {
		return err
	}
	var want, got []string
	for _, other := range s.names {
		if other != name && (s.primary == "" || s.primary == other) {
			want = append(want, other)
		}
	}
	for _, one := range others {
		got = append(got, one.Region)
		if one.Missing != 0 || one.Sequence < sequence || !one.Time.Equal(time.Unix(1_700_000_000+min(one.Sequence, sequence), 0)) {
			return fmt.Errorf("%s sees %+v, want number %d or later and its time", name, one, sequence)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%s sees canaries of (-want +got):\n%s", name, diff)
	}
	return nil
}

// positionsAgree waits until every server has what every other had at the beginning.
func (s *set) positionsAgree() {
	s.t.Helper()
	own := storage.Positions{}
	for _, name := range s.names {
		at, err := s.servers[name].Positions(s.t.Context(), s.want(name))
		s.must(err)
		if _, there := at[name]; !there || (at[name] <= 0 && s.want(name).Writable) {
			s.t.Errorf("%s has positions %v, want its own above 0 where it is written to", name, at)
		}
		own[name] = at[name]
	}
	for _, name := range s.names {
		for _, other := range s.names {
			if s.primary != "" && s.primary != other {
				continue
			}
			s.eventually(func() error {
				at, err := s.servers[name].Positions(s.t.Context(), s.want(name))
				if err == nil && at[other] < own[other] {
					err = fmt.Errorf("%s has %v, want %s at %d", name, at, other, own[other])
				}
				return err
			})
		}
	}
}

// A replica has what the primary wrote, and is not written to.
func (w World) testReplica(t *testing.T) {
	t.Parallel()
	s := w.connected(t, regions[0], regions[:2]...)
	s.put(regions[0], 1, "primary")
	s.arriveEverywhere(rowsOf(1, 1, "primary"))
	if err := s.nodes[regions[1]].Put(t.Context(), 2, "replica"); err == nil {
		t.Error("a replica accepted a write of an application")
	}
	s.beatAll(1)
	s.eventually(func() error { return s.canariesAt(regions[1], 1) })
	if others, err := s.beat(regions[0], 2); err != nil || len(others) != 0 {
		t.Errorf("the primary sees canaries %v, error %v, want none: the replica must not write", others, err)
	}
	s.positionsAgree()
	if seen := s.observe(regions[1]); seen.Writable || len(seen.Links) != 1 {
		t.Errorf("the replica is observed as %+v, want one link, and not writable", seen)
	}
	if seen := s.observe(regions[0]); !seen.Writable || len(seen.Links) != 0 {
		t.Errorf("the primary is observed as %+v, want no link, and writable", seen)
	}
}
