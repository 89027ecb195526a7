package poll_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit/poll"
)

func TestUntilReturnsAtTheFirstSuccess(t *testing.T) {
	t.Parallel()
	looks := 0
	err := poll.Until(t.Context(), time.Millisecond, func(context.Context) error {
		if looks++; looks < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || looks != 3 {
		t.Fatalf("got %d looks and error %v, want 3 looks and none", looks, err)
	}
}

func TestUntilReportsCauseAndLastLook(t *testing.T) {
	t.Parallel()
	gaveUp, notYet := errors.New("gave up"), errors.New("not yet")
	ctx, cancel := context.WithCancelCause(t.Context())
	looks := 0
	err := poll.Until(ctx, time.Millisecond, func(ctx context.Context) error {
		if looks++; looks == 2 {
			cancel(gaveUp)
			return ctx.Err()
		}
		return notYet
	})
	if !errors.Is(err, gaveUp) || !errors.Is(err, notYet) {
		t.Fatalf("got %v, want it to wrap %q and %q", err, gaveUp, notYet)
	}
	if errors.Is(err, context.Canceled) {
		t.Fatalf("got %v: the interrupted look hides what the condition looked like", err)
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	if err := poll.Pause(t.Context(), time.Millisecond); err != nil {
		t.Errorf("it ended with %v", err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := poll.Pause(ctx, time.Hour); !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}
