package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// parallel is how many users act at a time when all of them act.
const parallel = 16

// Population are the users of a run.
type Population struct {
	weights []ownership.WeightedRegion
	next    int
	mu      sync.Mutex
}

// NewPopulation returns a population whose homes are computed by the weights, as declared. Populations
// of different moments have different numbers, so that a world can be used again.
func NewPopulation(weights []ownership.WeightedRegion, now time.Time) *Population {
	return &Population{weights: weights, next: 13800000000 + int(now.Unix()%100_000)*1000}
}

// New returns a user who has no account yet.
func (p *Population) New() User {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	phone := fmt.Sprint(p.next)
	return User{Phone: phone, Home: ownership.Home(ownership.Slot(phone), p.weights)}
}

// NewAt returns a user without account who is at home in one of the regions.
func (p *Population) NewAt(regions ...string) User {
	for {
		if u := p.New(); slices.Contains(regions, u.Home) {
			return u
		}
	}
}

// Each does something for every user, many at a time, and joins the errors; more than three of them
// are counted only.
func Each(ctx context.Context, users []User, do func(context.Context, int, User) error) error {
	failures := make([]error, len(users))
	var all sync.WaitGroup
	turns := make(chan struct{}, parallel)
	for i, u := range users {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			failures[i] = do(ctx, i, u)
		})
	}
	all.Wait()
	failures = slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	if len(failures) > 3 {
		return fmt.Errorf("%d of %d users: %w", len(failures), len(users), failures[0])
	}
	return errors.Join(failures...)
}

// RegisterAll gives every user an account, through the gateways in turn.
func RegisterAll(ctx context.Context, c *Client, users []User, endpoints []Endpoint) error {
	return Each(ctx, users, func(ctx context.Context, i int, u User) error {
		a := c.Register(ctx, u, Order(endpoints, i), "")
		if a.Err != nil || (a.Status != http.StatusCreated && a.Status != http.StatusConflict) {
			return fmt.Errorf("registering %s at %s: status %d: %s: %w", u.Phone, endpoints[i%len(endpoints)].Region,
				a.Status, strings.TrimSpace(string(a.Body)), orOK(a.Err))
		}
		return nil
	})
}

// errRefused stands for an answer that is no failure of the network.
var errRefused = errors.New("refused")

func orOK(err error) error {
	if err == nil {
		return errRefused
	}
	return err
}

// Order returns the endpoints beginning with the one that a user would try first.
func Order(endpoints []Endpoint, user int) []Endpoint {
	first := user % len(endpoints)
	return slices.Concat(endpoints[first:], endpoints[:first])
}

// Without returns the endpoints but that of one region.
func Without(endpoints []Endpoint, region string) []Endpoint {
	return slices.DeleteFunc(slices.Clone(endpoints), func(e Endpoint) bool { return e.Region == region })
}

// At returns the endpoint of a region; it must be there.
func At(endpoints []Endpoint, region string) Endpoint {
	return endpoints[slices.IndexFunc(endpoints, func(e Endpoint) bool { return e.Region == region })]
}
