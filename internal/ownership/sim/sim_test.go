package sim_test

import (
	"flag"
	"testing"

	"multiactive.dev/operator/internal/ownership/sim"
)

var (
	seeds = flag.Uint64("seeds", 200, "how many seeds TestSeeds runs")
	fixed = flag.Bool("fixed", false, "x")
	seed  = flag.Uint64("seed", 1, "the seed that TestSeed runs")
)

func options(n uint64) sim.Options {
	return sim.Options{Seed: n, Takeover: n%2 == 0, CountWait: *fixed}
}

func TestSeeds(t *testing.T) {
	var total sim.Result
	for n := uint64(1); n <= *seeds; n++ {
		r := sim.Run(options(n))
		if r.Violation != nil {
			t.Errorf("seed %d: %v", n, r.Violation)
		}
		total.Losses += r.Losses
		total.Returns += r.Returns
		total.Accepted += r.Accepted
		total.Refused += r.Refused
		total.Duration += r.Duration
	}
	t.Logf("%+v", total)
}

func TestSeed(t *testing.T) {
	o := options(*seed)
	o.Traced = true
	r := sim.Run(o)
	for _, line := range r.Trace {
		t.Log(line)
	}
	if r.Violation != nil {
		t.Errorf("seed %d: %v", *seed, r.Violation)
	}
}

func TestMutants(t *testing.T) {
	for _, m := range sim.Mutants() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			for n := uint64(1); n <= 2000; n++ {
				o := options(n)
				o.Mutant = m
				if r := sim.Run(o); r.Violation != nil {
					t.Logf("seed %d: %v", n, r.Violation)
					return
				}
			}
			t.Errorf("not caught")
		})
	}
}
