package agent

import (
	"context"
	"errors"

	"multiactive.dev/operator/internal/ownership"
)

// errNotRegistered is why nothing can be written yet: another agent may act for the region.
var errNotRegistered = errors.New("the agent is not registered in the coordination store yet")

// PutTrust says what the region's gateways show others and whom they believe, if the store has something else.
func (a *Agent) PutTrust(ctx context.Context, t ownership.Trust) error {
	r := a.registered()
	if r == nil {
		return errNotRegistered
	}
	_, err := r.PutTrust(ctx, t)
	a.storeAnswered(err)
	return err
}

// RoutingTaken reports whether every gateway that has asked of late acts on routing in which everything is that
// was decided up to a revision of the store.
func (a *Agent) RoutingTaken(decided int64) bool {
	p := a.publisher
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.Revision < decided {
		return false
	}
	for service, e := range p.entries {
		for _, ack := range a.acks.of(service) {
			if ack.Version != e.version {
				return false
			}
		}
	}
	return true
}
