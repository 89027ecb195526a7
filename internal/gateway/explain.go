package gateway

import "fmt"

// explain words a refusal for the user.
func (ex *exchange) explain(d decision) *problem {
	r := ex.snap.router
	if d.reason == ReasonUnmatched {
		return problemOf(d.reason, "the service declares no flow for %s on this path, and refuses such requests; "+
			"add a flow to the MultiActiveService", ex.r.Method)
	}
	home := noRegion
	if ex.flow.home {
		home = r.homeOf(ex.flow, ex.slot)
	}
	p := &problem{reason: d.reason, detail: r.describe(d, home)}
	if home != noRegion {
		p.region = r.regions[home].Name
	}
	return p
}

// describe says in words why a decision was taken.
func (r *Router) describe(d decision, home int) string {
	name := ""
	if home != noRegion {
		name = r.title(home)
	}
	switch d.reason { //nolint:exhaustive // the others are no decisions of the router and say enough by their title
	case ReasonShed:
		return "the feature is switched off for everyone while a region is recovered"
	case ReasonClosed:
		if r.cfg.ClosedReason != "" {
			return "home requests of this service are closed: " + r.cfg.ClosedReason
		}
		return "home requests of this service are closed while owners change"
	case ReasonHomeLost:
		return fmt.Sprintf("region %s is lost, and no other region may answer this request for it", name)
	case ReasonHomeReturning:
		return fmt.Sprintf("region %s is back and may not answer this request yet", name)
	case ReasonHomeDrained:
		return fmt.Sprintf("region %s is drained, and no other region may answer this request for it", name)
	case ReasonHomeAbsent:
		return fmt.Sprintf("region %s has not joined the other regions yet", name)
	case ReasonNoEndpoint:
		return fmt.Sprintf("region %s owns this request, and its endpoint is not declared; add it to the MultiActiveService", name)
	case ReasonHomeExcluded:
		return fmt.Sprintf("region %s is excluded for this service, and no other region may answer this request for it", name)
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
	return reasons[d.reason].title
}

// title is a region's name with its display name.
func (r *Router) title(i int) string {
	if d := r.regions[i].DisplayName; d != "" && d != r.regions[i].Name {
		return fmt.Sprintf("%s (%s)", r.regions[i].Name, d)
	}
	return r.regions[i].Name
}
