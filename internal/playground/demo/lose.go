package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/poll"
)

// Goals for packets that are dropped, and for the takeover of home writes.
const (
	loginCutBound = 8 * time.Second
	takeoverBound = 10 * time.Second
	takeoverCut   = 12 * time.Second
	// writeInterval is how often a home write of the lost region is tried.
	writeInterval = 100 * time.Millisecond
)

// lose loses one region, measures what follows and, unless it is the last, brings it back.
func (d *Demo) lose(ctx context.Context, l loss, last bool, out *results) error {
	ctx, cancel := context.WithTimeout(ctx, 2*roundTimeout)
	defer cancel()
	victim, leads, err := d.victim(ctx, l.leader)
	if err != nil {
		return err
	}
	d.killed = victim
	d.ready(ctx) // what a leader's end, or a return, has left to tell would count as told of the loss
	what, where := "killed", "another region"
	if l.part == PartCut {
		what = "cut off"
	}
	if leads {
		where = "the leader's region"
	}
	if err := d.calm(ctx); err != nil {
		return err
	}
	done := d.console.Step(fmt.Sprintf("%s, %s, is %s", victim.Name, where, what))
	r, err := d.loss(ctx, l.part)
	done(err)
	if err != nil {
		return fmt.Errorf("losing %s: %w", victim.Name, err)
	}
	d.console.Line("logins %s, rerouted %s, taken over %s, settled %s; %d logins refused",
		term.Seconds(r.logins), term.Seconds(r.rerouted), term.Seconds(r.takenOver), term.Seconds(r.settled), r.refused)
	r.written.show(d)
	r.report(out, l.part, where)
	if last {
		return nil
	}
	return d.recover(ctx, l.part)
}

// lost is what one loss came to; times are from the fault.
type lost struct {
	logins, rerouted, takenOver, settled time.Duration
	refused                              int
	written                              counted
}

func (r *lost) report(out *results, part Part, where string) {
	what, logins, takeover := "killed", loginBound, takeoverBound
	if part == PartCut {
		what, logins, takeover = "cut off", loginCutBound, takeoverCut
	}
	if where == "the leader's region" {
		takeover += electionBound
	}
	out.took("every user logs in elsewhere, "+what, logins, r.logins)
	out.count("  logins refused, "+what, 0, r.refused)
	out.took("every gateway reroutes, "+where+" "+what, takeover, r.rerouted)
	out.took("home writes taken over, "+where+" "+what, takeover, r.takenOver)
	out.took("last gateway has the new owners, "+where+" "+what, 0, r.settled)
	out.count("  transactions until then, "+where+" "+what, transactionsBound, len(r.written.transactions))
	out.count("  writes to API servers until then, "+where+" "+what, writesBound, len(r.written.writes))
}

// victim chooses a region that owns keys: the leader's, or another than that. When the leader is in a region
// without keys, its process is ended once, so that another leads.
func (d *Demo) victim(ctx context.Context, leader bool) (*world.Region, bool, error) {
	owners := d.ownerRegions()
	for {
		name, err := d.awaitLeader(ctx)
		if err != nil {
			return nil, false, err
		}
		leads := slices.IndexFunc(owners, func(r *world.Region) bool { return r.Name == name })
		switch {
		case leader && leads >= 0:
			return owners[leads], true, nil
		case !leader:
			d.turn++
			if d.turn%len(owners) == leads {
				d.turn++
			}
			return owners[d.turn%len(owners)], false, nil
		}
		done := d.console.Step("the leader is in " + name + ", nobody's home: its process is ended until another leads")
		err = d.moveLeader(ctx, d.world.Region(name))
		done(err)
		if err != nil {
			return nil, false, err
		}
	}
}

// ownerRegions are those that somebody is at home in.
func (d *Demo) ownerRegions() []*world.Region {
	var out []*world.Region
	for _, r := range d.manifest.Service.Spec.Regions {
		if r.Weight == nil || *r.Weight > 0 {
			out = append(out, d.world.Region(r.Name))
		}
	}
	return out
}

func (d *Demo) awaitLeader(ctx context.Context) (name string, err error) {
	err = d.await(ctx, outageTimeout, func(ctx context.Context) error {
		if name = d.leader(ctx); name == "" {
			return errors.New("no agent says that it leads")
		}
		return nil
	})
	return name, err
}

