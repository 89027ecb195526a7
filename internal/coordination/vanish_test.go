package coordination_test

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/elect"
	"multiactive.dev/operator/internal/testkit/link"
)

// Packets to a member that vanish cost one call each of who was asking it, no more: the next ask another
// member, the watch moves there, and the session is kept.
func TestSilentMemberCostsOneCall(t *testing.T) {
	members := start(t, "beijing", "shanghai", "shenzhen")
	way := link.New(t, members.Endpoints()[0])
	w := &world{t: t, Store: connect(t, coordination.Options{
		Endpoints: append([]string{way.Endpoint()}, members.Endpoints()[1:]...), RequestTimeout: 700 * time.Millisecond,
	})}
	var term *coordination.Term
	testkit.Eventually(t, 20*time.Second, func() (err error) {
		term, err = elect.Lead(t.Context(), w.Store, "x", 5*time.Second)
		return err
	})
	r := w.register("one")
	w.must(term.OpenGate(t.Context(), w.read(), "beijing"))
	open := w.read()
	watched, _ := watch(t, w.Store)
	n, failed := int64(0), 0
	beat := func() {
		n++
		revision, err := r.Beat(t.Context(), open, n)
		if err != nil {
			failed++
			return
		}
		watched.until(t, revision)
	}
	for range 5 {
		beat()
	}
	if failed > 0 {
		t.Fatalf("%d of 5 beats failed while all was well", failed)
	}

	way.Cut(true)
	for range 20 {
		beat()
	}
	if failed > 1 {
		t.Errorf("%d of 20 beats failed, want 1 at most", failed)
	}
	select {
	case <-term.Done():
		t.Error("the leader has lost its session with one member of the store")
	default:
	}
	w.must(term.CloseGate(t.Context(), w.read(), "beijing"))
}

// A member whose process is gone costs nothing: its connection says so.
func TestDeadMemberIsNotAsked(t *testing.T) {
	members := start(t, "beijing", "shanghai", "shenzhen")
	s := connect(t, coordination.Options{Endpoints: members.Endpoints()})
	read := func() error { _, err := s.Read(t.Context()); return err }
	testkit.Eventually(t, 20*time.Second, read)
	if err := members.Member("beijing").Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, read) // the store's own election
	for range 20 {
		if err := read(); err != nil {
			t.Error(err)
		}
	}
}
