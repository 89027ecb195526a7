package regional

import (
	"slices"

	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
)

// FeaturePreparedFor is reported by members that act on workload.preparedFor.
const FeaturePreparedFor = "PreparedFor"

// Scales reports whether a workload grows while another region of the service is away.
func Scales(w *v1alpha1.WorkloadSlice) bool {
	return w.Survivors == v1alpha1.SurvivorsScale && Declared(w) != nil
}

// Declared returns how many replicas are declared, of an autoscaled workload the fewest; nil if others scale.
func Declared(w *v1alpha1.WorkloadSlice) *int32 {
	if w.Autoscaling != nil {
		return ptr.To(max(w.Autoscaling.MinReplicas, 1))
	}
	return w.Replicas
}

// Replicas returns how many replicas the application has in the slice's region: the declared ones, times
// the service's whole weight over that of the regions that carry its load, rounded up. Of an autoscaled
// workload they are the fewest, and never more than it may have. The hub reckons with it too before it has
// a region drained.
func Replicas(spec *v1alpha1.RegionalServiceSpec, c ownership.Configuration) *int32 {
	declared := Declared(&spec.Workload)
	record := c.Services[spec.ServiceID]
	if !Scales(&spec.Workload) || !flows.Owns(c, record, spec.Region) {
		return declared
	}
	own, _ := OwnershipInForce(spec, record)
	all, left := Load(own, func(region string) bool {
		about := region != spec.Region && slices.Contains(spec.Workload.PreparedFor, region)
		return !about && flows.Owns(c, record, region)
	})
	if left == 0 {
		return declared
	}
	n := int32((int64(*declared)*all + left - 1) / left) //nolint:gosec // weights and replicas are bounded by the API
	if a := spec.Workload.Autoscaling; a != nil {
		n = min(n, a.MaxReplicas)
	}
	return &n
}

// Load returns the service's whole load and how much of it the regions were sized for that carry it.
func Load(own v1alpha1.OwnershipSlice, carries func(region string) bool) (all, left int64) {
	var regions, present int64
	for _, r := range own.Regions {
		all, regions = all+int64(r.Weight), regions+1
		if carries(r.Name) {
			left, present = left+int64(r.Weight), present+1
		}
	}
	if left == 0 { // whoever is left has no weight: all are alike
		return regions, present
	}
	return all, left
}
