package multiactiveservice

import (
	"maps"
	stdslices "slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// abandon lets a service go although regions that a person has given up on may still have it. The
// coordination store keeps the service as deleted, so that whoever comes back knows, and so that the hub
// clears there: see DecideRemains.
func abandon(mas *v1alpha1.MultiActiveService, seen Seen) []Step {
	have := seen.Configuration.ServiceIntents[string(mas.UID)]
	var told []string
	if seen.Peers != nil { // the other hubs have to know
		told = append(givenUp(mas), have.Abandoned...)
		stdslices.Sort(told)
		told = stdslices.Compact(told)
	}
	if !have.Deleted || !stdslices.Equal(have.Abandoned, told) {
		record, _ := seen.record(string(mas.UID))
		intent := deleted(mas, record)
		intent.Abandoned = told
		return []Step{{Kind: StepPropose, Intent: intent}}
	}
	return []Step{{Kind: StepRemoveFinalizer}}
}

// givenUp returns the regions that a person has given up on.
func givenUp(mas *v1alpha1.MultiActiveService) []string {
	return stdslices.DeleteFunc(strings.Split(mas.Annotations[v1alpha1.AnnotationAbandoned], ","), func(s string) bool { return s == "" })
}

// DecideRemains returns what to do about a service that is gone from the hub and that the coordination
// store still keeps as deleted: its slices are deleted wherever they can be reached, and it is forgotten
// when no region that exists can have one.
func DecideRemains(intent ownership.ServiceIntent, seen Seen) []Step {
	var steps []Step
	left := false
	for _, name := range stdslices.Sorted(maps.Keys(seen.Regions)) {
		at := seen.Regions[name]
		switch {
		case at.Region == nil || at.Region.Spec.Role == v1alpha1.RegionRoleWitness:
		case at.Connection != Connected:
			left = left || stdslices.Contains(intent.Regions, name)
		case at.Slice != nil && at.Slice.Spec.ServiceID == intent.UID:
			left = true
			if !goes(at.Slice) {
				steps = append(steps, Step{Kind: StepDelete, Region: name})
			}
		}
	}
	if !left {
		steps = append(steps, Step{Kind: StepWithdraw, Intent: intent})
	}
	return steps
}
