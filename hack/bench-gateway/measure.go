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
	// full are the rounds at full speed, half those at half of the gateway's.
	full, half []result
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
	p.rate = p.figureOf(nameGateway).perSecond() / 2
	for round := range o.rounds {
		for i, c := range contenders {
			r, err := load(ctx, o, c, w.local, p.rate)
			if err != nil {
				return fmt.Errorf("%s at %.0f requests per second: %w", c.name, p.rate, err)
			}
			progress("round %d, %s at %.0f requests per second: p50 %s, p99 %s", round+1, c.name, p.rate, r.p50, r.p99)
			p.figures[i].half = append(p.figures[i].half, r)
		}
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

// progress tells whoever waits what goes on.
func progress(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

// fullSpeed measures one round as fast as it goes, and what processor time each request takes.
func fullSpeed(ctx context.Context, o *options, c *contender, keys []string) (result, error) {
	before, err := c.processorTime()
	if err != nil {
		return result{}, err
	}
	r, err := load(ctx, o, c, keys, 0)
	if err != nil {
		return r, err
	}
	after, err := c.processorTime()
	r.cpu = (after - before) / time.Duration(max(r.requests, 1))
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

func (f *figures) p50() time.Duration {
	return median(f.half, func(r result) time.Duration { return r.p50 })
}

func (f *figures) p99() time.Duration {
	return median(f.half, func(r result) time.Duration { return r.p99 })
}
