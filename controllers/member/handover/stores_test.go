package handover_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/storage"
)

const storeName = "users-db"

// servers stands for the keepers of the region's servers.
type servers struct {
	positions storage.Positions
	err       error
	look      store.Look
	fenced    bool
	asked     int
}

func (s *servers) Positions(context.Context, string) (storage.Positions, error) {
	s.asked++
	return s.positions, s.err
}
func (s *servers) Look(string) store.Look { return s.look }
func (s *servers) Fenced(_ ownership.Configuration, stores []string) bool {
	return s.fenced && slices.Equal(stores, []string{storeName})
}

// stored is a service whose data is in a store alone, as uid says.
func stored(uid string) v1alpha1.RegionalService {
	rs := service()
	rs.Name, rs.Spec.ServiceID, rs.Spec.Kafka, rs.Spec.Topics = uid, uid, nil, nil
	rs.Spec.Stores = []v1alpha1.StoreSlice{{Name: storeName, Endpoints: []v1alpha1.StoreEndpoint{{Region: here}, {Region: there}}}}
	return rs
}

func TestStoresVector(t *testing.T) {
	s := &servers{positions: storage.Positions{here: 7, there: 5}}
	r := region(&cluster{services: []v1alpha1.RegionalService{stored("u-1"), stored("u-2")}})
	r.Stores = s
	v, err := r.Vector(t.Context())
	want := ownership.Vector{here: {"store/users-db": 7}, there: {"store/users-db": 5}}
	if diff := cmp.Diff(want, v); err != nil || diff != "" {
		t.Errorf("vector (-want +got), %v:\n%s", err, diff)
	}
	if s.asked != 1 {
		t.Errorf("the server was asked %d times for two services that share it", s.asked)
	}
	s.err = errors.New("no answer")
	if _, err := r.Vector(t.Context()); err == nil {
		t.Error("what the region has is told though a server cannot be asked")
	}
}

func TestStoresCaughtUp(t *testing.T) {
	target := ownership.Vector{there: {"store/users-db": 5}, here: {"store/users-db": 100}}
	for name, test := range map[string]struct {
		servers servers
		lost    []string
		stuck   bool
	}{
		"all is there":               {servers: servers{positions: storage.Positions{there: 5}}},
		"something is missing":       {servers: servers{positions: storage.Positions{there: 4}}, stuck: true},
		"the server does not answer": {servers: servers{err: errors.New("no answer")}, stuck: true},
		"a lost one's is applied": {lost: []string{there}, servers: servers{positions: storage.Positions{there: 5},
			look: store.Look{Observation: storage.Observation{Links: map[string]storage.Link{there: {Received: 5}}}}}},
		"a lost one's is received and not applied": {lost: []string{there}, stuck: true, servers: servers{positions: storage.Positions{there: 5},
			look: store.Look{Observation: storage.Observation{Links: map[string]storage.Link{there: {Received: 6}}}}}},
		"what a lost one's link received is not told": {lost: []string{there}, servers: servers{positions: storage.Positions{there: 5},
			look: store.Look{Observation: storage.Observation{Links: map[string]storage.Link{there: {Received: -1}}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			other := service()
			other.Spec.ServiceID, other.Spec.Kafka, other.Spec.Topics = "other", nil, nil
			r := region(&cluster{services: []v1alpha1.RegionalService{stored(uid), other}})
			r.Stores = &test.servers
			want := []string(nil)
			if test.stuck {
				want = []string{uid}
			}
			if diff := cmp.Diff(want, stuck(t, r, target, test.lost...)); diff != "" {
				t.Errorf("stuck (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoresStopped(t *testing.T) {
	for name, test := range map[string]struct {
		services []v1alpha1.RegionalService
		fenced   bool
		want     bool
	}{
		"nobody has a store": {[]v1alpha1.RegionalService{service()}, false, true},
		"fenced":             {[]v1alpha1.RegionalService{stored("u-1"), stored("u-2")}, true, true},
		"not fenced":         {[]v1alpha1.RegionalService{stored("u-1")}, false, false},
	} {
		r := region(&cluster{services: test.services})
		r.Stores = &servers{fenced: test.fenced}
		if got, err := r.Stopped(t.Context(), ownership.Configuration{}); err != nil || got != test.want {
			t.Errorf("%s: stopped %t, %v; want %t", name, got, err, test.want)
		}
	}
}

func TestStoresLagging(t *testing.T) {
	open := ownership.Configuration{Gates: map[string]ownership.Gate{there: {Open: true}}}
	paused := regional.StoreLink(&v1alpha1.StoreSlice{Name: storeName}, there, here)
	paused.Annotations[regional.AnnotationPaused] = "maintenance"
	known := store.Look{Known: true, Sources: []string{there}}
	aged := func(age time.Duration) store.Look {
		l := known
		l.Links = map[string]store.LinkLook{there: {Known: true, Age: age}}
		return l
	}
	compared := func(epoch int64) store.Look {
		l := aged(time.Second)
		l.Links[there] = store.LinkLook{Known: true, Age: time.Second, Compared: &store.Compared{Return: epoch, Done: true}}
		return l
	}
	for name, test := range map[string]struct {
		servers servers
		links   []v1alpha1.ReplicationLink
		// returned is the epoch of the region's return, 0 while it serves.
		returned int64
		want     []string
	}{
		"back, and not compared":           {servers: servers{look: aged(time.Second)}, returned: 7, want: []string{uid}},
		"back, and compared":               {servers: servers{look: compared(7)}, returned: 7},
		"back, and compared the last time": {servers: servers{look: compared(6)}, returned: 7, want: []string{uid}},
		"near":                             {servers: servers{look: aged(time.Second)}},
		"far":                              {servers: servers{look: aged(time.Minute)}, want: []string{uid}},
		"not measured":                     {servers: servers{look: known}, want: []string{uid}},
		"not looked at":                    {want: []string{uid}},
		"the one written to":               {servers: servers{look: store.Look{Known: true}}},
		"paused": {servers: servers{look: aged(time.Second)},
			links: []v1alpha1.ReplicationLink{*paused}, want: []string{uid}},
	} {
		t.Run(name, func(t *testing.T) {
			r := region(&cluster{services: []v1alpha1.RegionalService{stored(uid)}, links: test.links})
			r.Stores = &test.servers
			c := open
			if test.returned > 0 {
				c.View.Regions = map[string]ownership.RegionRecord{here: {State: ownership.RegionReturning, ReturnedEpoch: test.returned}}
			}
			r.Snapshot = func() (ownership.Configuration, bool) { return c, true }
			if diff := cmp.Diff(test.want, r.Lagging(t.Context())); diff != "" {
				t.Errorf("lagging (-want +got):\n%s", diff)
			}
		})
	}
}
