package gateway

import "fmt"

// explain words a refusal for the user.
func (ex *exchange) explain(d decision) *problem {
	r := ex.snap.router
	if d.reason == ReasonUnmatched {
		return problemOf(d.reason, "the service declares no flow for %s on this path, and refuses such requests; "+
			"add a flow to the MultiActiveService", ex.r.Method)
	}
	about := noRegion
	if ex.flow.home {
		about = r.about(d.reason, &r.holders[ex.slot])
	}
	p := &problem{reason: d.reason, detail: r.describe(d, about)}
	if about != noRegion {
		p.region = r.regions[about].Name
	}
	return p
}

// about returns the region that a decision's reason is about: the owner, or who keeps the slot from having
// one that may serve it.
func (r *Router) about(why Reason, h *holder) int {
	if h.owner != noRegion && why != ReasonClosed {
		switch why { //nolint:exhaustive // the others are about the home
		case ReasonFenced, ReasonSecondHop, ReasonNoEndpoint, ReasonNoPeerKey:
			return int(h.owner)
		}
	}
	if reason, region := r.whyHome(h); reason == why {
		return region
	}
	return int(h.home)
}

// describe says in words why a decision was taken, about a region.
func (r *Router) describe(d decision, about int) string {
	name := ""
	if about != noRegion {
		name = r.title(about)
	}
	switch d.reason { //nolint:exhaustive // the others are no decisions of the router and say enough by their title
	case ReasonShed:
		return "the feature is switched off for everyone while a region is recovered"
	case ReasonClosed:
		if r.cfg.ClosedReason != "" {
			return "home requests of this service are closed: " + r.cfg.ClosedReason
		}
		return "home requests of this service are closed while owners change"
	case ReasonClosing:
		return "the owner of this request is changing; nothing was carried out; try again"
	case ReasonNoEndpoint:
		return fmt.Sprintf("region %s owns this request, and its endpoint is not declared; add it to the MultiActiveService", name)
	case ReasonNoHome:
		return "no region of the service has a weight, so none may answer this request"
	case ReasonFenced:
		return fmt.Sprintf("region %s owns this request, and this gateway holds no lease of it now", name)
	case ReasonSecondHop:
		return fmt.Sprintf("a gateway sent this request here, and region %s owns it as seen from here; their views differ for a moment; try again",
			r.title(d.region))
	case ReasonNoPeerKey:
		return fmt.Sprintf("region %s owns this request, and this gateway has no key to forward it with", name)
	}
	if about != noRegion {
		return r.describeHome(d.reason, about, name)
	}
	return reasons[d.reason].title
}

// describeHome says what keeps a region from answering requests that it is home to, or was.
func (r *Router) describeHome(why Reason, home int, name string) string {
	const others = "and no other region may answer this request for it"
	switch why { //nolint:exhaustive // the others are not about homes and say enough by their title
	case ReasonHomeLost:
		if r.regions[home].Withheld {
			return fmt.Sprintf("region %s is lost, and no other region takes over from it yet", name)
		}
		return fmt.Sprintf("region %s is lost, %s", name, others)
	case ReasonHomeReturning:
		return fmt.Sprintf("region %s is back and may not answer this request yet", name)
	case ReasonHomeDrained:
		return fmt.Sprintf("region %s is drained, %s", name, others)
	case ReasonHomeAbsent:
		return fmt.Sprintf("region %s does not take part yet", name)
	case ReasonHomeExcluded:
		return fmt.Sprintf("region %s is excluded for this service, %s", name, others)
	}
	return reasons[why].title
}

// title is a region's name with its display name.
func (r *Router) title(i int) string {
	if d := r.regions[i].DisplayName; d != "" && d != r.regions[i].Name {
		return fmt.Sprintf("%s (%s)", r.regions[i].Name, d)
	}
	return r.regions[i].Name
}
