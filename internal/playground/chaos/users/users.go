// Package users are people who use the example through the gateways of all regions while chaos torments these: they register at
// several gateways at the same time, log in, edit profiles, change passwords and pay each other, and remember every answer. They
// know addresses and the example's documents, and nothing of the operator but the reason that a gateway gives for a refusal.
package users

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
	"multiactive.dev/operator/internal/testkit/poll"
)

// Image is that of the Manifest's Pods: the example.
const Image = "multiactive.dev/examples/user"

// What the Manifest declares: the balance of a new account, and how old data may be.
const (
	Opening   = 10000
	Objective = 5 * time.Minute
)

// Manifest declares the example in the regions of chaos. Its stores are files, which nothing replicates: new passwords and profiles
// go through the queue too.
//
//go:embed users.yaml
var Manifest []byte

// look is between two tries of what has to work in the end.
const look = 500 * time.Millisecond

// Endpoint is a region's address.
type Endpoint struct{ Region, URL string }

// Users act until Finish or End.
type Users struct {
	endpoints []Endpoint
	pause     time.Duration
	people    []*person
	stop      context.CancelFunc
	done      sync.WaitGroup

	mu   sync.Mutex
	acts []acts.Act
}

// Live begins the lives of some people, whose phone numbers nobody had before, for they have the run's number. Each pauses for
// about that long between two acts.
func Live(ctx context.Context, run int, endpoints []Endpoint, count int, pause time.Duration) *Users {
	ctx, stop := context.WithCancel(ctx)
	u := &Users{endpoints: endpoints, pause: pause, stop: stop}
	for i := range count {
		u.people = append(u.people, &person{users: u, phone: fmt.Sprintf("139%05d%03d", run, i), client: newClient()})
	}
	for i, p := range u.people {
		u.done.Go(func() { p.live(ctx, rand.N(len(endpoints)), i) })
	}
	return u
}

// Phones are the numbers of all.
func (u *Users) Phones() map[string]bool {
	out := map[string]bool{}
	for _, p := range u.people {
		out[p.phone] = true
	}
	return out
}

// Finish ends the random part of the lives, and has everybody register, edit, and log in at every region, and follow what was
// accepted for later, until all of that has worked or ctx ends.
func (u *Users) Finish(ctx context.Context) error {
	u.stop()
	u.done.Wait()
	failures := make([]error, len(u.people))
	var all sync.WaitGroup
	for i, p := range u.people {
		all.Go(func() { failures[i] = poll.Until(ctx, look, p.settle) })
	}
	all.Wait()
	return errors.Join(failures...)
}

// End waits until nobody does anything any more, and returns all that was done.
func (u *Users) End() []acts.Act {
	u.stop()
	u.done.Wait()
	for _, p := range u.people {
		p.client.CloseIdleConnections()
	}
	return u.acts
}

// note keeps an act.
func (u *Users) note(a acts.Act) acts.Act {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.acts = append(u.acts, a)
	return a
}
