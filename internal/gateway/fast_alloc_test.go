//go:build !race

// With the race detector, pools drop some of what they are given.

package gateway

import (
	"bytes"
	"runtime"
	"testing"
)

// maxAllocations of a home request that the fast path serves, the application's side of it included.
const maxAllocations = 15

// allocations of a request.
func allocations(t *testing.T, c *fastClient) float64 {
	t.Helper()
	c.ask(t)
	const requests = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range requests {
		c.ask(t)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / requests
}

func TestFastPathAllocations(t *testing.T) {
	if n := allocations(t, newFastClient(t)); n > maxAllocations {
		t.Errorf("%.1f allocations per request, want at most %d", n, maxAllocations)
	}
}

// A trace that is not recorded costs nothing on the heap but the caller's header, if there is one.
func TestFastAllocationsOfTracesThatAreNotRecorded(t *testing.T) {
	without := allocations(t, newFastClient(t))
	for name, header := range map[string]string{"begun here": "", "a caller's": "Traceparent: " + callersTrace + "\r\n"} {
		c := newFastClient(t, func(o *Options) { o.TracerProvider, o.TraceSampled = ratio(0, nil) })
		c.request = bytes.Replace(c.request, []byte("Accept: */*\r\n"), []byte("Accept: */*\r\n"+header), 1)
		if n := allocations(t, c); n > without+.5 {
			t.Errorf("%s: %.1f allocations per request, %.1f without traces", name, n, without)
		}
	}
}
