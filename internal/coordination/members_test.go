package coordination_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/elect"
)

func TestOneMemberLostStopsNoBeat(t *testing.T) {
	members := start(t, "beijing", "shanghai", "shenzhen")
	w := &world{t: t, Store: connect(t, coordination.Options{Endpoints: members.Endpoints(), RequestTimeout: 700 * time.Millisecond})}
	ctx := t.Context()
	var term *coordination.Term
	testkit.Eventually(t, 20*time.Second, func() (err error) {
		term, err = elect.Lead(ctx, w.Store, "x", 5*time.Second)
		return err
	})
	r := w.register("one")
	w.must(term.OpenGate(ctx, w.read(), "beijing"))
	open := w.read()
	watched, _ := watch(t, w.Store)

	n := int64(0)
	for _, name := range []string{"beijing", "shanghai", "shenzhen"} {
		if err := members.Member(name).Kill(); err != nil {
			t.Fatal(err)
		}
		// Within an election of the store and a few tries, as a beating agent tries.
		testkit.Eventually(t, 15*time.Second, func() error {
			n++
			revision, err := r.Beat(ctx, open, n)
			if err == nil {
				watched.until(t, revision)
			}
			return err
		})
		if err := members.Member(name).Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadLeaderIsFollowed(t *testing.T) {
	members := start(t)
	first := connect(t, coordination.Options{Endpoints: members.Endpoints()})
	second := connect(t, coordination.Options{Endpoints: members.Endpoints()})
	old, err := elect.Lead(t.Context(), first, "old", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	type elected struct {
		term *coordination.Term
		err  error
	}
	won := make(chan elected, 1)
	go func() {
		term, err := elect.Lead(t.Context(), second, "new", 2*time.Second)
		won <- elected{term, err}
	}()
	// The first leader's process dies: its connections end and nobody resigns.
	_ = first.Close()
	select {
	case e := <-won:
		if e.err != nil {
			t.Fatal(e.err)
		}
		c, err := second.Read(t.Context())
		if err != nil || c.Leader != "new" {
			t.Errorf("leader %q, %v", c.Leader, err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody follows a leader that died")
	}
	<-old.Done()
}

func TestCampaignEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	term := w.lead("x")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := elect.Lead(ctx, w.Store, "y", 2*time.Second)
		done <- err
	}()
	testkit.Eventually(t, 10*time.Second, func() error {
		if w.read().Revision < 3 { // both have their key
			return errors.New("the second has not stood for election")
		}
		return nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the campaign ended with %v", err)
	}
	if w.read().Leader != "x" {
		t.Error("who withdrew has deposed the leader")
	}
	term.Resign()
	if got := w.read().Leader; got != "" {
		t.Errorf("%q leads though all have withdrawn", got)
	}
}

func TestRestoredStoreIsRefused(t *testing.T) {
	members := start(t)
	options := coordination.Options{Endpoints: members.Endpoints(), RequestTimeout: 5 * time.Second}
	s := connect(t, options)
	revision, err := s.PutRegionIntent(t.Context(), ownership.RegionIntent{Name: "beijing"})
	if err != nil {
		t.Fatal(err)
	}
	here := s.Position()
	if here.Revision != revision || here.ClusterID == 0 {
		t.Fatalf("position %+v after a write at revision %d", here, revision)
	}
	cases := map[string]struct {
		known   coordination.Position
		refused bool
	}{
		"nothing known":       {coordination.Position{}, false},
		"the same position":   {here, false},
		"an earlier revision": {coordination.Position{ClusterID: here.ClusterID, Revision: 1}, false},
		"a later revision":    {coordination.Position{ClusterID: here.ClusterID, Revision: revision + 100}, true},
		"another cluster":     {coordination.Position{ClusterID: here.ClusterID + 1, Revision: 1}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := options
			o.Known = c.known
			s := connect(t, o)
			calls := map[string]func() error{
				"read":     func() error { _, err := s.Read(t.Context()); return err },
				"register": func() error { _, err := s.RegisterAgent(t.Context(), "beijing", "one", 0); return err },
				"watch": func() error {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					err := s.Watch(ctx, func(ownership.Configuration) { cancel() })
					if errors.Is(err, context.Canceled) {
						return nil
					}
					return err
				},
			}
			for call, do := range calls {
				if err := do(); errors.Is(err, coordination.ErrOtherStore) != c.refused || !c.refused && err != nil {
					t.Errorf("%s answered %v, want it refused: %v", call, err, c.refused)
				}
			}
			if c.refused && s.Position() != c.known {
				t.Errorf("position %+v, want %+v kept", s.Position(), c.known)
			}
		})
	}
}

func TestUnreachableStoreAnswersInTime(t *testing.T) {
	s := connect(t, coordination.Options{Endpoints: []string{"http://127.0.0.1:1"}, RequestTimeout: 300 * time.Millisecond})
	done := make(chan error, 3)
	go func() { _, err := s.Read(t.Context()); done <- err }()
	go func() { _, err := s.RegisterAgent(t.Context(), "beijing", "one", 0); done <- err }()
	go func() { _, err := elect.Lead(t.Context(), s, "x", time.Second); done <- err }()
	for range 3 {
		select {
		case err := <-done:
			if err == nil {
				t.Error("a call succeeded without a store")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a call hangs without a store")
		}
	}
}

func TestConnectNeedsEndpoints(t *testing.T) {
	if _, err := coordination.Connect(coordination.Options{}); err == nil {
		t.Error("connecting to nowhere succeeded")
	}
}
