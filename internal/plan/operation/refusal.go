package operation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// refusal says why an order cannot be handed over, "" if it can: what it names is not there. Whether it
// fits how the regions stand is the leader's to say.
func refusal(spec v1alpha1.OperationSpec, seen Seen) (reason, message string) {
	region := seen.Regions[spec.Region]
	switch {
	case region == nil:
		return v1alpha1.ReasonOrderInvalid, fmt.Sprintf("spec.region: there is no Region %s; there are: %s. Order anew with one of these",
			spec.Region, order.List(slices.Sorted(maps.Keys(seen.Regions))))
	case region.Spec.Role == v1alpha1.RegionRoleWitness:
		return v1alpha1.ReasonOrderInvalid, fmt.Sprintf("spec.region: Region %s is a witness, which owns no keys, so there is nothing to do. "+
			"Order anew with a region of role Active", spec.Region)
	case spec.Service == nil:
		return unfit(spec, seen, ownership.ServiceRecord{})
	case spec.Type == v1alpha1.OperationDeclareLost:
		return v1alpha1.ReasonOrderInvalid, "spec.service: DeclareLost is about a region as a whole. Order anew without a service"
	case seen.Service == nil:
		return v1alpha1.ReasonOrderInvalid, noService(spec.Service)
	case !seen.Service.DeletionTimestamp.IsZero():
		return v1alpha1.ReasonOrderRefused, fmt.Sprintf("spec.service: MultiActiveService %s is being deleted, so nobody will own its keys. "+
			"Its condition Ready says what the deletion waits for", key(spec.Service))
	}
	if names := regionsOf(seen.Service); !slices.Contains(names, spec.Region) {
		return v1alpha1.ReasonOrderInvalid, fmt.Sprintf("spec.region: MultiActiveService %s does not run in region %s; it runs in: %s. "+
			"Order anew with one of these", key(spec.Service), spec.Region, order.List(names))
	}
	return unfit(spec, seen, seen.Configuration.Services[string(seen.Service.UID)])
}

// unfit says why an order would change nothing though it waits, or though the leader would call it done.
func unfit(spec v1alpha1.OperationSpec, seen Seen, service ownership.ServiceRecord) (reason, message string) {
	rec, known := seen.Configuration.View.Regions[spec.Region]
	drained := rec.State == ownership.RegionDrained || slices.Contains(service.Excluded, spec.Region)
	switch {
	case spec.Type == v1alpha1.OperationHandback && drained:
		return v1alpha1.ReasonOrderRefused, fmt.Sprintf("spec.type: region %s was drained. Order this instead: %s", spec.Region,
			order.Command(v1alpha1.OperationUndrain, spec.Region, drainedService(spec, rec)))
	case spec.Type == v1alpha1.OperationApproveFailover && known && rec.State != ownership.RegionLost:
		return v1alpha1.ReasonOrderRefused, fmt.Sprintf("spec.type: region %s is not lost, so there is nothing to approve. Condition Serving of Region "+
			"%s says how the others see it", spec.Region, spec.Region)
	}
	return "", ""
}

// drainedService returns the service that the region was drained of, nil if it was of all.
func drainedService(spec v1alpha1.OperationSpec, rec ownership.RegionRecord) *v1alpha1.ServiceKey {
	if rec.State == ownership.RegionDrained {
		return nil
	}
	return spec.Service
}

func noService(k *v1alpha1.ServiceKey) string {
	return fmt.Sprintf("spec.service: there is no MultiActiveService %s; see kubectl get mas -n %s", key(k), k.Namespace)
}

func key(k *v1alpha1.ServiceKey) string { return k.Namespace + "/" + k.Name }

// regionsOf returns the regions that a service declares, or was reported in, in order.
func regionsOf(mas *v1alpha1.MultiActiveService) []string {
	var out []string
	for _, r := range mas.Spec.Regions {
		out = append(out, r.Name)
	}
	for _, r := range mas.Status.Regions {
		if !slices.Contains(out, r.Name) {
			out = append(out, r.Name)
		}
	}
	return out
}

func hasFinalizer(o *v1alpha1.Operation) bool { return slices.Contains(o.Finalizers, Finalizer) }

// abandonable returns the regions of a service that being deleted may wait for: those that the order
// names and whose clusters cannot be reached.
func abandonable(spec v1alpha1.OperationSpec, seen Seen) []string {
	var out []string
	for _, name := range regionsOf(seen.Service) {
		region := seen.Regions[name]
		if region != nil && region.Spec.Role != v1alpha1.RegionRoleWitness && (spec.Region == "" || spec.Region == name) && !reachable(region) {
			out = append(out, name)
		}
	}
	return out
}

// Abandoned returns the regions that the deletion of a service does not wait for.
func Abandoned(mas *v1alpha1.MultiActiveService) []string {
	return slices.DeleteFunc(strings.Split(mas.Annotations[v1alpha1.AnnotationAbandoned], ","), func(s string) bool { return s == "" })
}