// moveLeader ends the member process of the leader's region, and waits until everything is well again.
func (d *Demo) moveLeader(ctx context.Context, r *world.Region) error {
	if err := r.CrashManager(); err != nil {
		return err
	}
	err := d.await(ctx, outageTimeout, func(ctx context.Context) error {
		if name := d.leader(ctx); name == "" || name == r.Name {
			return fmt.Errorf("%q leads", name)
		}
		return nil
	})
	return errors.Join(err, d.await(ctx, outageTimeout, d.allServe))
}

// loss is the fault and what follows until every gateway acts on the new owners.
func (d *Demo) loss(ctx context.Context, part Part) (out lost, err error) {
	count, err := d.counter(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, count.recorder.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, outageTimeout)
	defer cancel()
	fault := d.killed.Kill
	if part == PartCut {
		fault = d.killed.CutOff
	}
	began := d.options.Clock.Now()
	if err := fault(); err != nil {
		return out, err
	}
	var all sync.WaitGroup
	var failures [4]error
	since := func(at *time.Duration) { *at = d.options.Clock.Since(began) }
	all.Go(func() { out.logins, out.refused, failures[0] = d.people.loginUntilServed(ctx, d, began) })
	all.Go(func() { failures[1] = poll.Until(ctx, lookInterval, d.rerouted); since(&out.rerouted) })
	all.Go(func() { failures[2] = d.people.takenOver(ctx, d); since(&out.takenOver) })
	all.Go(func() { failures[3] = poll.Until(ctx, d.viewInterval(), d.settledWithout); since(&out.settled) })
	if c := d.crowds[d.killed.Name]; c != nil {
		all.Go(c.End)
	}
	all.Wait()
	if err := errors.Join(failures[:]...); err != nil {
		return out, err
	}
	out.written, err = count.between(began, began.Add(out.settled))
	out.written.explain(ctx, d)
	return out, err
}

// recover brings the region back and hands its users back to it.
func (d *Demo) recover(ctx context.Context, part Part) error {
	done := d.console.Step("it returns, and owns its users again")
	err := func() error {
		if part == PartCut {
			if err := d.killed.Rejoin(); err != nil {
				return err
			}
		} else if err := d.killed.Return(ctx); err != nil {
			return err
		}
		if err := d.await(ctx, returnTimeout, d.allServe); err != nil {
			return err
		}
		if err := d.orderHandback(ctx); err != nil {
			return err
		}
		return d.settle(ctx)
	}()
	done(err)
	return err
}

// loginUntilServed logs every user in, again and again, until all have been logged in by clients that know
// every endpoint. It returns when they had, and how many were refused until then.
func (p *people) loginUntilServed(ctx context.Context, d *Demo, fault time.Time) (took time.Duration, refused int, err error) {
	for {
		last, missed, err := p.loginOnce(ctx, d)
		refused += missed
		if err != nil || missed == 0 {
			return last.Sub(fault), refused, err
		}
		if ctx.Err() != nil {
			return 0, refused, fmt.Errorf("%d users could not log in: %w", missed, context.Cause(ctx))
		}
	}
}

// takenOver tries home writes of users who are at home in the lost region, at the others' gateways in turn,
// each of a new user, until one is accepted.
func (p *people) takenOver(ctx context.Context, d *Demo) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endpoints := load.Without(d.endpoints(), d.killed.Name)
	accepted := make(chan struct{}, 1)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	ticker := d.options.Clock.NewTicker(writeInterval)
	defer ticker.Stop()
	for i := 0; ; i++ {
		u, at := p.population.NewAt(d.killed.Name), endpoints[i%len(endpoints)]
		all.Go(func() {
			if a := p.client.Register(ctx, u, []load.Endpoint{at}, ""); a.Status == http.StatusCreated {
				select {
				case accepted <- struct{}{}:
				default: // another was
				}
			}
		})
		select {
		case <-accepted:
			return nil
		case <-ticker.C():
		case <-ctx.Done():
			return fmt.Errorf("no home write of %s was accepted elsewhere: %w", d.killed.Name, context.Cause(ctx))
		}
	}
}
