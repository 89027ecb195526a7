package store_test

import (
	"strings"
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/storage"
)

func TestWritable(t *testing.T) {
	t.Parallel()
	settled, young := plan.Lease{Agreed: true, Held: true}, plan.Lease{Agreed: true, Held: true, Young: true}
	without := func(l plan.Lease) plan.Lease { l.Held = false; return l }
	unknown := func(l plan.Lease) plan.Lease { l.Agreed, l.Held = false, false; return l }
	link := func(received int64) storage.Observation {
		return storage.Observation{Positions: storage.Positions{"shanghai": 5}, Links: map[string]storage.Link{"shanghai": {Received: received}}}
	}
	takes := storage.Observation{Writable: true}
	for name, test := range map[string]struct {
		slice   func(*v1alpha1.StoreSlice)
		primary string
		o       storage.Observation
		lease   plan.Lease
		want    bool
		due     bool
		wait    string
	}{
		"the primary takes writes":                 {primary: here, o: takes, lease: settled, want: true},
		"a replica takes none":                     {primary: "shanghai", lease: settled},
		"a primary begins":                         {primary: here, lease: settled, want: true, due: true},
		"a primary begins, though all is young":    {primary: here, lease: young, want: true, due: true},
		"what was received is not applied":         {primary: here, o: link(6), lease: settled, want: true, due: true, wait: "received from shanghai"},
		"it still replicates":                      {primary: here, o: link(5), lease: settled, want: true, due: true, wait: "from nobody"},
		"a former primary":                         {primary: "shanghai", o: takes, lease: settled, due: true},
		"a former primary, though all is young":    {primary: "shanghai", o: takes, lease: young, due: true},
		"nobody's":                                 {primary: "", o: takes, lease: settled, due: true},
		"a primary without a lease":                {primary: here, o: takes, lease: without(settled), due: true},
		"a primary whose lease may be known soon":  {primary: here, o: takes, lease: without(young)},
		"a replica does not begin without a lease": {primary: here, lease: without(young)},
		"nothing is agreed on yet":                 {primary: "", o: takes, lease: unknown(young)},
		"nothing is agreed on for long":            {primary: "", o: takes, lease: unknown(settled), due: true},
		"a mesh":                                   {slice: func(s *v1alpha1.StoreSlice) { s.Topology.Type = v1alpha1.TopologyMesh }, lease: settled},
		"only watched": {slice: func(s *v1alpha1.StoreSlice) {
			s.Topology.Type, s.Management = v1alpha1.TopologyPrimaryReplica, v1alpha1.StoreObserved
		}, primary: "shanghai", o: takes, lease: settled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sliced(func(s *v1alpha1.StoreSlice) { s.Topology.Type = v1alpha1.TopologyPrimaryReplica })
			if test.slice != nil {
				test.slice(&s)
			}
			d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", s)}, here)["db"].Led(test.primary)
			want, due, wait := plan.Writable(d, test.o, test.lease)
			if due != test.due || due && want != test.want || (wait == "") != (test.wait == "") || !strings.Contains(wait, test.wait) {
				t.Errorf("want %t, due %t, wait %q", want, due, wait)
			}
		})
	}
}
