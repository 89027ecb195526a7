//go:build e2e

package clusters_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/load"
)

const (
	// rate of the load in requests per second, and numbers of users.
	rate      = 10
	userCount = 60
	contested = 5
	// syncTimeout bounds the wait until every region knows every account.
	syncTimeout = time.Minute
)

var wall = clock.RealClock{}

// people are the example's users, who know nothing but endpoints.
type people struct {
	fleet      *fleet
	client     *load.Client
	population *load.Population
	users      []load.User
}

func newPeople(f *fleet, s *v1alpha1.MultiActiveService) *people {
	var weights []ownership.WeightedRegion
	for _, r := range s.Spec.Regions {
		w := ownership.WeightedRegion{Name: r.Name, Weight: 100}
		if r.Weight != nil {
			w.Weight = *r.Weight
		}
		weights = append(weights, w)
	}
	p := &people{fleet: f, client: load.NewClient(wall), population: load.NewPopulation(weights, wall.Now())}
	p.client.Patience = ownerWait + 2*time.Second
	for range userCount {
		p.users = append(p.users, p.population.New())
	}
	return p
}

// registerAtOnce registers numbers at all gateways at the same time: each must get one account.
func (p *people) registerAtOnce(t *testing.T) {
	t.Helper()
	var created, refused atomic.Int32
	var all sync.WaitGroup
	for range contested {
		u := p.population.New()
		for _, e := range p.fleet.endpoints() {
			all.Go(func() {
				switch a := p.client.Register(t.Context(), u, []load.Endpoint{e}, "en"); a.Status {
				case http.StatusCreated:
					created.Add(1)
				case http.StatusConflict:
					refused.Add(1)
				default:
					t.Errorf("registering %s at %s: %d %s %v", u.Phone, e.Region, a.Status, a.Body, a.Err)
				}
			})
		}
	}
	all.Wait()
	if created.Load() != contested {
		t.Errorf("%d numbers that registered everywhere at once got %d accounts", contested, created.Load())
	}
}

// knownEverywhere waits until every region itself knows the users: not by asking their home.
func (p *people) knownEverywhere(t *testing.T, users []load.User) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), syncTimeout, fmt.Errorf("not within %s", syncTimeout))
	defer cancel()
	began := wall.Now()
	err := load.Each(ctx, users, func(ctx context.Context, _ int, u load.User) error {
		for _, e := range p.fleet.endpoints() {
			for {
				a, _ := p.client.Login(ctx, u, []load.Endpoint{e})
				if a.Err == nil && a.Source == "" {
					break
				}
				p.pause(ctx, 200*time.Millisecond) // the machine is to copy accounts, not to answer logins
				if ctx.Err() != nil {
					return fmt.Errorf("user %s, at home in %s, at %s: %w: %w", u.Phone, u.Home, e.Region, context.Cause(ctx), errors.Join(a.Err, errAsked))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("every region should know every account through the queue: %v", err)
	}
	t.Logf("%d accounts are known in every region after %s", len(users), seconds(wall.Since(began)))
}

var errAsked = errors.New("it has to ask the home still")

// loginAll logs every user in once, by clients that know every endpoint, and returns when the last was.
func (p *people) loginAll(t *testing.T) (took time.Duration) {
	t.Helper()
	began := wall.Now()
	err := load.Each(t.Context(), p.users, func(ctx context.Context, i int, u load.User) error {
		a, _ := load.NewClient(wall).Login(ctx, u, load.Order(p.fleet.endpoints(), i))
		return a.Err
	})
	if err != nil {
		t.Errorf("logins were refused: %v", err)
	}
	return wall.Since(began)
}

// under runs load while do is under way, and returns what came of it.
func (p *people) under(t *testing.T, victim string, do func()) []load.Record {
	t.Helper()
	l := load.NewLoad(p.client, wall, p.population, p.users, p.fleet.endpoints(), victim)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx, rate) })
	defer running.Wait()
	defer cancel()
	do()
	cancel()
	running.Wait()
	return l.Records()
}

// judge counts the load's failures and fails the test for those of some kinds.
func judge(t *testing.T, records []load.Record, mustNotFail ...string) {
	t.Helper()
	type sum struct{ asked, failed int }
	sums := map[string]*sum{}
	first := map[string]load.Record{}
	for _, r := range records {
		if sums[r.Kind] == nil {
			sums[r.Kind] = &sum{}
		}
		sums[r.Kind].asked++
		if r.Err != nil || r.Status >= http.StatusBadRequest {
			if sums[r.Kind].failed == 0 {
				first[r.Kind] = r
			}
			sums[r.Kind].failed++
		}
	}
	for kind, s := range sums {
		t.Logf("load: %4d %s, %d failed", s.asked, kind, s.failed)
	}
	for _, kind := range mustNotFail {
		switch s := sums[kind]; {
		case s == nil:
			t.Errorf("the load had no %s", kind)
		case s.failed > 0:
			r := first[kind]
			t.Errorf("%d of %d %s failed; the first, at home in %s, at %s after %s: %d %s %v", s.failed, s.asked, kind, r.Home, r.Region, seconds(r.Took), r.Status, r.Body, r.Err)
		}
	}
}

// refusal is the part of a problem document that users see.
type refusal struct{ Reason, Announcement string }

// register tries to register a new user of a home at one region.
func (p *people) register(t *testing.T, home, at, language string) (int, refusal) {
	t.Helper()
	a := p.client.Register(t.Context(), p.population.NewAt(home), []load.Endpoint{load.At(p.fleet.endpoints(), at)}, language)
	var doc refusal
	_ = json.Unmarshal(a.Body, &doc) // a success has another body
	return a.Status, doc
}

// pause lets load, or the machine, go on for a while.
func (p *people) pause(ctx context.Context, length time.Duration) {
	timer := wall.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
