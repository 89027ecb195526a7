package agent

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"
)

// Clock is the agent's only source of time.
type Clock interface {
	clock.WithTicker
	// Boottime returns the time since the machine started, suspension included. All of the
	// protocol's durations are differences of it; Now is for people only.
	Boottime() time.Duration
}

// SystemClock returns the machine's clock.
func SystemClock() Clock { return systemClock{} }

type systemClock struct{ clock.RealClock }

// Boottime implements Clock with CLOCK_BOOTTIME.
func (systemClock) Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Without this clock no lease can be measured; Linux has had it since 2.6.39.
		panic(fmt.Sprintf("reading CLOCK_BOOTTIME: %v", err))
	}
	return time.Duration(ts.Nano())
}
