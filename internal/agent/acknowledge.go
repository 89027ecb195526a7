package agent

import (
	"context"
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// Local is what else of a region takes part in a change of owners, besides its gateways. Its methods
// must not block for longer than ctx lasts.
type Local interface {
	// Stopped reports whether no workload runs any more that the configuration gives no right to (R8).
	Stopped(ctx context.Context, c ownership.Configuration) (bool, error)
	// Vector returns all that the region has, its own data and the others' (R8).
	Vector(ctx context.Context) (ownership.Vector, error)
	// CaughtUp reports whether the region has applied the target and all that it received of the lost
	// regions, and otherwise the services, by UID, for which it has not; none stands for all.
	CaughtUp(ctx context.Context, target ownership.Vector, lost []string) (ok bool, stuck []string, err error)
	// Lagging names the services that are far behind here, or could not serve the keys that they are about
	// to be handed (ownership.Evidence).
	Lagging(ctx context.Context) []string
}

// acknowledger is the part of a coordination.Registration that acknowledging needs.
type acknowledger interface {
	PutAck(ctx context.Context, from ownership.Configuration, a ownership.Ack) (int64, error)
}

// acknowledge says what this region has done of every change of owners (R8, R9).
func (a *Agent) acknowledge(ctx context.Context) error {
	var since time.Duration // when this incarnation was first seen to be registered: its predecessor beats until then
	news, cancel := a.Subscribe()
	defer cancel()
	ticker := a.config.Clock.NewTicker(a.config.Timings.BeatInterval / 4)
	defer ticker.Stop()
	var said ownership.Ack
	for {
		select {
		case <-news:
		case <-a.acks.news:
		case <-ticker.C():
		case <-ctx.Done():
			return ctx.Err()
		}
		c, have := a.Snapshot()
		r := a.registered()
		if !have || r == nil || !c.Gates[a.config.Region].Open || a.refusesStore() {
			continue
		}
		if since == 0 {
			since = a.config.Clock.Boottime()
		}
		if err := a.afterWrite(a.acknowledgeOnce(ctx, r, c, since, &said)); err != nil {
			return err
		}
	}
}

func (a *Agent) registered() *coordination.Registration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.registration
}

// acknowledgeOnce takes the next step of the change under way. said is what was found out of the epoch
// so far: a fact stays one.
func (a *Agent) acknowledgeOnce(ctx context.Context, r acknowledger, c ownership.Configuration, since time.Duration, said *ownership.Ack) error {
	ctx, cancel := context.WithTimeout(ctx, a.config.Timings.RegionLease/2)
	defer cancel()
	if said.Epoch != c.View.Epoch {
		*said = ownership.Ack{Epoch: c.View.Epoch}
	}
	fence, catchUp := change.Concerns(c, a.config.Region)
	if fence && !said.Fenced && a.fenced(ctx, c, since) {
		if vector, err := a.vector(ctx); err == nil {
			said.Fenced, said.Vector = true, vector
		}
	}
	if catchUp && (!said.CaughtUp || len(said.Stuck) > 0) {
		said.CaughtUp, said.Stuck = a.caughtUp(ctx, c)
	}
	said.Applied = a.applied(ctx, c)
	have := c.Acks[a.config.Region]
	if !said.Fenced && !said.CaughtUp && maps.Equal(said.Applied, have.Applied) || sameAck(*said, have) {
		return nil
	}
	_, err := r.PutAck(ctx, c, *said)
	return err
}

// sameAck reports whether two acknowledgements say the same of the same epoch. What a region had when it
// was fenced does not change.
func sameAck(a, b ownership.Ack) bool {
	return a.Epoch == b.Epoch && a.Fenced == b.Fenced && a.CaughtUp == b.CaughtUp &&
		slices.Equal(a.Stuck, b.Stuck) && maps.Equal(a.Applied, b.Applied)
}

// fenced reports whether nothing in the region accepts a home write for what it loses (R8). An agent
// that has just registered does not know which leases its predecessor handed out.
func (a *Agent) fenced(ctx context.Context, c ownership.Configuration, since time.Duration) bool {
	now := a.config.Clock.Boottime()
	if now-since < health.Expiry(a.config.Timings) || !a.acks.fenced(now, c.View.Epoch) {
		return false
	}
	if a.config.Local == nil {
		return true
	}
	stopped, err := a.config.Local.Stopped(ctx, c)
	if err != nil {
		a.config.Log.Info("Whether workloads have stopped is not known; looking again.", "error", err.Error())
	}
	return err == nil && stopped
}

func (a *Agent) vector(ctx context.Context) (ownership.Vector, error) {
	if a.config.Local == nil {
		return nil, nil
	}
	v, err := a.config.Local.Vector(ctx)
	if err != nil {
		a.config.Log.Info("What this region has is not known; looking again.", "error", err.Error())
	}
	return v, err
}

// caughtUp reports whether the region may own what it gains. Of a region whose gate this configuration
// shows closed nothing more can come but what has been received.
func (a *Agent) caughtUp(ctx context.Context, c ownership.Configuration) (bool, []string) {
	target, ready := change.Target(c, a.config.Region)
	if !ready || a.config.Local == nil {
		return ready, nil
	}
	ok, stuck, err := a.config.Local.CaughtUp(ctx, target, change.LostNow(c))
	if err != nil {
		a.config.Log.Info("Whether this region has caught up is not known; looking again.", "error", err.Error())
		return false, nil
	}
	return ok || len(stuck) > 0, stuck
}

// applied returns the debts that this region has applied.
func (a *Agent) applied(ctx context.Context, c ownership.Configuration) map[string]int64 {
	var out map[string]int64
	for origin, debt := range c.Debts {
		if origin == a.config.Region {
			continue
		}
		if c.Acks[a.config.Region].Applied[origin] >= debt.Epoch || a.hasApplied(ctx, debt.Vector) {
			if out == nil {
				out = map[string]int64{}
			}
			out[origin] = debt.Epoch
		}
	}
	return out
}

func (a *Agent) hasApplied(ctx context.Context, v ownership.Vector) bool {
	if a.config.Local == nil {
		return true
	}
	ok, _, err := a.config.Local.CaughtUp(ctx, v, nil)
	return err == nil && ok
}
