package gateway

// action is what to do with a request.
type action int

const (
	// actLocal sends it to the local application as an any-region request.
	actLocal action = iota
	// actHome sends it to the local application with the fencing token.
	actHome
	// actStale sends it to the local application and marks the answer as stale.
	actStale
	// actForward sends it to the owner's gateway.
	actForward
	// actWait waits for another configuration.
	actWait
	// actRefuse refuses it.
	actRefuse
)

// question is all that a decision depends on besides the configuration.
type question struct {
	flow *flow
	// slot of the key, or pinnedSlot; only for home flows.
	slot int
	// safe requests do not write.
	safe bool
	// hop is set when another gateway forwarded the request.
	hop *hop
	// leased: this gateway holds the region's lease.
	leased bool
	// waited: the time to wait for an owner has passed.
	waited bool
}

// decision says what to do and why.
type decision struct {
	action action
	// region to forward to.
	region int
	reason Reason
}

// decide routes one request. It is pure.
func (r *Router) decide(q question) decision {
	switch {
	case q.flow.reject:
		return decision{action: actRefuse, reason: ReasonUnmatched}
	case q.flow.shed:
		return decision{action: actRefuse, reason: ReasonShed}
	case !q.flow.home:
		return decision{action: actLocal}
	}
	owner, why := r.owner(r.homeOf(q.flow, q.slot))
	switch {
	case owner == r.self && q.leased:
		return decision{action: actHome}
	case owner == r.self:
		return r.onHomeLoss(q, ReasonFenced)
	case owner == noRegion && transient(why) && !q.waited:
		return decision{action: actWait, reason: why}
	case owner == noRegion:
		return r.onHomeLoss(q, why)
	default:
		return r.elsewhere(q, owner)
	}
}

// elsewhere routes a request whose owner is another region.
func (r *Router) elsewhere(q question, owner int) decision {
	switch {
	case q.hop != nil && q.hop.epoch > r.cfg.Epoch && !q.waited:
		// The sender has a newer view, which is on its way here too.
		return decision{action: actWait, reason: ReasonSecondHop}
	case q.hop != nil:
		return decision{action: actRefuse, region: owner, reason: ReasonSecondHop}
	case r.regions[owner].endpoint == nil:
		return r.onHomeLoss(q, ReasonNoEndpoint)
	case !r.mayForward():
		return r.onHomeLoss(q, ReasonNoPeerKey)
	default:
		return decision{action: actForward, region: owner}
	}
}

// transient reports whether the lack of an owner usually ends within seconds. A region may be
// returning for hours, so requests do not wait for that.
func transient(why Reason) bool { return why == ReasonClosed }

// onHomeLoss serves safe requests of read-only flows from the local copy and refuses the rest.
func (r *Router) onHomeLoss(q question, why Reason) decision {
	if q.flow.readOnly && q.safe {
		return decision{action: actStale, reason: why}
	}
	return decision{action: actRefuse, reason: why}
}
