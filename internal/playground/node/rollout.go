package node

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
)

// member is one Pod of a Deployment as the rollout sees it.
type member struct {
	name    string
	current bool // made from the present template
	ready   bool
}

// step is what a Deployment needs now: Pods to start from the present template, and Pods to end.
type step struct {
	start int
	stop  []string
}

// next decides the next step of a Deployment. With old Pods about it starts one new Pod at a time and
// ends an old one only for a new one that is ready, so that a template that never gets ready replaces
// nothing; Recreate ends all old Pods first. stopping counts the Pods that are on their way out.
func next(d *appsv1.Deployment, members []member, stopping int) step {
	desired := int(ptr.Deref(d.Spec.Replicas, 1))
	fresh, old, ready := sorted(members)
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType && (len(old) > 0 || stopping > 0) {
		return step{stop: names(old)}
	}
	var out step
	if surplus := len(fresh) - desired; surplus > 0 {
		out.stop = names(fresh[:surplus])
	}
	limit := desired
	if len(old) > 0 {
		limit++ // surge
	}
	if total := len(fresh) + len(old); len(fresh) < desired {
		out.start = max(0, min(desired-len(fresh), limit-total))
	}
	for _, m := range old {
		switch {
		case !m.ready && len(members)-len(out.stop) > 1: // serves nobody
		case m.ready && ready > desired:
			ready--
		case desired == 0:
		default:
			continue
		}
		out.stop = append(out.stop, m.name)
	}
	return out
}

// sorted splits the Pods into those of the present template and the others, those first that serve
// nobody, and counts the ready ones.
func sorted(members []member) (fresh, old []member, ready int) {
	for _, m := range members {
		if m.current {
			fresh = append(fresh, m)
		} else {
			old = append(old, m)
		}
		ready += btoi(m.ready)
	}
	unreadyFirst := func(a, b member) int {
		return cmp.Or(cmp.Compare(btoi(a.ready), btoi(b.ready)), cmp.Compare(a.name, b.name))
	}
	slices.SortFunc(fresh, unreadyFirst)
	slices.SortFunc(old, unreadyFirst)
	return fresh, old, ready
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func names(members []member) []string {
	out := make([]string, 0, len(members))
	for _, m := range members {
		out = append(out, m.name)
	}
	return out
}
