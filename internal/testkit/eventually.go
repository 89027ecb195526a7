package testkit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit/poll"
)

// waitInterval is the pause between two looks: short against what is waited for, long enough to leave
// the processor to it.
const waitInterval = 50 * time.Millisecond

// errHeld ends the wait of Consistently with success.
var errHeld = errors.New("held for the whole time")

// Eventually calls check until it returns nil, and fails the test with check's last error when timeout
// is over first. Use it in place of sleeping.
func Eventually(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, fmt.Errorf("not within %s", timeout))
	defer cancel()
	if err := poll.Until(ctx, waitInterval, func(context.Context) error { return check() }); err != nil {
		t.Fatal(err)
	}
}

// Consistently calls check for the whole duration and fails the test with its first error. Use it for
// what must never happen, such as two owners of one key.
func Consistently(t testing.TB, duration time.Duration, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), duration, errHeld)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	waited := poll.Until(ctx, waitInterval, func(context.Context) error {
		if err := check(); err != nil {
			stop(err)
		}
		return errHeld
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errHeld):
	case t.Context().Err() != nil:
		t.Fatal(waited) // the test itself was ended
	default:
		t.Fatal(cause)
	}
}
