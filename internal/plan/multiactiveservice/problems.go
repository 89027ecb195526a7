package multiactiveservice

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// problem is one region's contribution to a condition.
type problem struct {
	// region is empty for a problem of the whole service, or whose message names the region.
	region string
	status metav1.ConditionStatus
	reason string
	// message does not begin with the region, so that what several regions say can be told once.
	message string
}

// no is a problem that makes a condition False.
func no(region, reason, message string) problem {
	return problem{region: region, status: metav1.ConditionFalse, reason: reason, message: message}
}

// text is what a problem says by itself.
func (p problem) text() string { return told([]problem{p})[0] }

// settle sets a condition from the problems of the regions: False before Unknown, the first
// reason, all messages.
func (r reporter) settle(kind string, problems []problem, reason, message string) {
	if len(problems) == 0 {
		r.set.True(kind, reason, "%s", message)
		return
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return rank(a) - rank(b) })
	r.set.Put(kind, problems[0].status, problems[0].reason, strings.Join(told(problems), "; "))
}

// rank orders problems: what has to be mended, what is on its way, what is not known.
func rank(p problem) int {
	switch {
	case p.status == metav1.ConditionFalse && p.reason != v1alpha1.ReasonProgressing:
		return 0
	case p.status == metav1.ConditionFalse:
		return 1
	default:
		return 2
	}
}

// told returns the problems' texts in order; what several regions say alike is told once, with all
// of their names.
func told(problems []problem) []string {
	type group struct {
		said    problem
		regions []string
	}
	var groups []group
	for _, p := range problems {
		region := p.region
		p.region = ""
		i := slices.IndexFunc(groups, func(g group) bool { return g.said == p && (len(g.regions) > 0) == (region != "") })
		switch {
		case i < 0 && region == "":
			groups = append(groups, group{said: p})
		case i < 0:
			groups = append(groups, group{said: p, regions: []string{region}})
		case region != "":
			groups[i].regions = append(groups[i].regions, region)
		}
	}
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = g.said.message
		if len(g.regions) > 0 {
			out[i] = strings.Join(g.regions, ", ") + ": " + out[i]
		}
	}
	return out
}
