package regional

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// OwnershipInForce returns the ownership slice that the record names. Without it, it returns the
// first one there is, and false.
func OwnershipInForce(spec *v1alpha1.RegionalServiceSpec, record ownership.ServiceRecord) (v1alpha1.OwnershipSlice, bool) {
	if own, ok := ownershipNamed(spec, record.SpecHash); ok {
		return own, true
	}
	if len(spec.Ownership) == 0 {
		return v1alpha1.OwnershipSlice{}, false
	}
	return spec.Ownership[0], false
}

// ownershipNamed returns the staged slice of a hash, with its policy for unmatched requests.
func ownershipNamed(spec *v1alpha1.RegionalServiceSpec, hash string) (v1alpha1.OwnershipSlice, bool) {
	for _, o := range spec.Ownership {
		if hash != "" && o.Hash == hash {
			if o.Unmatched == nil {
				o.Unmatched = spec.Unmatched
			}
			return o, true
		}
	}
	return v1alpha1.OwnershipSlice{}, false
}

// Closed says why nobody in the region may accept home writes of the service, "" if somebody may. While
// owners change the region must have both ownership specs, and a change of more than regions and
// weights closes the whole service: its requests may map to other slots (R6).
func Closed(spec *v1alpha1.RegionalServiceSpec, c ownership.Configuration) string {
	record, known := c.Services[spec.ServiceID]
	next, named := ownershipNamed(spec, record.SpecHash)
	state, _, closing := c.Before(record)
	switch {
	case !known:
		return "the regions have not agreed on this service yet"
	case record.Deleted:
		return "the service is being deleted"
	case !named:
		return fmt.Sprintf("this region lacks the ownership spec %s that the regions agreed on", record.SpecHash)
	case !closing || state.SpecHash == record.SpecHash:
		return ""
	}
	before, named := ownershipNamed(spec, state.SpecHash)
	switch {
	case !named:
		return fmt.Sprintf("this region lacks the ownership spec %s that was in force until now", state.SpecHash)
	case !sameMapping(before, next):
		return "its keys, flows or unmatched requests are being declared anew"
	}
	return ""
}

// sameMapping reports whether both slices map every request to the same slot.
func sameMapping(a, b v1alpha1.OwnershipSlice) bool {
	return equality.Semantic.DeepEqual(a.Keys, b.Keys) && equality.Semantic.DeepEqual(a.Flows, b.Flows) &&
		equality.Semantic.DeepEqual(unmatched(a.Unmatched), unmatched(b.Unmatched))
}

// before returns the service's regions as they were before the change of owners that is under way, nil
// while none is.
func before(spec *v1alpha1.RegionalServiceSpec, c ownership.Configuration) []ownership.RegionView {
	record := c.Services[spec.ServiceID]
	state, regions, closing := c.Before(record)
	if !closing {
		return nil
	}
	own, _ := ownershipNamed(spec, state.SpecHash)
	return ownership.Views(state, regions, weights(own))
}

func weights(own v1alpha1.OwnershipSlice) []ownership.WeightedRegion {
	out := make([]ownership.WeightedRegion, 0, len(own.Regions))
	for _, r := range own.Regions {
		out = append(out, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
	}
	return out
}

// MayRunOwnerOnly reports whether the configuration lets the region run the service's OwnerOnly
// workloads: it must be the first in declared order that may own, as for data that is pinned to that
// order. While owners change it must have been, and stay, so that no two regions run them.
func MayRunOwnerOnly(spec *v1alpha1.RegionalServiceSpec, region string, c ownership.Configuration) bool {
	record := c.Services[spec.ServiceID]
	own, named := OwnershipInForce(spec, record)
	if !named || record.Deleted {
		return false
	}
	if firstOwner(own, c.RegionViews(record, weights(own))) != region {
		return false
	}
	state, regions, closing := c.Before(record)
	if !closing {
		return true
	}
	own, named = ownershipNamed(spec, state.SpecHash)
	return named && firstOwner(own, ownership.Views(state, regions, weights(own))) == region
}

func firstOwner(own v1alpha1.OwnershipSlice, views []ownership.RegionView) string {
	var order []string
	for _, r := range own.Regions {
		if r.Weight > 0 {
			order = append(order, r.Name)
		}
	}
	return ownership.PinnedOwner(order, views).Region
}
