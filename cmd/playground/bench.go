package main

import (
	"context"
	"strings"

	"multiactive.dev/operator/internal/playground/demo"
)

const benchUsage = `playground bench-failover measures what is promised, in worlds of the example service: how
long users cannot log in and home writes have no owner when a region is killed or cut off (all
packets dropped), what that writes to the coordination store and to API servers, whether home
writes are refused when only the leader's process, the hub or a member of the store is lost,
and how long a drain and the handback after it take. The exit status is 1 when a goal is missed.

  playground bench-failover --rounds 4
  playground bench-failover --rounds 10 --only kill,cut

The parts are alone, drain, kill, cut, and many: a region of a world with --services services
is killed, once, and what that writes is counted. A region that returns for the n-th time waits 10 s times
2^(n-1) before it serves again, so there is a new world after every four losses.

In the benchmark registrations of users whose region is lost are taken over (the example rejects
them), so that there is a home write whose takeover can be timed.

`

// runBench measures many rounds.
func runBench(ctx context.Context, args []string) error {
	var c common
	var b demo.BenchOptions
	var only string
	err := c.parse("playground bench-failover", benchUsage, args, func(_ *common, flags flagSet) {
		flags.IntVar(&b.Rounds, "rounds", 3, "`rounds` of each part; those of kill and cut alternate between the leader's region and another")
		flags.IntVar(&b.Services, "services", 1000, "how many `services` the world of part many has")
		flags.StringVar(&only, "only", "", "`parts`, separated by commas, of "+demo.PartNames()+" (default: all)")
	})
	if err != nil {
		return err
	}
	if only != "" {
		for part := range strings.SplitSeq(only, ",") {
			b.Only = append(b.Only, demo.Part(part))
		}
	}
	broken, err := demo.Bench(ctx, c.options, b)
	if err == nil && broken {
		return errBroken
	}
	return err
}
