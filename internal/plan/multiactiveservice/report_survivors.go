package multiactiveservice

import (
	"fmt"
	stdslices "slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/plan/flows"
)

// scaling tells once, for all regions, that they are being scaled up for the load of others, in the place
// of what their members say of it: that they have fewer replicas than they want.
func (r reporter) scaling(problems []problem) []problem {
	var points []string
	rest := stdslices.DeleteFunc(problems, func(p problem) bool {
		point, scaling := r.scalingIn(p)
		if scaling {
			points = append(points, point)
		}
		return scaling
	})
	if len(points) == 0 {
		return rest
	}
	return append(rest, no("", v1alpha1.ReasonSurvivorsScaling, "survivors are scaling for the load of "+
		strings.Join(r.relieved(), ", ")+": "+strings.Join(points, ", ")))
}

// scalingIn says how far a survivor is that lacks nothing but time.
func (r reporter) scalingIn(p problem) (point string, scaling bool) {
	if p.region == "" || p.reason != v1alpha1.ReasonReplicasUnavailable && p.reason != v1alpha1.ReasonProgressing {
		return "", false
	}
	slice := r.seen.region(p.region).Slice
	if slice == nil || foreign(r.mas, slice) || !regional.Scales(&slice.Spec.Workload) {
		return "", false
	}
	w := slice.Status.Workload
	if w == nil || w.Desired <= *regional.Declared(&slice.Spec.Workload) || w.Ready >= w.Desired {
		return "", false
	}
	return fmt.Sprintf("%s %d/%d", p.region, w.Ready, w.Desired), true
}

// relieved names the regions whose load the others have, or are about to have.
func (r reporter) relieved() []string {
	record, _ := r.seen.record(string(r.mas.UID))
	var out []string
	for _, w := range r.inForce().Regions {
		if w.Weight > 0 && (!flows.Owns(r.seen.Configuration, record, w.Name) || stdslices.Contains(r.seen.PreparedFor, w.Name)) {
			out = append(out, w.Name)
		}
	}
	if len(out) == 0 {
		return []string{"a region that owns its keys again"}
	}
	return out
}
