// Package poll waits for a condition that nothing announces: a port that opens, an object that
// appears. It is the only place of the test kit that waits by looking again; callers never sleep.
//
// It must never hide why it gave up: the error always carries what the last look saw.
package poll

import (
	"context"
	"fmt"
	"time"
)

// Until calls check at once and then every interval until it returns nil. When ctx ends first, the
// error wraps both the cause of ctx and the last error of check that was not itself due to the end
// of ctx.
func Until(ctx context.Context, interval time.Duration, check func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		// A look that the end of ctx interrupted says nothing about the condition.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: last look: %w", context.Cause(ctx), last)
		case <-ticker.C:
		}
	}
}

// Pause lets a load or a measurement last for a while, and returns the cause of ctx when that ends first. Nothing is
// waited for with it: that is what Until is for.
func Pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
