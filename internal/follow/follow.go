// Package follow keeps the newest configuration of the coordination store for controllers, notes
// which regions' agents beat, and tells its listeners what changed. It only reads: it must never
// write to the store or decide anything.
package follow

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// Pauses between attempts to reach a store that does not answer.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 5 * time.Second
)

// quiet is how long the store may say nothing before it is asked whether it still answers. With
// agents alive it speaks about once a second for each region.
const quiet = 5 * time.Second

// Store is what is followed; coordination.Store implements it.
type Store interface {
	// Watch delivers whole configurations in order of revision until ctx ends or the store fails.
	Watch(ctx context.Context, deliver func(ownership.Configuration)) error
	// Read returns the whole configuration by a linearizable read of bounded time.
	Read(ctx context.Context) (ownership.Configuration, error)
}

// Snapshot is what is known at one moment. It is immutable: readers share it.
type Snapshot struct {
	// Configuration is the newest one; the zero value before the first.
	Configuration ownership.Configuration
	// Known is true once a configuration was read.
	Known bool
	// Connected is true while the store answers with what can have been agreed on. A disconnected snapshot
	// is old news.
	Connected bool
	// Problem is what a person should know of why it does not serve, in words that stay the same; empty when
	// nothing is known. A store that takes no writes is Connected all the same.
	Problem string
	// Beating has the regions whose agents have beaten within the region lease, as seen here.
	Beating map[string]bool
}

// Follower follows one store.
type Follower struct {
	// Broken says what is known to keep the store from serving, empty when nothing is. Optional; to be set
	// before Start.
	Broken func() string

	store Store
	clock clock.WithTicker
	lease time.Duration
	log   logr.Logger

	mu        sync.Mutex
	now       Snapshot
	beats     map[string]seenBeat
	heard     time.Time
	listeners map[int]func(before, after Snapshot)
	next      int
	// latest is what the store answered last.
	latest error
	// damage is what is damaged in the newest content, empty when it is sound.
	damage string
}

type seenBeat struct {
	beat ownership.Beat
	at   time.Time
}

// New returns a Follower that calls an agent silent after regionLease without a new beat.
func New(store Store, c clock.WithTicker, regionLease time.Duration, log logr.Logger) *Follower {
	return &Follower{
		store: store, clock: c, lease: regionLease, log: log,
		beats: map[string]seenBeat{}, listeners: map[int]func(before, after Snapshot){},
	}
}

// Snapshot returns what is known now.
func (f *Follower) Snapshot() Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Listen calls listener with each change until ctx ends, one call at a time and in order; it must
// not block. The first call follows the next change: look at Snapshot first.
func (f *Follower) Listen(ctx context.Context, listener func(before, after Snapshot)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.next
	f.next++
	f.listeners[id] = listener
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, id)
	})
}

// NeedLeaderElection tells the manager that every replica follows: the one that is elected next
// knows the configuration already.
func (f *Follower) NeedLeaderElection() bool { return false }

// Start follows the store until ctx ends. A store that does not answer is tried again for ever.
func (f *Follower) Start(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { f.watchSilence(ctx) })
	pause := firstPause
	for {
		err := f.store.Watch(ctx, func(c ownership.Configuration) {
			pause = firstPause
			f.deliver(c)
		})
		if ctx.Err() != nil {
			return nil
		}
		f.log.Info("the coordination store does not answer; trying again", "error", err.Error(), "pause", pause.String())
		f.disconnect(err)
		select {
		case <-ctx.Done():
			return nil
		case <-f.clock.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// watchSilence notices agents that stop beating and a store that stops speaking: neither is
// announced by anybody.
func (f *Follower) watchSilence(ctx context.Context) {
	ticker := f.clock.NewTicker(f.lease / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			f.checkBeats()
			f.checkStore(ctx)
		}
	}
}

func (f *Follower) checkBeats() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(func(s *Snapshot) {
		if s.Known {
			f.stands(s, f.latest)
		}
		s.Beating = f.beating(s.Beating)
	})
}

func (f *Follower) checkStore(ctx context.Context) {
	f.mu.Lock()
	asked := f.heard
	due := f.now.Known && f.clock.Since(f.heard) >= quiet
	f.mu.Unlock()
	if !due {
		return
	}
	_, err := f.store.Read(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heard.After(asked) {
		return // the watch has spoken meanwhile and knows better
	}
	if err == nil {
		f.heard = f.clock.Now()
	}
	f.change(func(s *Snapshot) { f.stands(s, err) })
}

// stands notes whether the store answers. One with damaged content is as good as none. mu is held.
func (f *Follower) stands(s *Snapshot, err error) {
	s.Connected, s.Problem = err == nil && f.damage == "", f.damage
	if err != nil {
		s.Problem = coordination.Explain(err)
	}
	if s.Problem == "" && f.Broken != nil {
		s.Problem = f.Broken()
	}
	f.latest = err
}

func (f *Follower) deliver(c ownership.Configuration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	f.heard = now
	for region, beat := range c.Beats {
		if seen, known := f.beats[region]; !known || seen.beat != beat {
			// What was there at the first look may be old: it counts once it moves.
			if !known && !f.now.Known {
				f.beats[region] = seenBeat{beat: beat}
				continue
			}
			f.beats[region] = seenBeat{beat: beat, at: now}
		}
	}
	f.examine(&c)
	f.change(func(s *Snapshot) {
		f.stands(s, nil)
		s.Beating = f.beating(s.Beating)
		if f.damage == "" {
			s.Configuration, s.Known = c, true
		}
	})
}

// examine notes what nobody can have agreed on in a configuration: what is known stays as it was. mu is
// held.
func (f *Follower) examine(c *ownership.Configuration) {
	damage := c.Damage
	if before := &f.now.Configuration; f.now.Known && before.ClusterID == c.ClusterID {
		damage = append(slices.Clone(damage), ownership.DamagedSince(before, c, false)...)
	}
	f.damage = ""
	if len(damage) > 0 {
		f.damage = "its content is damaged, and nothing is decided until that is mended: " + ownership.Describe(damage)
	}
}

func (f *Follower) disconnect(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(func(s *Snapshot) { f.stands(s, err) })
}

// beating returns the regions that beat, reusing old when nothing changed. mu is held.
func (f *Follower) beating(old map[string]bool) map[string]bool {
	fresh := map[string]bool{}
	for region, seen := range f.beats {
		if !seen.at.IsZero() && f.clock.Since(seen.at) <= f.lease {
			fresh[region] = true
		}
	}
	if old != nil && maps.Equal(old, fresh) {
		return old
	}
	return fresh
}

// change applies a change and tells the listeners if there was one. mu is held.
func (f *Follower) change(apply func(*Snapshot)) {
	before := f.now
	apply(&f.now)
	if before.Configuration.Revision == f.now.Configuration.Revision && before.Known == f.now.Known &&
		before.Connected == f.now.Connected && before.Problem == f.now.Problem && maps.Equal(before.Beating, f.now.Beating) {
		return
	}
	for _, tell := range f.listeners {
		tell(before, f.now)
	}
}
