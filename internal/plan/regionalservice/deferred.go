package regionalservice

import (
	"cmp"
	"maps"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/routing"
)

// deferred is what waits here to be carried out. All gateways read the same log, and one that has just started says
// nothing yet: the most that one says is what counts.
func deferred(rs *v1alpha1.RegionalService, seen Seen) []v1alpha1.DeferredBacklog {
	by := map[string]v1alpha1.DeferredBacklog{}
	for _, gateway := range readyGateways(rs, seen) {
		for _, b := range routing.ParseBacklogs(seen.Deferred[gateway]) {
			have := by[b.Flow]
			by[b.Flow] = v1alpha1.DeferredBacklog{
				Flow: b.Flow, Requests: routing.Larger(have.Requests, b.Requests), Oldest: routing.Older(have.Oldest, b.Age),
			}
		}
	}
	all := slices.SortedFunc(maps.Values(by), func(a, b v1alpha1.DeferredBacklog) int { return cmp.Compare(a.Flow, b.Flow) })
	return all[:min(len(all), routing.MaxBacklogs)]
}
