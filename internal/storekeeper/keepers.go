// Package storekeeper looks after a region's database servers: for every store a goroutine that writes and
// reads canaries, observes, and sets links up and repairs them as plans say, and another that keeps the fences
// and the lease. A server that does not answer holds up nobody but its own.
//
// It must never report a fence as closed that a server has not confirmed, unless the time for which that
// server lets anybody write has run out.
package storekeeper

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// Clock tells and measures time. Boottime also counts suspension and never goes back.
type Clock interface {
	clock.WithTicker
	Boottime() time.Duration
}

// Config is what keepers need. All fields are required.
type Config struct {
	// Region of the servers.
	Region string
	Clock  Clock
	// Open returns a server; it does not connect.
	Open func(engine v1alpha1.StoreEngine, o store.Options) (store.Server, error)
	// Lease is how long the region may go on accepting home writes, 0 without a lease.
	Lease func() time.Duration
	// LongestLease that a region is ever given: what a predecessor may have handed out.
	LongestLease time.Duration
	Log          logr.Logger
}

// Target is a store as it is to be kept.
type Target struct {
	Declared *plan.Declared
	Options  store.Options
	// Version of the credentials: with another one links are given the new ones.
	Version string
	// Problem keeps the server from being used; nil when nothing does.
	Problem *plan.Problem
	// Paused are the source regions whose links somebody has paused.
	Paused map[string]bool
	// Lost are the regions that nothing arrives from.
	Lost map[string]bool
	// Return is the epoch of the region's return, whose rows are compared with those of the sources; 0: nothing is.
	Return int64
	// Accepted names, by source region, the comparison whose outcome a person accepts.
	Accepted map[string]string
	// Losses names, by source region, the loss that a person accepts for the server to replicate from there (storage.Loss).
	Losses map[string]string
	// Automatic: the store's services let a region that comes back go on by itself. What its server loses by that is told before.
	Automatic bool
}

// Keepers looks after the stores of a region while Start runs. It is safe for concurrent use.
type Keepers struct {
	config  Config
	changed chan event.GenericEvent
	wake    chan struct{}

	mu      sync.Mutex
	targets map[string]Target
	keepers map[string]*keeper
	fences  fencing
}

// New returns keepers without a store.
func New(c Config) *Keepers {
	return &Keepers{config: c, changed: make(chan event.GenericEvent, 16), wake: make(chan struct{}, 1), keepers: map[string]*keeper{}}
}

// Changed announces stores of which something else is known, by the name of the event's object.
func (k *Keepers) Changed() <-chan event.GenericEvent { return k.changed }

// Set says which stores to keep. It does not wait. Those that are left out are let go of as they are.
func (k *Keepers) Set(targets map[string]Target) {
	k.mu.Lock()
	k.targets = targets
	for name, keeper := range k.keepers {
		if t, wanted := targets[name]; wanted {
			keeper.set(t)
		}
	}
	k.mu.Unlock()
	kick(k.wake)
}

// Look returns what is known of a store.
func (k *Keepers) Look(name string) plan.Look {
	if keeper := k.keeper(name); keeper != nil {
		return keeper.seen()
	}
	return plan.Look{}
}

// Told says that a loss has been told where people look, by the store, the source region and the loss's token: it is not accepted by
// itself before. It does not wait.
func (k *Keepers) Told(name, from, token string) {
	if keeper := k.keeper(name); keeper != nil {
		keeper.lossTold(from, token)
	}
}

// Declared returns a store as its keeper goes by it: with the primary of the agreed configuration.
func (k *Keepers) Declared(name string) *plan.Declared {
	if keeper := k.keeper(name); keeper != nil {
		_, t := keeper.using()
		return t.Declared
	}
	return nil
}

// ErrNotKept is returned for a store that is not looked after, or whose server cannot be used.
var ErrNotKept = errors.New("the store's server cannot be asked")

// Positions asks a store's server what it has.
func (k *Keepers) Positions(ctx context.Context, name string) (storage.Positions, error) {
	keeper := k.keeper(name)
	if keeper == nil {
		return nil, ErrNotKept
	}
	server, t := keeper.using()
	if server == nil {
		return nil, ErrNotKept
	}
	return server.Positions(ctx, t.Declared.Want)
}

func (k *Keepers) keeper(name string) *keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keepers[name]
}

// Start keeps the stores until ctx ends.
func (k *Keepers) Start(ctx context.Context) error {
	var running sync.WaitGroup
	stop := map[string]context.CancelFunc{}
	defer running.Wait()
	ticker := k.config.Clock.NewTicker(beat)
	defer ticker.Stop()
	for {
		k.mu.Lock()
		for name, t := range k.targets {
			if k.keepers[name] != nil {
				continue
			}
			kept := newKeeper(name, k.config, t, k.announce)
			kept.setFences(k.fences.of(name))
			k.keepers[name] = kept
			var its context.Context
			its, stop[name] = context.WithCancel(ctx)
			running.Go(func() { kept.run(its) })
		}
		for _, name := range slices.Collect(maps.Keys(k.keepers)) {
			if _, wanted := k.targets[name]; !wanted {
				stop[name]()
				delete(stop, name)
				delete(k.keepers, name)
			}
		}
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			for _, cancel := range stop {
				cancel()
			}
			return nil
		case <-k.wake:
		case <-ticker.C():
			k.tick()
		}
	}
}

// tick begins a beat of all stores at once: a process that wakes for each of them by itself spends more on waking than on beats.
func (k *Keepers) tick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, keeper := range k.keepers {
		kick(keeper.wake)
		kick(keeper.fenceNow)
	}
}

// announce wakes the pass for a store; it waits for room, or the end of ctx.
func (k *Keepers) announce(ctx context.Context, name string) {
	link := &v1alpha1.ReplicationLink{}
	link.Name = name
	select {
	case k.changed <- event.GenericEvent{Object: link}:
	case <-ctx.Done():
	}
}

// fencing is what the fences of all stores are to be.
type fencing struct {
	at        at
	stores    map[string]map[string]storage.Fences // by store and service
	primaries map[string]string                    // by store
	absences  map[string]absence                   // by region
}

// at tells configurations apart as far as fences go.
type at struct {
	epoch int64
	phase ownership.Phase
}

func atOf(c ownership.Configuration) at { return at{c.View.Epoch, c.View.Phase} }

func (f fencing) of(store string) fencesOf {
	return fencesOf{at: f.at, services: f.stores[store], primary: f.primaries[store], absences: f.absences}
}

// fencesOf is what the fences of one store are to be.
type fencesOf struct {
	at       at
	services map[string]storage.Fences
	// primary is the region whose server may be written to, "" for none. It means nothing for a mesh.
	primary string
	// absences are the last losses of regions.
	absences map[string]absence
}

// SetFences says what the fences of every store are to be, by store and service, and which region's server of each may
// be written to where one may, as a configuration says. It does not wait.
func (k *Keepers) SetFences(c ownership.Configuration, stores map[string]map[string]storage.Fences, primaries map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fences = fencing{atOf(c), stores, primaries, absencesOf(c)}
	for name, keeper := range k.keepers {
		keeper.setFences(k.fences.of(name))
	}
}

// Fenced reports whether stores have the fences of a configuration, or let nobody write any more. One that is not looked
// after yet does not count as fenced. It does not wait.
func (k *Keepers) Fenced(c ownership.Configuration, stores []string) bool {
	for _, name := range stores {
		if keeper := k.keeper(name); keeper == nil || !keeper.fenced(atOf(c)) {
			return false
		}
	}
	return true
}

func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
