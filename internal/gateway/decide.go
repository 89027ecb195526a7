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
	// actDefer keeps it for later.
	actDefer
)

// question is all that a decision depends on besides the configuration.
type question struct {
	flow *flow
	// slot of the key, or the place of pinned data; only for home flows.
	slot int
	// safe requests do not write.
	safe bool
	// hop is set when another gateway forwarded the request.
	hop *hop
	// leased: this gateway holds the region's lease.
	leased bool
	// waited: the time to wait for an owner has passed, or too many wait already.
	waited bool
	// deferrable requests may be kept for later, if their flow lets them.
	deferrable bool
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
	h := &r.holders[q.slot]
	switch {
	case r.cfg.Closed:
		return r.awaited(q, ReasonClosed)
	case h.closing:
		return r.awaited(q, ReasonClosing)
	case h.owner == noRegion:
		why, _ := r.whyHome(h)
		return r.onHomeLoss(q, why)
	case int(h.owner) != r.self:
		return r.elsewhere(q, int(h.owner))
	case !q.leased:
		return r.onHomeLoss(q, ReasonFenced)
	case !h.complete && !q.flow.takeover:
		why, _ := r.whyHome(h)
		return r.onHomeLoss(q, why)
	default:
		return decision{action: actHome}
	}
}

// elsewhere routes a request whose owner is another region. Whether that has everything, it decides by
// its own view; its refusal reaches the user as it is.
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

// awaited is for requests without an owner for a moment only: those that would be refused wait. A region
// may be lost or returning for hours, so requests do not wait for that. Nor does one that a gateway with
// an older view sent here: whoever owns it next, that gateway is about to hear of it.
func (r *Router) awaited(q question, why Reason) decision {
	d := r.onHomeLoss(q, why)
	older := q.hop != nil && q.hop.epoch < r.cfg.Epoch
	switch {
	case d.action != actRefuse && d.action != actDefer:
	case older:
		d.action = actRefuse
	case !q.waited:
		d.action = actWait
	}
	return d
}

// onHomeLoss serves safe requests of read-only flows from the local copy, keeps those that may be kept for
// later, and refuses the rest.
func (r *Router) onHomeLoss(q question, why Reason) decision {
	if q.flow.readOnly && q.safe {
		return decision{action: actStale, reason: why}
	}
	if q.flow.deferral != nil && q.deferrable {
		return decision{action: actDefer, reason: why}
	}
	return decision{action: actRefuse, reason: why}
}
