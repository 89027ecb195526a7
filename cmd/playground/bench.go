package main

import (
	"context"

	"multiactive.dev/operator/internal/playground/demo"
)

const benchUsage = `playground bench-failover kills and brings back one region after the other and measures
how long it takes from the kill until every user of the example service has logged in
elsewhere, and until every gateway routes around the region.

  playground bench-failover --rounds 20

`

// runBench measures many rounds.
func runBench(ctx context.Context, args []string) error {
	var c common
	var rounds int
	err := c.parse("playground bench-failover", benchUsage, args, func(_ *common, flags flagSet) {
		flags.IntVar(&rounds, "rounds", 20, "how many kills")
	})
	if err != nil {
		return err
	}
	broken, err := demo.Bench(ctx, c.options, rounds)
	if err == nil && broken {
		return errBroken
	}
	return err
}
