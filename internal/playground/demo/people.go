package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/playground/term"
)

// elsewhere marks the operations of users whose home is not the region that is lost.
const elsewhere = ", at home elsewhere"

// syncTimeout bounds the wait until accounts made in one region are known in all.
const syncTimeout = 60 * time.Second

// people are the users of the example service and what they have seen.
type people struct {
	client     *load.Client
	population *load.Population
	users      []load.User
	load       *load.Load
	killedAt   time.Time
	// deferred is nil unless a transfer was accepted for later.
	deferred *deferredTransfer
}

// populate registers the users and waits until they can log in everywhere.
func (d *Demo) populate(ctx context.Context) error {
	weights := make([]ownership.WeightedRegion, 0, len(d.manifest.Service.Spec.Regions))
	for _, r := range d.manifest.Service.Spec.Regions {
		w := ownership.WeightedRegion{Name: r.Name, Weight: 100}
		if r.Weight != nil {
			w.Weight = *r.Weight
		}
		weights = append(weights, w)
	}
	p := &people{client: load.NewClient(d.options.Clock), population: load.NewPopulation(weights, d.options.Clock.Now())}
	for range d.options.People {
		p.users = append(p.users, p.population.New())
	}
	d.people = p
	d.console.Section(fmt.Sprintf("Registering %d users", len(p.users)))
	done := d.console.Step("each at some gateway, which sends it to the user's home region")
	err := load.RegisterAll(ctx, p.client, p.users, d.endpoints())
	done(err)
	if err != nil {
		return err
	}
	homes := map[string]int{}
	for _, u := range p.users {
		homes[u.Home]++
	}
	for _, r := range d.world.Regions() {
		d.console.Line("  at home in %-10s %d", r.Name, homes[r.Name])
	}
	p.registerTwice(ctx, d)
	began := d.options.Clock.Now()
	done = d.console.Step("every region knows every account (through Kafka)")
	limited, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err = p.knownEverywhere(limited, d.endpoints())
	done(err)
	if err == nil {
		d.promised(true, "accounts reach every region through the queue", "after %s", term.Seconds(d.options.Clock.Since(began)))
	}
	return err
}

// registerTwice lets new users register at all gateways at the same time.
func (p *people) registerTwice(ctx context.Context, d *Demo) {
	const contested = 10
	var created, refused atomic.Int32
	var all sync.WaitGroup
	for range contested {
		u := p.population.New()
		for _, e := range d.endpoints() {
			all.Go(func() {
				switch a := p.client.Register(ctx, u, []load.Endpoint{e}, "en"); a.Status {
				case http.StatusCreated:
					created.Add(1)
				case http.StatusConflict:
					refused.Add(1)
				}
			})
		}
	}
	all.Wait()
	asked := contested * len(d.endpoints())
	d.promised(created.Load() == contested && int(created.Load()+refused.Load()) == asked,
		"a number that registers everywhere at once gets one account", "%d numbers, %d requests, %d accounts", contested, asked, created.Load())
}

// knownEverywhere logs every user in at every region, again while a region does not know one yet.
func (p *people) knownEverywhere(ctx context.Context, endpoints []load.Endpoint) error {
	return load.Each(ctx, p.users, func(ctx context.Context, _ int, u load.User) error {
		for _, e := range endpoints {
			for {
				a, _ := p.client.Login(ctx, u, []load.Endpoint{e})
				if a.Err == nil && a.Source == "" {
					break
				}
				if a.Err == nil && ctx.Err() == nil {
					continue // a second read: the region itself does not know the user yet
				}
				if a.Status != http.StatusUnauthorized || ctx.Err() != nil {
					return fmt.Errorf("user %s, at home in %s, logs in at %s: %w", u.Phone, u.Home, e.Region, cmp.Or(a.Err, ctx.Err()))
				}
			}
		}
		return nil
	})
}

// begin starts the load; the function that it returns ends it.
func (p *people) begin(ctx context.Context, d *Demo) func() {
	p.load = load.NewLoad(p.client, d.options.Clock, p.population, p.users, d.endpoints(), d.killed.Name)
	d.console.Line("%d requests per second: logins by clients that know every endpoint, registrations, profiles, transfers", d.options.Rate)
	running, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { p.load.Run(running, d.options.Rate) })
	return sync.OnceFunc(func() { cancel(); all.Wait() })
}

// loginAll logs every user in right after the kill, by clients that know every endpoint.
func (p *people) loginAll(ctx context.Context, d *Demo, t *timeline, killed time.Time) (refused int, err error) {
	p.killedAt = killed
	last, refused, err := p.loginOnce(ctx, d)
	if err != nil {
		return refused, err
	}
	t.mark(eventLoginsBack, last)
	d.promised(refused == 0 && last.Sub(killed) <= loginBound,
		fmt.Sprintf("every user can log in elsewhere, within %s", term.Seconds(loginBound)),
		"%d users after %s, %d refused", len(p.users), term.Seconds(last.Sub(killed)), refused)
	return refused, nil
}

// loginOnce logs every user in once, by new clients that know every endpoint. It returns when the last that
// succeeded was logged in, and how many were not.
func (p *people) loginOnce(ctx context.Context, d *Demo) (last time.Time, refused int, err error) {
	var mu sync.Mutex
	err = load.Each(ctx, p.users, func(ctx context.Context, i int, u load.User) error {
		a, _ := load.NewClient(d.options.Clock).Login(ctx, u, load.Order(d.endpoints(), i))
		mu.Lock()
		defer mu.Unlock()
		if a.Err != nil {
			refused++
			return nil
		}
		if now := d.options.Clock.Now(); now.After(last) {
			last = now
		}
		return nil
	})
	return last, refused, err
}

