//go:build !race

// With the race detector, pools drop some of what they are given.

package gateway

import (
	"runtime"
	"testing"
)

// maxAllocations of a home request that the fast path serves, the application's side of it included.
const maxAllocations = 15

func TestFastPathAllocations(t *testing.T) {
	c := newFastClient(t)
	c.ask(t)
	const requests = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range requests {
		c.ask(t)
	}
	runtime.ReadMemStats(&after)
	if n := float64(after.Mallocs-before.Mallocs) / requests; n > maxAllocations {
		t.Errorf("%.1f allocations per request, want at most %d", n, maxAllocations)
	}
}
