package coordination

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// stallAfter is how long a watch may say nothing before it is compared with the store. With agents alive it
// speaks about once a second for each region.
const stallAfter = 5 * time.Second

// errStalled ends a watch that does not deliver what the store has.
var errStalled = errors.New("the watch has stalled")

// pulse is how far a watch is.
type pulse struct {
	mu       sync.Mutex
	revision int64
	at       time.Time
}

func (p *pulse) beat(revision int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision, p.at = revision, now
}

func (p *pulse) read() (int64, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision, p.at
}

// pulsed returns deliver, and the pulse that it gives.
func (s *Store) pulsed(deliver func(ownership.Configuration)) (*pulse, func(ownership.Configuration)) {
	p := &pulse{}
	return p, func(c ownership.Configuration) {
		p.beat(c.Revision, s.clock.Now())
		deliver(c)
	}
}

// endStalled ends a watch that has delivered nothing for stallAfter, and not by the next look what the store
// had at this one. What only deletions have changed is not found out.
func (s *Store) endStalled(ctx context.Context, p *pulse, end context.CancelCauseFunc) {
	ticker := s.clock.NewTicker(stallAfter)
	defer ticker.Stop()
	missed := int64(0)
	for {
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return
		}
		delivered, at := p.read()
		if delivered < missed {
			end(errStalled)
			return
		}
		if missed = 0; s.clock.Since(at) < stallAfter {
			continue
		}
		// An error is for those to find out who wait for an answer.
		if newest, err := s.newest(ctx); err == nil && newest > delivered {
			missed = newest
		}
	}
}

// newest returns the revision of the latest write below the prefix that is still there, by a linearizable read.
func (s *Store) newest(ctx context.Context) (int64, error) {
	answer, _, err := s.get(ctx, s.prefix, append(clientv3.WithLastRev(), clientv3.WithPrefix(), clientv3.WithKeysOnly())...)
	if err != nil {
		return 0, fmt.Errorf("asking how far the coordination store is: %w", err)
	}
	if len(answer.Kvs) == 0 {
		return 0, nil
	}
	return answer.Kvs[0].ModRevision, nil
}
