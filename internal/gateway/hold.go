package gateway

import "context"

// heldShare is the part of the requests under way that may wait for an owner: beyond, they are refused
// at once. Without a bound, a change of owners that takes long would leave no room for requests that any
// region serves.
const heldShare = 2

// hold is a request that waits for an owner. Nothing of it has been sent anywhere.
type hold struct {
	g       *Gateway
	timeout <-chan struct{}
	stop    func() bool
}

// hold begins to wait, for at most OwnerWait in all.
func (g *Gateway) hold() *hold {
	h := &hold{g: g}
	if g.held.Add(1) <= max(g.options.MaxInFlight/heldShare, 1) {
		h.timeout, h.stop = after(g.options.Clock, g.options.OwnerWait)
	}
	return h
}

// wait returns true when the configuration was replaced, and false when there is nothing left to wait
// for.
func (h *hold) wait(ctx context.Context, replaced <-chan struct{}) bool {
	if h.timeout == nil {
		return false
	}
	select {
	case <-replaced:
		return true
	case <-h.timeout:
	case <-ctx.Done():
	}
	return false
}

func (h *hold) release() {
	if h == nil {
		return
	}
	h.g.held.Add(-1)
	if h.stop != nil {
		h.stop()
	}
}
