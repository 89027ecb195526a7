package ownership_test

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
)

func TestChangedServices(t *testing.T) {
	t.Parallel()
	record := func(uid, hash string) ownership.ServiceRecord {
		return ownership.ServiceRecord{UID: uid, ServiceState: ownership.ServiceState{SpecHash: hash}, PeerKey: []byte(uid)}
	}
	type records = map[string]ownership.ServiceRecord
	one := records{"a": record("a", "1"), "b": record("b", "1")}
	for name, c := range map[string]struct {
		before, after records
		want          []ownership.ServiceRecord
	}{
		"the first":     {nil, records{"a": record("a", "1")}, []ownership.ServiceRecord{record("a", "1")}},
		"the same map":  {one, one, nil},
		"an equal map":  {one, records{"a": record("a", "1"), "b": record("b", "1")}, nil},
		"one is new":    {one, records{"a": record("a", "1"), "b": record("b", "1"), "c": record("c", "1")}, []ownership.ServiceRecord{record("c", "1")}},
		"one is other":  {one, records{"a": record("a", "1"), "b": record("b", "2")}, []ownership.ServiceRecord{record("b", "2")}},
		"one is gone":   {one, records{"b": record("b", "1")}, []ownership.ServiceRecord{record("a", "1")}},
		"all are gone":  {one, nil, []ownership.ServiceRecord{record("a", "1"), record("b", "1")}},
		"there is none": {nil, nil, nil},
	} {
		got := ownership.ChangedServices(c.before, c.after)
		slices.SortFunc(got, func(a, b ownership.ServiceRecord) int { return cmp.Compare(a.UID, b.UID) })
		if diff := gocmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestSameDecisions(t *testing.T) {
	t.Parallel()
	base := ownership.Configuration{Decided: 4, View: ownership.View{Epoch: 2}}
	for name, c := range map[string]struct {
		after ownership.Configuration
		want  bool
	}{
		"nothing was decided":   {ownership.Configuration{Decided: 4, Revision: 9, View: base.View}, true},
		"a service was decided": {ownership.Configuration{Decided: 5, View: base.View, Services: map[string]ownership.ServiceRecord{"a": {}}}, true},
		"another view":          {ownership.Configuration{Decided: 5, View: ownership.View{Epoch: 3}}, false},
		"another trust":         {ownership.Configuration{Decided: 5, View: base.View, Trusts: map[string]ownership.Trust{"a": {}}}, false},
	} {
		if got := ownership.SameDecisions(&base, &c.after); got != c.want {
			t.Errorf("%s: the same decisions: %t", name, got)
		}
	}
}
