package agent

import (
	"context"
	"errors"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// ErrNotLeading is returned for a proposal that only the leader's hub may make (peer mode).
var ErrNotLeading = errors.New("this region's agent does not lead")

// Ballot returns the ballot of this agent's term, once the store has it, and false while the agent does
// not lead, as far as it knows. What is written with a ballot is refused once there is a higher one.
func (a *Agent) Ballot() (int64, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.term == nil || a.registration == nil {
		return 0, false
	}
	b := a.conf.Ballot
	return b.N, b.Leader == a.identity() && b.N > a.ballotFloor
}

// RaiseBallot has this agent, while it leads, take a ballot above one that was met: a store that was
// adopted does not know those before it.
func (a *Agent) RaiseBallot(above int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ballotFloor = max(a.ballotFloor, above)
}

// ballot returns what its next ballot has to be above, and whether this agent, which leads, needs one.
func (a *Agent) ballot(c ownership.Configuration) (floor int64, due bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ballotFloor, a.config.Ballots && (c.Ballot.Leader != a.identity() || c.Ballot.N <= a.ballotFloor)
}

// PutRegionIntent proposes a region while this agent leads.
func (a *Agent) PutRegionIntent(ctx context.Context, i ownership.RegionIntent) (int64, error) {
	return a.leading(func(t *coordination.Term) (int64, error) { return t.PutRegionIntent(ctx, i) })
}

// DeleteRegionIntent withdraws a region's proposal while this agent leads.
func (a *Agent) DeleteRegionIntent(ctx context.Context, name string) (int64, error) {
	return a.leading(func(t *coordination.Term) (int64, error) { return t.DeleteRegionIntent(ctx, name) })
}

// PutServiceIntent proposes a service while this agent leads.
func (a *Agent) PutServiceIntent(ctx context.Context, i ownership.ServiceIntent) (int64, error) {
	return a.leading(func(t *coordination.Term) (int64, error) { return t.PutServiceIntent(ctx, i) })
}

// DeleteServiceIntent withdraws a service's proposal while this agent leads.
func (a *Agent) DeleteServiceIntent(ctx context.Context, uid string) (int64, error) {
	return a.leading(func(t *coordination.Term) (int64, error) { return t.DeleteServiceIntent(ctx, uid) })
}

func (a *Agent) leading(write func(*coordination.Term) (int64, error)) (int64, error) {
	a.mu.Lock()
	term := a.term
	a.mu.Unlock()
	if term == nil {
		return 0, ErrNotLeading
	}
	return write(term)
}
