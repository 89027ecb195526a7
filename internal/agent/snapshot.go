package agent

import (
	"context"
	"errors"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// Snapshot returns the latest configuration, and false before the first. Without the store it
// stays the last one.
func (a *Agent) Snapshot() (ownership.Configuration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conf, a.have
}

// Subscribe returns a channel that receives after every new configuration; news that come faster
// than they are received are one. The function ends the subscription.
func (a *Agent) Subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subscribers[c] = struct{}{}
	if a.have {
		c <- struct{}{}
	}
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.subscribers, c)
	}
}

// Lease returns how long the region may go on accepting home writes; 0 without a lease (R3).
func (a *Agent) Lease() time.Duration {
	now := a.config.Clock.Boottime()
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.leaseUntil-now, 0)
}

// StoreReachable reports whether the coordination store answered within downAfter, and otherwise
// what it is refused for, if it is (coordination.ErrOtherStore).
func (a *Agent) StoreReachable() (bool, error) {
	now := a.config.Clock.Boottime()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused != nil {
		return false, a.refused
	}
	return a.answered && now-a.lastAnswer <= a.config.Timings.DownAfter, nil
}

// refusesStore reports whether the store is not the one that the region has followed (R2).
func (a *Agent) refusesStore() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused != nil
}

// watch keeps the snapshot up to date.
func (a *Agent) watch(ctx context.Context) error {
	for {
		attempt, cancel := context.WithCancel(ctx)
		a.mu.Lock()
		a.restartWatch, a.shown = cancel, false
		a.mu.Unlock()
		err := a.config.Store.Watch(attempt, a.deliver)
		restarted := attempt.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.storeAnswered(err)
		if restarted {
			continue // at most once for each beat that it has fallen behind
		}
		a.config.Log.Info("The watch of the coordination store ended; starting over.", "error", err.Error())
		if err := a.wait(ctx, a.config.Timings.BeatInterval); err != nil {
			return err
		}
	}
}

// deliver takes a configuration in. One of a lower revision than the last is not taken (R2), nor one that
// nobody can have agreed on.
func (a *Agent) deliver(c ownership.Configuration) {
	now := a.config.Clock.Boottime()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.have && (c.Revision < a.conf.Revision || c.ClusterID != a.conf.ClusterID) {
		return
	}
	follows := a.shown
	a.shown, a.delivered = true, c.Revision
	a.lastAnswer, a.answered, a.refused = now, true, nil
	a.noteDamage(a.examine(&c, follows))
	if a.damaged == nil {
		a.conf, a.have = c, true
	}
	if !a.newestGate().Open {
		a.leaseUntil = 0 // R5: an agent whose gate is closed holds nothing
	}
	if a.damaged != nil {
		return
	}
	for s := range a.subscribers {
		select {
		case s <- struct{}{}:
		default:
		}
	}
}

// storeAnswered notes the outcome of a call. An answer of another store ends the lease (R2); a
// refused write is an answer.
func (a *Agent) storeAnswered(err error) {
	now := a.config.Clock.Boottime()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case errors.Is(err, coordination.ErrOtherStore):
		a.refused, a.leaseUntil = err, 0
		a.startWatchOver() // while nothing is written, its reads tell whether that is over
	case err == nil, errors.Is(err, coordination.ErrGuard):
		a.lastAnswer, a.answered = now, true
	}
}

// noteCommitted notes the revision of a beat, and starts the watch over if it has not shown the
// one before yet: its connection may swallow what is sent.
func (a *Agent) noteCommitted(revision int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.delivered < a.previous && a.startWatchOver() {
		a.config.Log.Info("The watch of the coordination store lags; starting over.",
			"revision", a.delivered, "committed", a.previous)
		a.previous, a.committed = 0, 0
		return
	}
	a.previous, a.committed = a.committed, revision
}

// readAgain starts the watch over with a fresh read, after a write was refused because the snapshot
// is not what the store holds (R1). While that is damaged it is known to differ, and a watch that has not
// missed anything tells what was there.
func (a *Agent) readAgain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.damaged == nil {
		a.startWatchOver()
	}
}

// startWatchOver ends the watch, which then begins with a fresh read, and reports whether it did: a
// watch whose read is still under way goes on. The caller holds the lock.
func (a *Agent) startWatchOver() bool {
	if !a.shown || a.restartWatch == nil {
		return false
	}
	a.restartWatch()
	a.restartWatch = nil
	return true
}

// upToDate reports whether the snapshot shows this agent's last beat but one.
func (a *Agent) upToDate() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.have && a.conf.Revision >= a.previous
}
