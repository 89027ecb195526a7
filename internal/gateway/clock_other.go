//go:build !linux

package gateway

import "time"

var processStart = time.Now()

// Boot implements Clock for development machines. It does not count suspension everywhere, so
// production gateways run on Linux.
func (SystemClock) Boot() time.Duration { return time.Since(processStart) }
