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

// leaseWatch says how long one admitted home request may go on (R11). While this region accepts writes for the
// request's slot, the deadline follows the lease. When the slot closes or goes to another region, the
// request goes on, for the region acknowledges only after it has ended (R8), but its deadline stays where
// it is: it ends within the lease that it had, and so within one regionLease of the change, which a planned
// change waits for. If the region accepts writes for the slot again, no other did meanwhile, since the
// request was under way; unless the lease ran out in between: then the request ends, whatever there is now.
type leaseWatch struct {
	state    *state
	admitted *snapshot
	slot     int
	deadline time.Duration
}

// newLeaseWatch begins with the lease that a request was admitted under.
func newLeaseWatch(st *state, snap *snapshot, slot int) leaseWatch {
	return leaseWatch{state: st, admitted: snap, slot: slot, deadline: snap.leaseUntil}
}

// left looks at the lease, and returns for how long the request may go on; false when it has to end.
func (l *leaseWatch) left(now time.Duration) (time.Duration, bool) {
	snap := l.state.load()
	if snap.router.accepts(l.admitted.router, l.slot) {
		l.deadline = snap.leaseUntil
	} else {
		l.deadline = min(l.deadline, snap.leaseUntil)
	}
	return l.deadline - now, now < l.deadline && snap.term == l.admitted.term
}

// guard keeps one admitted home request within the lease.
type guard struct {
	leaseWatch
	clock  Clock
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	stop    func() bool
	stopped bool
}

// watch returns a context that ends with the lease, and a function that ends the guard.
func watch(ctx context.Context, clock Clock, st *state, snap *snapshot, slot int) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &guard{leaseWatch: newLeaseWatch(st, snap, slot), clock: clock, cancel: cancel}
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
	if _, ok := g.left(g.clock.Boot()); !ok {
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
