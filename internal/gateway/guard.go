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

// guard keeps one admitted home request within the lease (R11). While this region accepts writes for the
// request's slot, the deadline follows the lease. When the slot closes or goes to another region, the
// request goes on, for the region acknowledges only after it has ended (R8), but its deadline stays where
// it is: it ends within the lease that it had, and so within one regionLease of the change, which a planned
// change waits for. If the region accepts writes for the slot again, no other did meanwhile, since the
// request was under way; unless the lease ran out in between: then the request ends, whatever there is now.
type guard struct {
	clock    Clock
	state    *state
	cancel   context.CancelCauseFunc
	admitted *snapshot
	slot     int

	mu       sync.Mutex
	deadline time.Duration
	stop     func() bool
	stopped  bool
}

// watch returns a context that ends with the lease, and a function that ends the guard.
func watch(ctx context.Context, clock Clock, st *state, snap *snapshot, slot int) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &guard{clock: clock, state: st, cancel: cancel, admitted: snap, slot: slot, deadline: snap.leaseUntil}
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
	if snap.router.accepts(g.admitted.router, g.slot) {
		g.deadline = snap.leaseUntil
	} else {
		g.deadline = min(g.deadline, snap.leaseUntil)
	}
	if g.clock.Boot() >= g.deadline || snap.term != g.admitted.term {
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
