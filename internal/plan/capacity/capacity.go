// Package capacity reckons whether the regions that an order gives keys to have the replicas for them:
// values in, values out. The service's controller has the survivors of a drain scaled up by it, the
// order's holds the order back by it. It must never decide who owns what, or scale anything itself.
package capacity

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
)

// Service is a service as the hub sees it in its regions.
type Service struct {
	Declared *v1alpha1.MultiActiveService
	// Slices by region: nil where the region's cluster has none, absent where the hub cannot use it.
	Slices map[string]*v1alpha1.RegionalService
}

// PreparedFor returns the regions whose pending drains, or drills, a service's survivors are scaled up for, sorted.
// What its order's controller has not looked at yet, and may refuse, is not.
func PreparedFor(mas *v1alpha1.MultiActiveService, orders []v1alpha1.Operation) []string {
	if !scales(mas) || !mas.DeletionTimestamp.IsZero() {
		return nil
	}
	own := desired.Ownership(mas)
	var out []string
	for i := range orders {
		o := &orders[i]
		pending := o.Status.State == v1alpha1.OperationPending || o.Status.State == v1alpha1.OperationRunning
		about := o.Spec.Service == nil || *o.Spec.Service == v1alpha1.ServiceKey{Namespace: mas.Namespace, Name: mas.Name}
		drains := o.Spec.Type == v1alpha1.OperationDrain || o.Spec.Type == v1alpha1.OperationDrill
		if drains && pending && about && o.DeletionTimestamp.IsZero() && weight(own, o.Spec.Region) > 0 {
			out = append(out, o.Spec.Region)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Unready names the services that have no ready replica in a region which is to own their keys. What the
// hub cannot look at is not named: who leads the regions has the region's own word.
func Unready(services []Service, c ownership.Configuration, region string) []string {
	var out []string
	for _, s := range services {
		slice, _ := s.in(region)
		if slice == nil || !s.agreed(c) || weight(s.inForce(c), region) == 0 {
			continue
		}
		if w := slice.Status.Workload; w != nil && w.Desired > 0 && w.Ready == 0 {
			out = append(out, s.at(region)+standing(slice, w.Desired))
		}
	}
	slices.Sort(out)
	return out
}

func scales(mas *v1alpha1.MultiActiveService) bool {
	return mas.Spec.Failover != nil && mas.Spec.Failover.Survivors == v1alpha1.SurvivorsScale
}

// agreed reports whether keys of the service are owned at all.
func (s Service) agreed(c ownership.Configuration) bool {
	record, known := c.Services[string(s.Declared.UID)]
	return known && !record.Deleted && s.Declared.DeletionTimestamp.IsZero()
}

// inForce returns the ownership in force; the declared one where nobody has it.
func (s Service) inForce(c ownership.Configuration) v1alpha1.OwnershipSlice {
	for _, r := range s.Declared.Spec.Regions {
		if slice, _ := s.in(r.Name); slice != nil {
			if own, ok := regional.OwnershipInForce(&slice.Spec, c.Services[string(s.Declared.UID)]); ok {
				return own
			}
		}
	}
	return desired.Ownership(s.Declared)
}

// in returns the service's slice in a region, nil when the region has none, or another's of that name;
// reached is false while the hub cannot tell.
func (s Service) in(region string) (slice *v1alpha1.RegionalService, reached bool) {
	slice, reached = s.Slices[region]
	if slice != nil && slice.Spec.ServiceID != string(s.Declared.UID) {
		return nil, reached
	}
	return slice, reached
}

// owns reports whether a region owns keys of the service, and will once the change under way is done.
func (s Service) owns(c ownership.Configuration, region string) bool {
	return flows.Owns(c, c.Services[string(s.Declared.UID)], region)
}

func (s Service) name() string { return s.Declared.Namespace + "/" + s.Declared.Name }

func (s Service) at(region string) string { return s.name() + " in " + region + ": " }

// standing says how many replicas are ready of those that are wanted, and what is wrong if it is more than
// that they start.
func standing(slice *v1alpha1.RegionalService, want int32) string {
	ready := int32(0)
	if slice.Status.Workload != nil {
		ready = slice.Status.Workload.Ready
	}
	out := fmt.Sprintf("%d/%d ready", ready, want)
	c := meta.FindStatusCondition(slice.Status.Conditions, v1alpha1.ConditionWorkloadAvailable)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == v1alpha1.ReasonProgressing || c.Reason == v1alpha1.ReasonReplicasUnavailable {
		return out
	}
	return out + " (" + c.Reason + ")"
}

func weight(own v1alpha1.OwnershipSlice, region string) int32 {
	for _, r := range own.Regions {
		if r.Name == region {
			return r.Weight
		}
	}
	return 0
}

// listed bounds how many of its points a message has.
const listed = 10

// List writes points for a message.
func List(points []string) string {
	if len(points) > listed {
		return strings.Join(points[:listed], "; ") + fmt.Sprintf("; and %d more", len(points)-listed)
	}
	return strings.Join(points, "; ")
}
