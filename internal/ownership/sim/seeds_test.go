//go:build !race

package sim_test

// defaultSeeds is how many seeds TestSeeds runs, otherSeeds the tests beside it, and within how many a
// mutant must be caught.
const (
	defaultSeeds = 1_000
	otherSeeds   = 150
	within       = 2_000
)
