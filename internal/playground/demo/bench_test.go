package demo

import (
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	for count, want := range map[int]time.Duration{1: 1, 2: 2, 19: 19, 20: 19, 40: 38, 100: 95} {
		rounds := make([]round, 0, count)
		for i := count; i > 0; i-- { // not in order
			rounds = append(rounds, round{logins: time.Duration(i)})
		}
		if got := percentile(rounds, func(r round) time.Duration { return r.logins }); got != want {
			t.Errorf("of %d: got %d, want %d", count, got, want)
		}
	}
}
