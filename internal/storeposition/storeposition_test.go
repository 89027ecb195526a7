package storeposition_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/storeposition"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

const namespace = "default"

// store is one that stands where a test says.
type store struct {
	coordination.Position
	refusal *coordination.OtherStoreError
}

func (s *store) Refusal() *coordination.OtherStoreError { return s.refusal }

func (s *store) Advance(p coordination.Position) { s.Revision = max(s.Revision, p.Revision) }

// at lets the field and the method have the same name.
type at struct{ *store }

func (a at) Position() coordination.Position { return a.store.Position }

type machine struct{ *clocktesting.FakeClock }

func (m machine) Boottime() time.Duration { return m.Since(time.Unix(0, 0)) }

func TestPositionIsKeptAndNeverLowered(t *testing.T) {
	c := startServer(t)
	load := func() coordination.Position {
		t.Helper()
		kept, err := storeposition.Load(t.Context(), c, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return kept.Position
	}
	if got := load(); got != (coordination.Position{}) {
		t.Errorf("without a Lease: %v, want nothing", got)
	}

	s := &store{}
	keeper := newKeeper(c, s, machine{clocktesting.NewFakeClock(time.Now())}, storeposition.Kept{})
	save := func(p coordination.Position) error {
		s.Position = p
		return keeper.Save(t.Context())
	}
	for _, step := range []struct {
		name       string
		save, want coordination.Position
	}{
		{"nothing seen yet", coordination.Position{}, coordination.Position{}},
		{"first", coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 7}, coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 7}},
		{"further", coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}, coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}},
		{"an older process", coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 8}, coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}},
	} {
		if err := save(step.save); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := load(); got != step.want {
			t.Errorf("%s: kept %v, want %v", step.name, got, step.want)
		}
	}

	if err := save(coordination.Position{ClusterID: 1, Revision: 100}); err == nil {
		t.Error("the position of another store was kept without a word")
	}
	if got := load(); got.ClusterID != 0xfedcba9876543210 {
		t.Errorf("kept store %x, want the first", got.ClusterID)
	}

	var lease coordinationv1.Lease
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: storeposition.LeaseName}, &lease); err != nil {
		t.Fatal(err)
	}
	before := lease.ResourceVersion
	if err := save(coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(&lease), &lease); err != nil || lease.ResourceVersion != before {
		t.Errorf("a position that has not moved was written again (%v)", err)
	}

	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, storeposition.RevisionAnnotation, "many")
	if err := c.Update(t.Context(), &lease); err != nil {
		t.Fatal(err)
	}
	if _, err := storeposition.Load(t.Context(), c, namespace); err == nil || !strings.Contains(err.Error(), storeposition.RevisionAnnotation) {
		t.Errorf("a broken annotation gave %v, want an error that names it", err)
	}
}

