package gateway

import (
	"context"
	"errors"
	"sync"
	"time"
)

// guardInterval is how often an admitted home request looks at its lease, so that a machine that
// was suspended notices soon.
const guardInterval = 250 * time.Millisecond

// errLeaseLapsed ends a home request whose lease has ended.
var errLeaseLapsed = errors.New("the region's lease ended while the request was under way")

// guard keeps one admitted home request within the lease (R11). Its deadline follows the lease
// for as long as this region stays the owner of the request's home; then it stays where it is.
type guard struct {
	clock  Clock
	state  *state
	cancel context.CancelCauseFunc
	slot   int

	mu       sync.Mutex
	deadline time.Duration
	stop     func() bool
	stopped  bool
}

// watch returns a context that ends with the lease, and a function that ends the guard.
func watch(ctx context.Context, clock Clock, st *state, snap *snapshot, slot int) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &guard{clock: clock, state: st, cancel: cancel, slot: slot, deadline: snap.leaseUntil}
	g.arm()
	return ctx, g.release
}

// arm sets the next look; the caller may hold nothing.
func (g *guard) arm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	wait := min(guardInterval, max(g.deadline-g.clock.Boot(), 0))
	g.stop = g.clock.AfterFunc(wait, g.look)
}

func (g *guard) look() {
	snap := g.state.load()
	r := snap.router
	home := r.self
	if g.slot != pinnedSlot {
		home = int(r.homes[g.slot])
	}
	if owner, _ := r.owner(home); owner == r.self {
		g.deadline = snap.leaseUntil
	} else {
		g.deadline = min(g.deadline, snap.leaseUntil)
	}
	if g.clock.Boot() >= g.deadline {
		g.cancel(errLeaseLapsed)
		return
	}
	g.arm()
}

func (g *guard) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	g.stop()
	g.cancel(nil)
}
