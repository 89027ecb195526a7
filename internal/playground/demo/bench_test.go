package demo

import (
	"testing"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	for count, want := range map[int]float64{1: 1, 2: 2, 19: 19, 20: 19, 40: 38, 100: 95} {
		var values []float64
		for i := count; i > 0; i-- { // not in order
			values = append(values, float64(i))
		}
		if got := percentile(values, 0.95); got != want {
			t.Errorf("of %d: got %v, want %v", count, got, want)
		}
	}
}
