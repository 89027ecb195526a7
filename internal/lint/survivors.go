package lint

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// survivorRules are about the load of a lost region.
func survivorRules() []Rule {
	const scaled = "spec:\n  regions: [{name: north, weight: 50}, {name: south, weight: 50}]\n  failover: {survivors: Scale}\n" +
		"  flows:\n  - {name: login, tier: Core, match: [{path: /login}]}\n  - {name: news, tier: NonCore, match: [{path: /news}]}\n"
	return []Rule{
		{
			Code: "MA106", Severity: SeverityWarning,
			Title: "`failover.survivors: Scale`, and `workload.autoscaling.maxReplicas` is below what survivors want at least when the region with the most keys is lost",
			Why:   "the survivors are to carry the load of the lost region with fewer replicas than its share takes even when it is low: the failover overloads them",
			Example: Example{
				Before: scaled + "  workload: {autoscaling: {minReplicas: 4, maxReplicas: 6}}\n",
				After:  scaled + "  workload: {autoscaling: {minReplicas: 4, maxReplicas: 12}}\n",
			},
			check: (*pass).capacity,
		},
	}
}

// capacity reckons as the survivors' regions do. What an application carries is not known: nobody is told of replicas that
// may be enough.
func (p *pass) capacity() {
	a, own := p.spec.Workload.Autoscaling, desired.Ownership(p.Service)
	scale := p.spec.Failover != nil && p.spec.Failover.Survivors == v1alpha1.SurvivorsScale
	core := slices.ContainsFunc(p.spec.Flows, func(f v1alpha1.Flow) bool { return f.Tier == v1alpha1.TierCore })
	if p.alone() || !scale || a == nil || !core || len(own.Regions) == 0 {
		return
	}
	largest := slices.MaxFunc(own.Regions, func(a, b v1alpha1.RegionWeight) int { return int(a.Weight) - int(b.Weight) })
	var others []string
	for _, r := range own.Regions {
		if r.Name != largest.Name && r.Weight > 0 {
			others = append(others, r.Name)
		}
	}
	all, left := regional.Load(own, func(region string) bool { return region != largest.Name })
	wanted := (int64(max(a.MinReplicas, 1))*all + left - 1) / max(left, 1)
	if len(others) == 0 || wanted <= int64(a.MaxReplicas) {
		return
	}
	p.tell("spec.workload.autoscaling.maxReplicas", fmt.Sprintf("raise maxReplicas to %d or more, with room for the load of a day that is not quiet", wanted),
		"without region %s each of %s wants %d replicas at least, and may have %d", largest.Name, strings.Join(others, ", "), wanted, a.MaxReplicas)
}
