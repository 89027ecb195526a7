package regionincident

import (
	"cmp"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
)

// maxStores is how many stores an incident lists.
const maxStores = 64

// lateChanges keeps, for each store, what became of what the region had not shipped. Those of earlier outages do not count. What was
// decided arrives in one region after the other: the region that has most of it knows best.
func lateChanges(i *v1alpha1.RegionIncident, seen Seen) {
	for _, s := range seen.Services {
		for store, all := range s.Late {
			for _, l := range all {
				if l.Region != i.Spec.Region || i.Status.StartedAt != nil && l.LostAt.Time.Before(i.Status.StartedAt.Time) {
					continue
				}
				noteLate(i, v1alpha1.IncidentLateChanges{
					Store: store, Applied: l.Applied, OwnerStands: l.OwnerStands, LateStands: l.LateStands, Open: l.Open,
					Conflicts: slices.Clone(l.Conflicts),
				})
			}
		}
	}
	slices.SortFunc(i.Status.LateChanges, func(a, b v1alpha1.IncidentLateChanges) int {
		return cmp.Or(cmp.Compare(b.Open, a.Open), cmp.Compare(a.Store, b.Store))
	})
	i.Status.LateChanges = i.Status.LateChanges[:min(maxStores, len(i.Status.LateChanges))]
}

func noteLate(i *v1alpha1.RegionIncident, l v1alpha1.IncidentLateChanges) {
	n := slices.IndexFunc(i.Status.LateChanges, func(have v1alpha1.IncidentLateChanges) bool { return have.Store == l.Store })
	switch {
	case n < 0:
		i.Status.LateChanges = append(i.Status.LateChanges, l)
	case total(l) >= total(i.Status.LateChanges[n]):
		i.Status.LateChanges[n] = l
	}
}

func total(l v1alpha1.IncidentLateChanges) int64 {
	return l.Applied + l.OwnerStands + l.LateStands + l.Open
}
