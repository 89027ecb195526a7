// Package viewwatch wakes controllers when what the regions agreed on changes, or the region's lease
// does. It must never decide what to do about it: it names the objects that a change concerns.
package viewwatch

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// Agent announces new configurations.
type Agent interface {
	// Subscribe announces new configurations until the function is called.
	Subscribe() (<-chan struct{}, func())
}

// Watcher is a manager's runnable that looks at a state S with every new configuration, and
// announces the objects that its change concerns.
type Watcher[S any] struct {
	Agent Agent
	// State returns what the controller depends on now.
	State func() S
	// Concerned returns the objects that a change of the state concerns: none when it concerns
	// nobody. The first change is from the zero S. After an error the change is looked at again, with
	// the next configuration or tick.
	Concerned func(ctx context.Context, before, after S) ([]client.Object, error)
	// Every is how often to look although nothing is announced; 0: never.
	Every time.Duration
	Clock clock.WithTicker

	out chan event.GenericEvent
}

// buffered is how many announcements wait for the controller before the watcher does.
const buffered = 64

// New returns a watcher that looks with every new configuration. Its fields may be changed until it
// is started.
func New[S any](a Agent, state func() S, concerned func(ctx context.Context, before, after S) ([]client.Object, error)) *Watcher[S] {
	return &Watcher[S]{Agent: a, State: state, Concerned: concerned, out: make(chan event.GenericEvent, buffered)}
}

// Changed is the source of the announcements.
func (w *Watcher[S]) Changed() <-chan event.GenericEvent { return w.out }

// Start implements manager.Runnable.
func (w *Watcher[S]) Start(ctx context.Context) error {
	news, cancel := w.Agent.Subscribe()
	defer cancel()
	tick, stop := w.ticks()
	defer stop()
	var seen S
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		case <-tick:
		}
		now := w.State()
		if w.announce(ctx, seen, now) {
			seen = now
		}
	}
}

// ticks returns a channel that never receives when the watcher has no ticks.
func (w *Watcher[S]) ticks() (<-chan time.Time, func()) {
	if w.Every == 0 {
		return nil, func() {}
	}
	ticker := w.Clock.NewTicker(w.Every)
	return ticker.C(), ticker.Stop
}

// announce reports whether all that the change concerns was announced.
func (w *Watcher[S]) announce(ctx context.Context, before, after S) bool {
	objects, err := w.Concerned(ctx, before, after)
	if err != nil {
		return false
	}
	for _, obj := range objects {
		select {
		case w.out <- event.GenericEvent{Object: obj}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