// startServer returns a client of a new API server.
func startServer(t *testing.T) client.Client {
	t.Helper()
	server := testkit.StartServer(t, apiserver.Options{})
	c, err := client.New(testkit.Config(t, server, apiserver.Admin), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKeeper(c client.Client, s *store, clock machine, started storeposition.Kept) *storeposition.Keeper {
	return &storeposition.Keeper{
		Client: c, Reader: c, Namespace: namespace, Store: at{s}, Clock: clock, Started: started,
		Epoch: func() int64 { return 12 }, RegionLease: 6 * time.Second,
	}
}

// TestAdopt lets a region refuse a store, and take it once a person has said so and the last leases have
// run out.
func TestAdopt(t *testing.T) {
	c := startServer(t)
	clock := machine{clocktesting.NewFakeClock(time.Now())}
	s := &store{Position: coordination.Position{ClusterID: 0xa, Revision: 100}}
	keeper := newKeeper(c, s, clock, storeposition.Kept{})
	keeper.Log = testr.New(t)
	pass := func() error { t.Helper(); clock.Step(time.Second); return keeper.Pass(t.Context()) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	lease := func() *coordinationv1.Lease {
		t.Helper()
		l := &coordinationv1.Lease{}
		must(c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: storeposition.LeaseName}, l))
		return l
	}
	word := func(id string) {
		t.Helper()
		l := lease()
		metav1.SetMetaDataAnnotation(&l.ObjectMeta, storeposition.AdoptAnnotation, id)
		must(c.Update(t.Context(), l))
	}
	must(pass())
	s.Revision = 110
	s.refusal = &coordination.OtherStoreError{Known: s.Position, Seen: coordination.Position{ClusterID: 0xb, Revision: 3}}
	must(pass())
	l := lease()
	if got := l.Annotations[storeposition.RefusedIDAnnotation]; got != "b" || l.Annotations[storeposition.RefusedSinceAnnotation] == "" {
		t.Errorf("the refusal is kept as %v", l.Annotations)
	}
	if l.Spec.LeaseDurationSeconds == nil || *l.Spec.LeaseDurationSeconds != 7 {
		t.Errorf("the leases last %v s, want 7", l.Spec.LeaseDurationSeconds)
	}

	word("c")
	must(pass())
	if got := lease().Annotations[storeposition.AdoptionAnnotation]; !strings.Contains(got, "not 000000000000000c") {
		t.Errorf("a word for another store is answered with %q", got)
	}
	word("b")
	must(pass())
	if got := lease().Annotations[storeposition.AdoptionAnnotation]; !strings.Contains(got, "waiting") {
		t.Errorf("while leases may run the word is answered with %q", got)
	}
	// The store of before answers once more, and a beat extends the lease: the wait begins anew.
	s.Revision = 111
	for range 6 {
		must(pass())
	}
	if err := pass(); err != nil {
		t.Fatalf("adopted %v, though the last leases had not run out", err)
	}
	if err := pass(); !errors.Is(err, storeposition.ErrAdopted) {
		t.Fatalf("when the leases had run out: %v, want %v", err, storeposition.ErrAdopted)
	}
	kept, err := storeposition.Load(t.Context(), c, namespace)
	must(err)
	want := storeposition.Kept{
		Position: coordination.Position{ClusterID: 0xb}, AboveEpoch: 12, RevisionBase: 1_000_111,
	}
	if kept != want {
		t.Errorf("kept %+v, want %+v", kept, want)
	}
	for _, gone := range []string{storeposition.AdoptAnnotation, storeposition.AdoptionAnnotation, storeposition.RefusedAnnotation} {
		if got, there := lease().Annotations[gone]; there {
			t.Errorf("%s is still %q", gone, got)
		}
	}
	// A process that has not started with it may not go on.
	if err := keeper.Settle(t.Context()); !errors.Is(err, storeposition.ErrStale) {
		t.Errorf("the old process settles with %v, want %v", err, storeposition.ErrStale)
	}
	must(newKeeper(c, s, clock, kept).Settle(t.Context()))
}

// TestRestoredIsRemembered: a restore that kept the identity is refused by the next process too, whatever
// the revision is by then.
func TestRestoredIsRemembered(t *testing.T) {
	c := startServer(t)
	clock := machine{clocktesting.NewFakeClock(time.Now())}
	s := &store{Position: coordination.Position{ClusterID: 0xa, Revision: 100}}
	keeper := newKeeper(c, s, clock, storeposition.Kept{})
	if err := keeper.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.refusal = &coordination.OtherStoreError{Known: s.Position, Seen: coordination.Position{ClusterID: 0xa, Revision: 90}, Restored: true}
	if err := keeper.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := storeposition.Load(t.Context(), c, namespace)
	if err != nil || !kept.Restored || kept.Position != s.Position {
		t.Fatalf("kept %+v (%v), want that it was restored", kept, err)
	}
	// Before the next process has an answer, nothing is forgotten.
	s.refusal, s.Revision = nil, 200
	next := newKeeper(c, s, clock, kept)
	if err := next.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, err = storeposition.Load(t.Context(), c, namespace); err != nil || !kept.Restored {
		t.Errorf("kept %+v (%v): forgotten that it was restored", kept, err)
	}
}

// TestPlace: an installation is the same for all its processes, and another for another namespace.
func TestPlace(t *testing.T) {
	c := startServer(t)
	first, err := storeposition.Place(t.Context(), c, c, namespace)
	if err != nil || first == "" {
		t.Fatalf("place %q, %v", first, err)
	}
	again, err := storeposition.Place(t.Context(), c, c, namespace)
	if err != nil || again != first {
		t.Errorf("another process finds place %q (%v), want %q", again, err, first)
	}
	other, err := storeposition.Place(t.Context(), c, c, "kube-system")
	if err != nil || other == first {
		t.Errorf("another namespace is place %q (%v)", other, err)
	}
}
