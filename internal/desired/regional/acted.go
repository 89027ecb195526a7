package regional

import (
	"cmp"

	"multiactive.dev/operator/api/v1alpha1"
)

// Stale reports whether the slice is older than one of the same service that the region has acted
// on: nobody acts on it. A service that is declared anew has another ID and starts afresh.
func Stale(rs *v1alpha1.RegionalService) bool {
	acted := rs.Status.ActedStamp
	return acted != nil && acted.ServiceID == rs.Spec.ServiceID && compare(rs.Spec.Stamp, acted.Stamp) < 0
}

// Acted reports whether the slice's stamp is recorded as acted on, without which nothing of the
// slice may be acted on: a lower one could come next.
func Acted(rs *v1alpha1.RegionalService) bool {
	acted := rs.Status.ActedStamp
	return acted != nil && acted.ServiceID == rs.Spec.ServiceID && acted.Stamp == rs.Spec.Stamp
}

func compare(a, b v1alpha1.SliceStamp) int {
	return cmp.Or(cmp.Compare(a.Ballot, b.Ballot), cmp.Compare(a.Generation, b.Generation))
}
