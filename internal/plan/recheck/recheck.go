// Package recheck reckons with waits until something is looked at again, of which 0 is none. It must never read a clock.
package recheck

import "time"

// Sooner returns the smaller of two waits, either of which may be none.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