// firstFailure is when the load's first attempt after the kill failed.
func (p *people) firstFailure(killed time.Time) time.Time {
	var first time.Time
	for _, r := range p.load.Records() {
		if at := r.FirstFailure; !at.IsZero() && at.After(killed) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// refusal is the part of a problem document that users see.
type refusal struct{ Reason, Region, Flow, Announcement string }

// tryDegraded checks what users meet while the region is gone, and ends with the load's sums.
func (p *people) tryDegraded(ctx context.Context, d *Demo) {
	at := load.Without(d.endpoints(), d.killed.Name)[0]
	d.console.Section("What users meet at " + at.Region)
	if d.degradable() {
		seen := map[string]string{}
		kept := true
		for _, language := range []string{"en", "zh-CN"} {
			a := p.client.Register(ctx, p.population.NewAt(d.killed.Name), []load.Endpoint{at}, language)
			var doc refusal
			if err := json.Unmarshal(a.Body, &doc); err != nil || a.Status != http.StatusServiceUnavailable || doc.Announcement == "" {
				kept = false
			}
			seen[language] = doc.Announcement
			d.console.Line("register, at home in %s, Accept-Language %-5s  -> %d %s: %s", d.killed.Name, language, a.Status, doc.Reason, doc.Announcement)
		}
		kept = kept && seen["en"] != seen["zh-CN"]
		d.promised(kept, "registrations of its users get 503 and the announcement", "in English and Chinese")
		p.tryProfile(ctx, d, at)
		p.tryTransfer(ctx, d, at)
	}
	others := p.otherHomes(d)
	if len(others) > 0 {
		a := p.client.Register(ctx, p.population.NewAt(others...), []load.Endpoint{at}, "en")
		d.console.Line("register, at home in %s -> %d", strings.Join(others, " or "), a.Status)
		d.promised(a.Status == http.StatusCreated, "registrations of the other users work", "status %d", a.Status)
	}
	p.sums(d)
}

// tryProfile reads the profile of a user whose home is gone.
func (p *people) tryProfile(ctx context.Context, d *Demo, at load.Endpoint) {
	i := slices.IndexFunc(p.users, func(u load.User) bool { return u.Home == d.killed.Name })
	if i < 0 {
		return
	}
	login, session := p.client.Login(ctx, p.users[i], []load.Endpoint{at})
	if login.Err != nil {
		d.promised(false, "profiles of its users can be read elsewhere", "login: %v", login.Err)
		return
	}
	a := p.client.Profile(ctx, p.users[i], at, session)
	d.console.Line("profile of a user at home in %s -> %d, Multiactive-Stale: %t", d.killed.Name, a.Status, a.Stale)
	d.promised(a.Status == http.StatusOK && a.Stale, "profiles of its users can be read elsewhere", "status %d, marked as stale: %t", a.Status, a.Stale)
}

// otherHomes are the surviving regions that own keys.
func (p *people) otherHomes(d *Demo) []string {
	var out []string
	for _, u := range p.users {
		if u.Home != d.killed.Name && !slices.Contains(out, u.Home) {
			out = append(out, u.Home)
		}
	}
	slices.Sort(out)
	return out
}

// sums shows what the load saw and judges the logins.
func (p *people) sums(d *Demo) {
	type sum struct{ before, beforeFailed, after, failed int }
	sums := map[string]*sum{}
	for _, r := range p.load.Records() {
		name := r.Kind
		if r.Kind == load.KindRegister || r.Kind == load.KindProfile || r.Kind == load.KindTransfer {
			if r.Home == d.killed.Name {
				name += ", at home in " + d.killed.Name
			} else {
				name += elsewhere
			}
		}
		s := sums[name]
		if s == nil {
			s = &sum{}
			sums[name] = s
		}
		failed := 0
		if r.Err != nil || r.Status >= http.StatusBadRequest {
			failed = 1
		}
		if r.Began.Add(r.Took).Before(p.killedAt) {
			s.before, s.beforeFailed = s.before+1, s.beforeFailed+failed
		} else {
			s.after, s.failed = s.after+1, s.failed+failed
		}
	}
	rows := [][]string{{"LOAD", "BEFORE", "FAILED", "DURING", "FAILED"}}
	for _, name := range sortedKeys(sums) {
		s := sums[name]
		rows = append(rows, []string{name, fmt.Sprint(s.before), fmt.Sprint(s.beforeFailed), fmt.Sprint(s.after), fmt.Sprint(s.failed)})
	}
	d.console.Line("")
	d.console.Table(rows)
	for _, p := range []struct{ kind, text string }{
		{load.KindLogin, "no login of a client that knows every endpoint fails"},
		{load.KindPinned, "no login at the surviving regions fails"},
		{load.KindRegister + elsewhere, "no registration of the other users fails"},
	} {
		s := sums[p.kind]
		if s == nil {
			continue // nobody is at home there
		}
		d.promised(s.failed+s.beforeFailed == 0 && s.after > 0, p.text, "%d of %d failed", s.failed+s.beforeFailed, s.after+s.before)
	}
}

// tryHealed checks that everything works again.
func (p *people) tryHealed(ctx context.Context, d *Demo) {
	at := load.Without(d.endpoints(), d.killed.Name)[0]
	u := p.population.New()
	if d.degradable() {
		u = p.population.NewAt(d.killed.Name)
	}
	a := p.client.Register(ctx, u, []load.Endpoint{at}, "en")
	d.promised(a.Status == http.StatusCreated, "registrations of its users work again", "status %d", a.Status)
	limited, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	began := d.options.Clock.Now()
	err := (&people{client: p.client, users: []load.User{u}}).knownEverywhere(limited, d.endpoints())
	d.promised(err == nil, "and reach every region again", "after %s", term.Seconds(d.options.Clock.Since(began)))
}
