package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/chaos/check"
	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/writers"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/playground/underlay"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	// flapReturns is how often the region that flaps gets its keys back: the last time after it was held down for 40 s.
	flapReturns = 3
	// flapLimit bounds each loss, and each return beyond the hold-down.
	flapLimit = 90 * time.Second
	flapLook  = 100 * time.Millisecond
)

// Flap cuts one region off over and over again, each time as soon as it has its keys back, which is what moves owners most often;
// and judges how often it got them, besides the writes. broken says that something must never be.
func Flap(ctx context.Context, o Options) (broken bool, err error) {
	network, err := underlay.New()
	if err != nil {
		return false, err
	}
	c := &chaos{options: o, console: term.New(o.Out, o.Color, o.Clock), network: network, flapping: true}
	s, err := c.begin(ctx)
	if err != nil {
		return false, err
	}
	region := Regions[o.Seed%uint64(len(Regions))]
	violations, err := c.flap(ctx, s, region)
	err = errors.Join(err, s.end())
	c.console.Section("Verdict")
	for _, text := range violations {
		c.console.Line("%s", text)
	}
	broken = len(violations) > 0
	c.console.Verdict(!broken && err == nil, "a region that flaps is held down for longer each time", fmt.Sprintf("seed %d, %s", o.Seed, region))
	return broken, c.leave(broken, err)
}

// flap has the region come and go, with writers at every gateway.
func (c *chaos) flap(ctx context.Context, s *storm, region string) (violations []string, err error) {
	c.console.Section(fmt.Sprintf("%s is cut off whenever it has its keys", region))
	w := writers.Write(ctx, 1, s.endpoints(), c.options.Keys, time.Duration(c.options.Keys)*time.Second/time.Duration(c.options.Rate))
	defer w.End()
	timings, began := ownership.DefaultTimings(), history.Now()
	var healed []time.Duration
	inject := &injector{s: s, down: map[string]bool{}}
	for n := 1; n <= flapReturns; n++ {
		heal, err := inject.cut(&Fault{Kind: CutOff, Region: region})
		if err != nil {
			return nil, err
		}
		if err := s.becomes(ctx, region, flapLimit, func(state ownership.RegionState) bool { return state != ownership.RegionServing }); err != nil {
			return nil, errors.Join(err, heal(context.WithoutCancel(ctx)))
		}
		healed = append(healed, history.Now())
		if err := heal(ctx); err != nil {
			return nil, err
		}
		limit := flapLimit + health.HoldDown(timings, n)
		if err := s.becomes(ctx, region, limit, func(state ownership.RegionState) bool { return state == ownership.RegionServing }); err != nil {
			return nil, err
		}
		c.console.Line("%6s  %s has its keys again, for the %d. time; it was reachable for %.1fs", fmt.Sprintf("+%.1fs", (history.Now()-began).Seconds()), region, n,
			(history.Now() - healed[n-1]).Seconds())
	}
	returns := s.watch.returns(region, began)
	violations = flaps(timings, region, began, healed, returns)
	if err := s.recover(ctx); err != nil {
		return nil, err
	}
	if err := s.settle(ctx, w); err != nil {
		return nil, err
	}
	notes, err := s.notes()
	if err != nil {
		return nil, err
	}
	v := check.Judge(&history.History{Ops: w.End(), Notes: notes, Losses: s.watch.lost()})
	took := history.Now() - began
	c.console.Line("%s got its keys back %d times in %s, at most %d times are promised; %d writes acknowledged, %d changes of owners between writes",
		region, len(returns), took.Round(time.Second), most(timings, took), v.Acknowledged, v.Handovers)
	return append(violations, v.Violations...), nil
}

// becomes waits until the agreed view, while it is open, has a region in a state.
func (s *storm) becomes(ctx context.Context, region string, limit time.Duration, is func(ownership.RegionState) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	return poll.Until(ctx, flapLook, func(context.Context) error {
		view := s.watch.now().View
		if state := view.Regions[region].State; view.Phase != ownership.PhaseOpen || !is(state) {
			return fmt.Errorf("%s is %s, and the view %s", region, state, view.Phase)
		}
		return nil
	})
}

// most is how often a region that flaps for so long gets its keys back, as docs/concepts/simulation.md has it.
func most(t ownership.Timings, took time.Duration) int {
	return int(math.Log2(float64(took)/float64(t.UpAfter) + 1))
}

// flaps judges when a region got its keys back: no oftener than promised, at any time, and never before it had been reachable for
// its hold-down since the network was mended. Clocks of leaders may be fast by ownership.MaxDrift.
func flaps(t ownership.Timings, region string, began time.Duration, healed, returns []time.Duration) (violations []string) {
	for i, at := range returns {
		took := time.Duration(float64(at-began) * (1 + ownership.MaxDrift))
		if limit := most(t, took); i+1 > limit {
			violations = append(violations, fmt.Sprintf("%s got its keys back for the %d. time %s after it began to flap: %d times are promised at most", region, i+1, took, limit))
		}
		if i >= len(healed) {
			violations = append(violations, fmt.Sprintf("%s got its keys back %d times, and was mended %d times", region, len(returns), len(healed)))
			break
		}
		held := time.Duration(float64(at-healed[i]) * (1 + ownership.MaxDrift))
		if hold := health.HoldDown(t, i+1); held < hold {
			violations = append(violations, fmt.Sprintf("%s got its keys back %s after it could be reached again; after %d losses %s have to pass", region, held, i+1, hold))
		}
	}
	return violations
}
