package regionalservice

import (
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
)

// scales reports whether the service's survivors grow while a region is away.
func scales(rs *v1alpha1.RegionalService) bool {
	return rs.Spec.Workload.Survivors == v1alpha1.SurvivorsScale && rs.Spec.Workload.Replicas != nil
}

// survivorReplicas returns how many replicas the application has here: the declared ones, times the
// service's whole weight over that of the regions that are not away, rounded up.
func survivorReplicas(rs *v1alpha1.RegionalService, c ownership.Configuration) *int32 {
	declared := rs.Spec.Workload.Replicas
	own, _ := regional.OwnershipInForce(&rs.Spec, c.Services[rs.Spec.ServiceID])
	if !scales(rs) || away(c, rs.Spec.Region) {
		return declared
	}
	var all, left, regions, present int64
	for _, r := range own.Regions {
		all, regions = all+int64(r.Weight), regions+1
		if !away(c, r.Name) {
			left, present = left+int64(r.Weight), present+1
		}
	}
	if left == 0 { // whoever is left has no weight: all are alike
		all, left = regions, present
	}
	if left == 0 {
		return declared
	}
	return ptr.To(int32((int64(*declared)*all + left - 1) / left)) //nolint:gosec // weights and replicas are bounded by the API
}

// away reports whether a region's load is elsewhere: it is lost, drained, or back and without its users.
func away(c ownership.Configuration, region string) bool {
	rec, known := c.View.Regions[region]
	switch rec.State {
	case ownership.RegionLost, ownership.RegionDrained:
		return true
	case ownership.RegionReturning:
		return rec.Incident != ""
	case ownership.RegionServing:
	}
	return !known
}
