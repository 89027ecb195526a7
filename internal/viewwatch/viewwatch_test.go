package viewwatch_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/viewwatch"
)

const patience = 10 * time.Second

// fakeAgent holds a list of names as its state.
type fakeAgent struct {
	news chan struct{}
	mu   sync.Mutex
	// names that exist; broken: they cannot be listed.
	names  []string
	broken bool
	looks  int
	ended  bool
}

func (a *fakeAgent) Subscribe() (<-chan struct{}, func()) {
	return a.news, func() { a.mu.Lock(); defer a.mu.Unlock(); a.ended = true }
}

func (a *fakeAgent) set(broken bool, names ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names, a.broken = names, broken
}

func (a *fakeAgent) state() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.names)
}

// added returns the names that were not there before.
func (a *fakeAgent) added(_ context.Context, before, after []string) ([]client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	if a.broken {
		return nil, errors.New("not now")
	}
	var out []client.Object
	for _, name := range after {
		if !slices.Contains(before, name) {
			pod := &corev1.Pod{}
			pod.Name = name
			out = append(out, pod)
		}
	}
	return out, nil
}

// run starts a watcher and ends it with the test.
func run(t *testing.T, a *fakeAgent, change func(*viewwatch.Watcher[[]string])) *viewwatch.Watcher[[]string] {
	t.Helper()
	w := viewwatch.New(a, a.state, a.added)
	if change != nil {
		change(w)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the watcher ended with %v", err)
		}
		if !a.ended {
			t.Error("the subscription goes on")
		}
	})
	return w
}

func next(t *testing.T, w *viewwatch.Watcher[[]string]) string {
	t.Helper()
	select {
	case e := <-w.Changed():
		return e.Object.GetName()
	case <-time.After(patience):
		t.Fatal("nothing was announced")
		return ""
	}
}

func TestChangesAreAnnouncedOnce(t *testing.T) {
	a := &fakeAgent{news: make(chan struct{})}
	w := run(t, a, nil)
	a.set(false, "beijing", "shanghai")
	a.news <- struct{}{}
	if got := []string{next(t, w), next(t, w)}; !slices.Equal(got, []string{"beijing", "shanghai"}) {
		t.Errorf("announced %v at first, want both", got)
	}
	a.news <- struct{}{} // the same again
	a.set(false, "beijing", "shanghai", "shenzhen")
	a.news <- struct{}{}
	if got := next(t, w); got != "shenzhen" {
		t.Errorf("announced %s, want the one that is new", got)
	}
}

func TestAFailureIsLookedAtAgain(t *testing.T) {
	machine := testclock.NewFakeClock(time.Unix(0, 0))
	a := &fakeAgent{news: make(chan struct{})}
	w := run(t, a, func(w *viewwatch.Watcher[[]string]) { w.Every, w.Clock = time.Second, machine })
	a.set(true, "beijing")
	a.news <- struct{}{}
	a.news <- struct{}{} // taken when the first look is over
	a.set(false, "beijing")
	machine.Step(time.Second)
	if got := next(t, w); got != "beijing" {
		t.Errorf("announced %s, want what failed before", got)
	}
}

// A controller that does not listen any more must not hold up the end.
func TestEndsWhileNobodyListens(t *testing.T) {
	a := &fakeAgent{news: make(chan struct{})}
	names := make([]string, 200)
	for i := range names {
		names[i] = string(rune('a' + i))
	}
	run(t, a, nil)
	a.set(false, names...)
	a.news <- struct{}{}
}
