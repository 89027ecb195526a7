package regional_test

import (
	"testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

func TestStaleAndActed(t *testing.T) {
	t.Parallel()
	stamp := func(service string, ballot, generation int64) *v1alpha1.ActedStamp {
		return &v1alpha1.ActedStamp{ServiceID: service, Stamp: v1alpha1.SliceStamp{Ballot: ballot, Generation: generation}}
	}
	for name, c := range map[string]struct {
		slice        *v1alpha1.ActedStamp
		acted        *v1alpha1.ActedStamp
		stale, equal bool
	}{
		"nothing was acted on":                     {slice: stamp("a", 0, 1)},
		"the same":                                 {slice: stamp("a", 1, 4), acted: stamp("a", 1, 4), equal: true},
		"a later generation":                       {slice: stamp("a", 0, 5), acted: stamp("a", 0, 4)},
		"an earlier generation":                    {slice: stamp("a", 0, 3), acted: stamp("a", 0, 4), stale: true},
		"a later ballot with any generation":       {slice: stamp("a", 2, 1), acted: stamp("a", 1, 4)},
		"an earlier ballot with any generation":    {slice: stamp("a", 1, 9), acted: stamp("a", 2, 4), stale: true},
		"the service declared anew":                {slice: stamp("b", 0, 1), acted: stamp("a", 0, 4)},
		"the service declared anew, equal numbers": {slice: stamp("b", 0, 4), acted: stamp("a", 0, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rs := &v1alpha1.RegionalService{}
			rs.Spec.ServiceID, rs.Spec.Stamp, rs.Status.ActedStamp = c.slice.ServiceID, c.slice.Stamp, c.acted
			if got := regional.Stale(rs); got != c.stale {
				t.Errorf("stale is %t, want %t", got, c.stale)
			}
			if got := regional.Acted(rs); got != c.equal {
				t.Errorf("acted is %t, want %t", got, c.equal)
			}
		})
	}
}
