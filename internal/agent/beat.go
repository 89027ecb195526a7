package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// beater is the part of a coordination.Registration that beating needs.
type beater interface {
	Incarnation() string
	Beat(ctx context.Context, from ownership.Configuration, n int64) (int64, error)
	Ask(ctx context.Context, from ownership.Configuration) (int64, error)
}

// errUnregistered ends an incarnation whose record is gone, though nobody has taken its place.
var errUnregistered = errors.New("the agent's record is gone")

// beat registers an incarnation and beats, for as long as its record is there.
func (a *Agent) beat(ctx context.Context) error {
	for {
		r, err := a.register(ctx)
		if err != nil {
			return err
		}
		err = a.beatAs(ctx, r)
		if !errors.Is(err, errUnregistered) {
			return err
		}
		a.config.Log.Info("Somebody has deleted this agent's record; registering anew.", "incarnation", r.Incarnation())
	}
}

// beatAs beats as a registered incarnation (R3), or asks for the gate to be opened (R5).
func (a *Agent) beatAs(ctx context.Context, r *coordination.Registration) error {
	n := r.LastBeat()
	ticker := a.config.Clock.NewTicker(a.config.Timings.BeatInterval)
	defer ticker.Stop()
	for {
		// While the store is refused the watch alone asks whether it still is: what is written to one that
		// was restored raises its revision to where it was.
		if c, have := a.Snapshot(); have && a.mayBeat() {
			n++
			err := a.beatOnce(ctx, r, c, n)
			a.storeAnswered(err)
			if err := a.afterWrite(err); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// register registers until it succeeds. Every attempt is an incarnation of its own: one that timed
// out may still come to pass.
func (a *Agent) register(ctx context.Context) (*coordination.Registration, error) {
	for {
		record := ownership.AgentRecord{Incarnation: newIncarnation(), AboveEpoch: a.config.AboveEpoch, Place: a.config.Place, Pod: a.config.Pod}
		still, err := a.awaitTurn(ctx, record)
		if err != nil {
			return nil, err
		}
		r, err := a.config.Store.Register(ctx, a.config.Region, record, still)
		a.storeAnswered(err)
		if err == nil {
			a.mu.Lock()
			a.registration = r
			a.mu.Unlock()
			return r, nil
		}
		a.config.Log.Info("Could not register; trying again.", "error", err.Error())
		if err := a.wait(ctx, a.config.Timings.BeatInterval); err != nil {
			return nil, err
		}
	}
}

func (a *Agent) beatOnce(ctx context.Context, r beater, c ownership.Configuration, n int64) error {
	region := a.config.Region
	gate := c.Gates[region]
	if !gate.Open {
		want := ownership.Ask{Generation: gate.Generation, Incarnation: r.Incarnation()}
		if have, asked := c.Asks[region]; asked && have == want {
			return nil
		}
		_, err := r.Ask(ctx, c)
		return err
	}
	// One call that hangs must leave time for several others within the lease.
	ctx, cancel := context.WithTimeout(ctx, a.config.Timings.RegionLease/8)
	defer cancel()
	t0 := a.config.Clock.Boottime()
	revision, err := r.Beat(ctx, c, n)
	if err != nil {
		return err
	}
	a.mu.Lock()
	// The gate may have been closed since; then the lease of this beat has run out already.
	// Nor does a view give one that has an epoch which the region may have seen in another store.
	if a.newestGate() == gate && a.refused == nil && (a.config.AboveEpoch == 0 || a.conf.View.Epoch > a.config.AboveEpoch) {
		a.extendLease(t0 + a.config.Timings.RegionLease)
	}
	a.mu.Unlock()
	a.noteCommitted(revision)
	return nil
}

// extendLease extends the lease, and has waiting gateways answered if it had run short: those may
// have less left than another wait takes. The caller holds the lock.
func (a *Agent) extendLease(until time.Duration) {
	short := a.leaseUntil-a.config.Clock.Boottime() < a.config.Timings.RegionLease/2
	a.leaseUntil = max(a.leaseUntil, until)
	if short && a.renewed != nil {
		close(a.renewed)
		a.renewed = nil
	}
}

// leaseRenewed returns a channel that is closed when the lease is next extended after running short.
func (a *Agent) leaseRenewed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.renewed == nil {
		a.renewed = make(chan struct{})
	}
	return a.renewed
}

// afterWrite logs what went wrong. It returns an error only if the agent must end.
func (a *Agent) afterWrite(err error) error {
	var refused *coordination.GuardError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &refused) && refused.IsGone(coordination.GuardAgent):
		return errUnregistered
	case errors.As(err, &refused) && refused.Has(coordination.GuardAgent):
		return fmt.Errorf("region %s: %w", a.config.Region, ErrReplaced)
	case errors.Is(err, coordination.ErrGuard):
		a.config.Log.Info("A write to the coordination store was refused; reading again.", "error", err.Error())
		a.readAgain()
		return nil
	default:
		a.config.Log.Info("A write to the coordination store failed; deciding again.", "error", err.Error())
		return nil
	}
}
