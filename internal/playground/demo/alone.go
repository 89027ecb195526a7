package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

const (
	// aloneBefore and aloneFor are how long home writes are watched before and after a part is lost: the lease
	// of a region that cannot extend it any more has run out by then, and a new leader been elected.
	aloneBefore = 2 * time.Second
	aloneFor    = 15 * time.Second
	// steadyWrites and steadyLogins are how many of each there are in a second.
	steadyWrites, steadyLogins = 20, 10
)

// fault is a part that is lost alone, and how it comes back.
type fault struct {
	what string
	lose func(context.Context) error
	back func(context.Context) error
}

// alone loses one part after the other and counts the home writes that are refused meanwhile.
func (d *Demo) alone(ctx context.Context, out *results) error {
	nothing := func(context.Context) error { return nil }
	var member *etcdstore.Member
	for _, f := range []fault{
		{"the leader's process", func(ctx context.Context) error {
			name, err := d.awaitLeader(ctx)
			if err != nil {
				return err
			}
			return d.world.Region(name).CrashManager()
		}, nothing},
		{"the hub", func(context.Context) error { return d.world.KillHub() }, d.world.ReturnHub},
		{"the member that leads the coordination store", func(ctx context.Context) (err error) {
			if member, err = d.storeLeader(ctx); err != nil {
				return err
			}
			return member.Kill()
		}, func(ctx context.Context) error { return member.Start(ctx) }},
	} {
		done := d.console.Step("only " + f.what + " is lost")
		err := d.aloneOnce(ctx, f, out)
		done(err)
		if err != nil {
			return fmt.Errorf("losing %s: %w", f.what, err)
		}
	}
	return nil
}

func (d *Demo) aloneOnce(ctx context.Context, f fault, out *results) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	stop := d.people.steady(ctx, d)
	defer stop()
	if err := d.pause(ctx, aloneBefore); err != nil {
		return err
	}
	if err := f.lose(ctx); err != nil {
		return err
	}
	if err := d.pause(ctx, aloneFor); err != nil {
		return err
	}
	seen := stop()
	d.tellSteady(seen)
	out.count("home writes refused, "+f.what+" lost alone", 0, seen.writesRefused)
	out.count("  logins refused then, "+f.what+" lost alone", 0, seen.loginsRefused)
	if err := f.back(ctx); err != nil {
		return err
	}
	_, err := d.awaitLeader(ctx)
	return errors.Join(err, d.await(ctx, returnTimeout, d.allServe))
}

// tellSteady shows what steady users have met.
func (d *Demo) tellSteady(seen steadySeen) {
	d.console.Line("%d home writes, %d refused; %d logins, %d refused", seen.writes, seen.writesRefused, seen.logins, seen.loginsRefused)
	for _, why := range seen.reasons {
		d.console.Line("  %s", why)
	}
}

// storeLeader returns the member that leads the coordination store.
func (d *Demo) storeLeader(ctx context.Context) (*etcdstore.Member, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: d.world.StoreEndpoints(), DialTimeout: lookTimeout, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	for _, r := range d.world.Regions() {
		status, err := client.Status(ctx, r.Store().Endpoint())
		if err == nil && status.Leader == status.Header.GetMemberId() {
			return r.Store(), nil
		}
	}
	return nil, errors.New("no region's member leads the coordination store")
}

// steadySeen is what a steady load has seen.
type steadySeen struct {
	writes, writesRefused, logins, loginsRefused int
	// reasons are a few of the refusals.
	reasons []string
}

// steady sends home writes and logins, through all gateways in turn, until the function that it returns is
// called. A home write is the registration of a new user, who is asked once; a login is by a client that knows
// every endpoint.
func (p *people) steady(ctx context.Context, d *Demo) func() steadySeen {
	running, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	var seen steadySeen
	note := func(refused bool, count, countRefused *int, why func() string) {
		mu.Lock()
		defer mu.Unlock()
		*count++
		if refused {
			*countRefused++
			if len(seen.reasons) < 5 {
				seen.reasons = append(seen.reasons, why())
			}
		}
	}
	endpoints := d.endpoints()
	write := func(i int) {
		u := p.population.New()
		a := p.client.Register(ctx, u, load.Order(endpoints, i)[:1], "")
		note(a.Status != http.StatusCreated, &seen.writes, &seen.writesRefused, func() string {
			return fmt.Sprintf("registration at %s, at home in %s: %d %s %v", endpoints[i%len(endpoints)].Region, u.Home, a.Status, a.Body, a.Err)
		})
	}
	login := func(i int) {
		u := p.users[i%len(p.users)]
		a, _ := p.client.Login(ctx, u, load.Order(endpoints, i))
		note(a.Err != nil, &seen.logins, &seen.loginsRefused, func() string { return fmt.Sprintf("login of %s: %v", u.Phone, a.Err) })
	}
	var all sync.WaitGroup
	all.Go(func() { d.every(running, time.Second/steadyWrites, write) })
	all.Go(func() { d.every(running, time.Second/steadyLogins, login) })
	return sync.OnceValue(func() steadySeen {
		cancel()
		all.Wait()
		return seen
	})
}

// every does something at a steady rate, without waiting for it to end, until ctx ends; then it waits.
func (d *Demo) every(ctx context.Context, interval time.Duration, do func(i int)) {
	ticker := d.options.Clock.NewTicker(interval)
	defer ticker.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		all.Go(func() { do(i) })
	}
}
