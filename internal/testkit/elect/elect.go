// Package elect lets tests lead. It is for tests only: it watches the store anew for every election.
package elect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// Lead stands for election and blocks until it leads, ctx ends or the session is lost.
func Lead(ctx context.Context, store *coordination.Store, identity string, ttl time.Duration) (*coordination.Term, error) {
	term, err := store.Stand(ctx, identity, ttl)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, store, term); err != nil {
		term.Resign()
		return nil, fmt.Errorf("waiting to lead: %w", err)
	}
	return term, nil
}

func await(ctx context.Context, store *coordination.Store, term *coordination.Term) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	elected, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- store.Watch(ctx, func(c ownership.Configuration) {
			if term.Leads(c) {
				select {
				case elected <- struct{}{}:
				default:
				}
			}
		})
	}()
	select {
	case <-elected:
		return nil
	case err := <-ended:
		return err
	case <-term.Done():
		return cmp.Or(ctx.Err(), errors.New("the session ended before the election was won"))
	}
}
