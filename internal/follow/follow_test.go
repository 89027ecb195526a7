package follow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

const lease = 6 * time.Second

var errDown = errors.New("down")

// fake is a store that says what a test tells it to.
type fake struct {
	deliver chan ownership.Configuration
	fail    chan error

	mu   sync.Mutex
	read error
}

func (f *fake) Watch(ctx context.Context, deliver func(ownership.Configuration)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-f.deliver:
			deliver(c)
		case err := <-f.fail:
			return err
		}
	}
}

func (f *fake) Read(context.Context) (ownership.Configuration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ownership.Configuration{}, f.read
}

func (f *fake) answersReads(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = err
}

func start(t *testing.T) (*follow.Follower, *fake, *clocktesting.FakeClock) {
	t.Helper()
	store := &fake{deliver: make(chan ownership.Configuration), fail: make(chan error)}
	c := clocktesting.NewFakeClock(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	f := follow.New(store, c, lease, logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = f.Start(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return f, store, c
}

func conf(revision, beat int64) ownership.Configuration {
	return ownership.Configuration{Revision: revision, Beats: map[string]ownership.Beat{"beijing": {N: beat}}}
}

// pass moves the clock on in steps, so that tickers and pauses fire as they would.
func pass(c *clocktesting.FakeClock, d time.Duration) {
	for ; d > 0; d -= 500 * time.Millisecond {
		c.Step(500 * time.Millisecond)
	}
}

func eventually(t *testing.T, f *follow.Follower, what string, is func(follow.Snapshot) bool) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		if s := f.Snapshot(); !is(s) {
			return errors.New("not " + what)
		}
		return nil
	})
}

func TestFollower(t *testing.T) {
	t.Parallel()
	f, store, c := start(t)
	var mu sync.Mutex
	var told []int64
	f.Listen(t.Context(), func(_, after follow.Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		if n := len(told); n == 0 || told[n-1] != after.Configuration.Revision {
			told = append(told, after.Configuration.Revision)
		}
	})
	if s := f.Snapshot(); s.Known || s.Connected {
		t.Fatalf("knows something before it was told: %+v", s)
	}
	store.deliver <- conf(1, 41)
	eventually(t, f, "connected", func(s follow.Snapshot) bool { return s.Known && s.Connected })
	if f.Snapshot().Beating["beijing"] {
		t.Error("a beat that was there before us counts as one that we saw")
	}
	store.deliver <- conf(2, 42)
	eventually(t, f, "beating", func(s follow.Snapshot) bool { return s.Beating["beijing"] })

	t.Log("an agent that stops is silent after its lease, and the store is asked meanwhile")
	testkit.Eventually(t, 20*time.Second, func() error {
		pass(c, time.Second)
		if f.Snapshot().Beating["beijing"] {
			return errors.New("still beating")
		}
		return nil
	})
	if !f.Snapshot().Connected {
		t.Error("a store that answers reads is connected, also when it has no news")
	}

	t.Log("a store that neither speaks nor answers is not connected; one that speaks is")
	store.answersReads(errDown)
	testkit.Eventually(t, 20*time.Second, func() error {
		pass(c, time.Second)
		if f.Snapshot().Connected {
			return errors.New("still connected")
		}
		return nil
	})
	store.deliver <- conf(3, 43)
	eventually(t, f, "connected", func(s follow.Snapshot) bool { return s.Connected && s.Beating["beijing"] })

	t.Log("a watch that fails is started again")
	store.fail <- errDown
	eventually(t, f, "disconnected", func(s follow.Snapshot) bool { return !s.Connected && s.Known })
	done := make(chan struct{})
	go func() { store.deliver <- conf(4, 44); close(done) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		pass(c, time.Second)
		if !f.Snapshot().Connected {
			return errors.New("not connected")
		}
		return nil
	})
	<-done
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]int64{1, 2, 3, 4}, told); diff != "" {
		t.Errorf("told of (-want +got)\n%s", diff)
	}
}
