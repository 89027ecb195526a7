package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"multiactive.dev/operator/internal/playground/term"
)

// Bench kills and brings back the regions in turn and reports the 95th percentile of the times.
func Bench(ctx context.Context, o Options, rounds int) (broken bool, err error) {
	if rounds < 1 {
		return false, fmt.Errorf("--rounds %d: at least one is needed", rounds)
	}
	o.LoadUsers = true
	d, err := start(ctx, o)
	if d == nil {
		return false, errors.Join(err, tidy(o))
	}
	defer func() { err = errors.Join(err, d.end()) }()
	if err == nil {
		err = d.populate(ctx)
	}
	if err == nil {
		err = d.rounds(ctx, rounds)
	}
	if err != nil {
		d.explain(ctx)
		return false, err
	}
	return d.summary(), nil
}

// round is what one kill came to.
type round struct {
	logins, rerouted, returned time.Duration
	refused                    int
	leader                     string // region where the leader ran before
}

func (d *Demo) rounds(ctx context.Context, count int) error {
	d.console.Section(fmt.Sprintf("%d kills", count))
	results := make([]round, 0, count)
	rows := [][]string{{"ROUND", "LOST", "LEADER", "LOGINS", "REROUTED", "BACK", "REFUSED"}}
	for i := range count {
		d.killed = d.world.Regions()[i%len(d.world.Regions())]
		done := d.console.Step(fmt.Sprintf("round %d: %s", i+1, d.killed.Name))
		r, err := d.round(ctx)
		done(err)
		if err != nil {
			return fmt.Errorf("round %d (%s): %w", i+1, d.killed.Name, err)
		}
		rows = append(rows, []string{
			strconv.Itoa(i + 1), d.killed.Name, r.leader, term.Seconds(r.logins), term.Seconds(r.rerouted), term.Seconds(r.returned), strconv.Itoa(r.refused),
		})
		results = append(results, r)
	}
	d.console.Table(rows)
	d.promises = nil
	refused := 0
	for _, r := range results {
		refused += r.refused
	}
	logins := percentile(results, func(r round) time.Duration { return r.logins })
	rerouted := percentile(results, func(r round) time.Duration { return r.rerouted })
	d.promised(logins <= loginBound && refused == 0, "every user has logged in elsewhere: 95th percentile within "+term.Seconds(loginBound),
		"%s, %d refused", term.Seconds(logins), refused)
	bound := rerouteBound + electionBound // the leader's region is among them
	d.promised(rerouted <= bound, "every gateway routes around it: 95th percentile within "+term.Seconds(bound), "%s", term.Seconds(rerouted))
	return nil
}

func (d *Demo) round(ctx context.Context) (round, error) {
	t := newTimeline()
	leader := d.leader(ctx)
	watching, cancel := context.WithTimeout(ctx, outageTimeout)
	defer cancel()
	watch, err := d.watchOutage(watching, t)
	if err != nil {
		return round{}, err
	}
	killed := d.options.Clock.Now()
	if err := d.killed.Kill(); err != nil {
		return round{}, err
	}
	refused, loginErr := d.people.loginAll(ctx, d, t, killed)
	if err := errors.Join(loginErr, watch()); err != nil {
		return round{}, err
	}
	out := round{refused: refused, leader: leader}
	if at, seen := t.at(eventLoginsBack); seen {
		out.logins = at.Sub(killed)
	}
	if at, seen := t.at(eventRerouted); seen {
		out.rerouted = at.Sub(killed)
	}
	began := d.options.Clock.Now()
	if err := d.killed.Return(ctx); err != nil {
		return round{}, err
	}
	if err := d.await(ctx, returnTimeout, d.allServe); err != nil {
		return round{}, err
	}
	if err := d.orderHandback(ctx); err != nil {
		return round{}, err
	}
	out.returned = d.options.Clock.Since(began)
	return out, nil
}

// percentile returns the 95th percentile by the nearest rank.
func percentile(rounds []round, of func(round) time.Duration) time.Duration {
	values := make([]time.Duration, 0, len(rounds))
	for _, r := range rounds {
		values = append(values, of(r))
	}
	slices.Sort(values)
	rank := int(math.Ceil(0.95 * float64(len(values))))
	return values[max(0, rank-1)]
}
