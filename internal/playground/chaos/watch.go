package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/chaos/history"
)

// watchPause is between two tries to follow a store that has no majority.
const watchPause = 300 * time.Millisecond

// watcher follows what the regions agree on. It takes no part in it.
type watcher struct {
	store *coordination.Store

	mu     sync.Mutex
	config ownership.Configuration
	losses map[history.Loss]bool
	// served is when a region began to serve, each time, and serving whether it did in the last view that was open.
	served  map[string][]time.Duration
	serving map[string]bool
	// flaps is the highest number of losses in a row that a region was seen with.
	flaps int
}

// follow watches until ctx ends.
func follow(ctx context.Context, endpoints []string) (*watcher, func() error, error) {
	store, err := coordination.Connect(coordination.Options{Endpoints: endpoints})
	if err != nil {
		return nil, nil, err
	}
	w := &watcher{store: store, losses: map[history.Loss]bool{}, served: map[string][]time.Duration{}, serving: map[string]bool{}}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = store.Watch(ctx, w.see) // it ends while there is no majority
			timer := time.NewTimer(watchPause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}()
	return w, func() error { cancel(); <-done; return store.Close() }, nil
}

func (w *watcher) see(c ownership.Configuration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, record := range c.View.Regions {
		before := w.config.View.Regions[name]
		if record.State == ownership.RegionLost && before.State != ownership.RegionLost {
			w.losses[history.Loss{Region: name, Epoch: c.View.Epoch}] = true
		}
		if record.LostEpoch > 0 { // also of one that was lost and back before this one looked
			w.losses[history.Loss{Region: name, Epoch: record.LostEpoch}] = true
		}
		if serves := record.State == ownership.RegionServing; c.View.Phase == ownership.PhaseOpen {
			if serves && !w.serving[name] {
				w.served[name] = append(w.served[name], history.Now())
			}
			w.serving[name] = serves
		}
		w.flaps = max(w.flaps, record.Flaps)
	}
	w.config = c
}

// now is the latest configuration.
func (w *watcher) now() ownership.Configuration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config
}

// returns are the true times after a moment at which a region began to serve again.
func (w *watcher) returns(region string, since time.Duration) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.served[region]), func(at time.Duration) bool { return at <= since })
}

func (w *watcher) lost() []history.Loss {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]history.Loss, 0, len(w.losses))
	for l := range w.losses {
		out = append(out, l)
	}
	return out
}

// whole returns nil when every region serves all services and nothing is changing. What is withheld from a
// region counts for one loss, and no more once it serves.
func whole(c ownership.Configuration, regions []string) error {
	if c.View.Phase != ownership.PhaseOpen {
		return fmt.Errorf("epoch %d is %s", c.View.Epoch, c.View.Phase)
	}
	for _, name := range regions {
		if state := c.View.Regions[name].State; state != ownership.RegionServing {
			return fmt.Errorf("%s is %s (%s)", name, state, c.Held[name])
		}
	}
	for _, s := range c.Services {
		if len(s.Excluded) > 0 {
			return fmt.Errorf("service %s is not served by %v", s.Name, s.Excluded)
		}
	}
	return nil
}
