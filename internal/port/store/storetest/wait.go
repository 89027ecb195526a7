package storetest

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

func (s *set) eventually(check func() error) {
	s.t.Helper()
	testkit.Eventually(s.t, s.Patience, check)
}

// put writes a row and must succeed.
func (s *set) put(name string, id int64, value string) {
	s.t.Helper()
	s.must(s.nodes[name].Put(s.t.Context(), id, value))
}

// arrive waits until a server has exactly these rows.
func (s *set) arrive(name string, want map[int64]string) {
	s.t.Helper()
	s.eventually(func() error {
		got, err := s.nodes[name].Rows(s.t.Context())
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("rows at %s (-want +got):\n%s", name, diff)
		}
		return nil
	})
}

// arriveEverywhere waits until all servers have exactly these rows.
func (s *set) arriveEverywhere(want map[int64]string) {
	s.t.Helper()
	for _, name := range s.names {
		s.arrive(name, want)
	}
}

// sees waits until an observation of a region is as check wants it.
func (s *set) sees(name string, check func(storage.Observation) error) {
	s.t.Helper()
	s.eventually(func() error {
		seen, err := s.servers[name].Observe(s.t.Context(), s.want(name))
		if err != nil {
			return err
		}
		return check(seen)
	})
}

// runs tells whether a link receives and applies.
func runs(from string) func(storage.Observation) error {
	return func(seen storage.Observation) error {
		link, ok := seen.Links[from]
		switch {
		case !ok:
			return fmt.Errorf("there is no link from %s", from)
		case link.Fault != nil:
			return fmt.Errorf("link from %s: %+v", from, *link.Fault)
		case !link.Receiving || !link.Applying || link.Stopped:
			return fmt.Errorf("link from %s does not run: %+v", from, link)
		}
		return nil
	}
}

// fails tells whether a link has a fault of a kind, with all that a person needs.
func fails(from string, kind storage.FaultKind) func(storage.Observation) error {
	return func(seen storage.Observation) error {
		fault := seen.Links[from].Fault
		switch {
		case fault == nil:
			return fmt.Errorf("link from %s has no fault: %+v", from, seen.Links[from])
		case fault.Kind != kind:
			return fmt.Errorf("link from %s has the fault %+v, want one of kind %s", from, *fault, kind)
		case fault.Message == "" || fault.Remedy == "" || len(fault.Message) > 512:
			return fmt.Errorf("fault %+v has no message, a message that is too long, or no remedy", *fault)
		}
		return nil
	}
}

// beat writes a region's canary and returns those of others by region.
func (s *set) beat(name string, sequence int64) (map[string]storage.Canary, error) {
	mine := storage.Canary{Region: name, Sequence: sequence, Time: time.Unix(1_700_000_000+sequence, 0).UTC()}
	others, err := s.servers[name].Beat(s.t.Context(), mine)
	found := map[string]storage.Canary{}
	for _, one := range others {
		if _, twice := found[one.Region]; twice {
			err = errors.Join(err, fmt.Errorf("canary of %s came twice: %v", one.Region, others))
		}
		found[one.Region] = one
	}
	return found, err
}

// beatAll writes the canary of every region that is writable.
func (s *set) beatAll(sequence int64) {
	s.t.Helper()
	for _, name := range s.names {
		_, err := s.beat(name, sequence)
		s.must(err)
	}
}

func rowsOf(from, to int64, value string) map[int64]string {
	rows := map[int64]string{}
	for id := from; id <= to; id++ {
		rows[id] = value
	}
	return rows
}

func joined(all ...map[int64]string) map[int64]string {
	rows := map[int64]string{}
	for _, one := range all {
		maps.Copy(rows, one)
	}
	return rows
}
