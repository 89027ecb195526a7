package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// figures of one contender.
type figures struct {
	name, version string
	// full are the rounds at full speed, half those at half of the gateway's, light those at a small share of it.
	full, half, light []result
	// idleMB is what the process and its children take while connections are idle.
	idleMB float64
}

// measure goes through all contenders in every round.
func measure(ctx context.Context, o *options, w *world, contenders []*contender, p *page) error {
	p.figures = make([]figures, len(contenders))
	for i, c := range contenders {
		p.figures[i] = figures{name: c.name, version: c.version}
		c.key = w.local[0]
	}
	for round := range o.rounds {
		for i, c := range contenders {
			r, err := fullSpeed(ctx, o, c, w.local)
			if err != nil {
				return fmt.Errorf("%s at full speed: %w", c.name, err)
			}
			progress("round %d, %s: %.0f requests per second", round+1, c.name, r.perSecond)
			p.figures[i].full = append(p.figures[i].full, r)
		}
	}
	most := p.figureOf(nameGateway).perSecond()
	p.rate, p.lightRate = most/2, most/lightShare
	half, light := func(f *figures) *[]result { return &f.half }, func(f *figures) *[]result { return &f.light }
	if err := atRate(ctx, o, w, contenders, p, p.rate, half); err != nil {
		return err
	}
	if err := atRate(ctx, o, w, contenders, p, p.lightRate, light); err != nil {
		return err
	}
	for i, c := range contenders {
		if c.direct {
			continue
		}
		var err error
		if p.figures[i].idleMB, err = idleMemory(ctx, o, c); err != nil {
			return fmt.Errorf("%s with idle connections: %w", c.name, err)
		}
		progress("%s with %d idle connections: %.0f MB", c.name, o.idle, p.figures[i].idleMB)
	}
	return nil
}

// lightShare: the second measurement of latency is at this share of the gateway's most, to tell what it adds from what the
// load, the upstreams and the contenders do to each other on few processors.
const lightShare = 8

// atRate goes through all contenders in every round at a fixed rate.
func atRate(ctx context.Context, o *options, w *world, contenders []*contender, p *page, rate float64, into func(*figures) *[]result) error {
	for round := range o.rounds {
		for i, c := range contenders {
			r, err := load(ctx, o, c, w.local, rate)
			if err != nil {
				return fmt.Errorf("%s at %.0f requests per second: %w", c.name, rate, err)
			}
			progress("round %d, %s at %.0f requests per second: p50 %s, p99 %s", round+1, c.name, rate, r.p50, r.p99)
			list := into(&p.figures[i])
			*list = append(*list, r)
		}
	}
	return nil
}

// progress tells whoever waits what goes on.
func progress(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

// fullSpeed measures one round as fast as it goes, and what processor time and allocations each request takes.
func fullSpeed(ctx context.Context, o *options, c *contender, keys []string) (result, error) {
	before, err := c.processorTime()
	if err != nil {
		return result{}, err
	}
	made, err := c.allocations(ctx)
	if err != nil {
		return result{}, err
	}
	r, err := load(ctx, o, c, keys, 0)
	if err != nil {
		return r, err
	}
	after, err := c.processorTime()
	if err != nil {
		return r, err
	}
	r.cpu = (after - before) / time.Duration(max(r.requests, 1))
	now, err := c.allocations(ctx)
	r.allocations = (now - made) / float64(max(r.requests, 1))
	return r, err
}

// median of what the rounds say.
func median[T float64 | time.Duration](rounds []result, of func(result) T) T {
	values := make([]T, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (f *figures) perSecond() float64 {
	return median(f.full, func(r result) float64 { return r.perSecond })
}

func (f *figures) cpu() time.Duration {
	return median(f.full, func(r result) time.Duration { return r.cpu })
}

func (f *figures) allocations() float64 {
	return median(f.full, func(r result) float64 { return r.allocations })
}

func (f *figures) p50() time.Duration { return p50(f.half) }

func (f *figures) p99() time.Duration { return p99(f.half) }

func p50(rounds []result) time.Duration {
	return median(rounds, func(r result) time.Duration { return r.p50 })
}

func p99(rounds []result) time.Duration {
	return median(rounds, func(r result) time.Duration { return r.p99 })
}

// busy is the share of the machine's processor time that was used, by whomever.
func busy(rounds []result) float64 {
	return median(rounds, func(r result) float64 { return r.busy })
}
