package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/storage"
)

const service = "5c2b9b0e-0c1d-4f5e-9a3c-1f6f1d2e3a4b"

// fencesOf make two sets of slots, of one owner each.
func fencesOf(epoch int64, owners ...string) storage.Fences {
	f := storage.Fences{Service: service, Slots: make([]uint16, 1024)}
	for slot := range f.Slots {
		f.Slots[slot] = uint16(slot % len(owners))
	}
	for i, owner := range owners {
		f.Fences = append(f.Fences, storage.Fence{Set: i, Owner: owner, Epoch: epoch})
	}
	return f
}

// Fences are on the server that they were written to, as they were written, and nowhere else.
func (w World) testFences(t *testing.T) {
	t.Parallel()
	if !w.Fences {
		t.Skip("the engine has no fences")
	}
	s := w.connected(t, w.first(), regions[:2]...)
	one := s.servers[regions[0]]
	for _, f := range []storage.Fences{
		fencesOf(1, regions[0], regions[1]), fencesOf(2, regions[0], ""), fencesOf(2, regions[0], ""), fencesOf(3, "", regions[0]),
		fencesOf(4, regions[1]), fencesOf(3, regions[0], "o'neill`\"\\"),
	} {
		s.must(one.SetFences(t.Context(), f))
		got, err := one.Fences(t.Context())
		s.must(err)
		want := []storage.Fences{{Service: service, Fences: f.Fences}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fences (-want +got):\n%s", diff)
		}
	}
	// What was written after the fences has arrived, and they have not.
	s.put(regions[0], 1, "after")
	s.arriveEverywhere(rowsOf(1, 1, "after"))
	if got, err := s.servers[regions[1]].Fences(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("the other region has fences %v, error %v, want none", got, err)
	}
	for range 2 {
		s.must(one.RemoveFences(t.Context(), service))
	}
	if got, err := one.Fences(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("there are fences %v, error %v after they were removed", got, err)
	}
}
