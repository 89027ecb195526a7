package gateway

import "time"

// Clock is the gateway's only source of time.
type Clock interface {
	// Now is the wall clock with Go's monotonic reading: for measuring requests, deadlines of
	// connections and logs, never for the lease.
	Now() time.Time
	// Boot is the time since the machine started, counting suspension: for the lease.
	Boot() time.Duration
	// AfterFunc runs f in its own goroutine after d; stop reports whether it prevented that.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc implements Clock. Its timers do not count suspension, so whoever waits for the end
// of a lease looks at Boot again at short intervals.
func (SystemClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// after returns a channel that is closed once d has passed, and a function that releases it.
func after(clock Clock, d time.Duration) (<-chan struct{}, func() bool) {
	done := make(chan struct{})
	return done, clock.AfterFunc(d, func() { close(done) })
}
