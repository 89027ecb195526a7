package recheck_test

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/plan/recheck"
)

func TestSooner(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, want time.Duration }{
		{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {3, 5, 3}, {5, 3, 3}, {4, 4, 4},
	} {
		if got := recheck.Sooner(c.a, c.b); got != c.want {
			t.Errorf("of %s and %s the sooner is %s, want %s", c.a, c.b, got, c.want)
		}
	}
}
