package multiactiveservice

import (
	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/routing"
)

// deferred sums up what the regions that can be reached say of a flow's requests that wait; nil: nothing.
func (r reporter) deferred(flow string) *v1alpha1.FlowBacklog {
	var out v1alpha1.FlowBacklog
	for _, declared := range r.mas.Spec.Regions {
		slice := r.seen.region(declared.Name).Slice
		if slice == nil {
			continue
		}
		for _, b := range slice.Status.Deferred {
			if b.Flow == flow {
				out.Requests, out.Oldest = routing.Larger(out.Requests, b.Requests), routing.Older(out.Oldest, b.Oldest)
				out.Regions = append(out.Regions, declared.Name)
			}
		}
	}
	if len(out.Regions) == 0 {
		return nil
	}
	return &out
}

// mostDeferred is what waits of the flow of which most does; empty: nothing.
func mostDeferred(flows []v1alpha1.FlowStatus) string {
	most := ""
	for _, f := range flows {
		if f.Deferred != nil {
			most = routing.Larger(most, f.Deferred.Requests)
		}
	}
	return most
}
