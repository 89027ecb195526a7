//go:build !race

package sim_test

// defaultSeeds is how many seeds TestSeeds runs, and otherSeeds the tests beside it.
const (
	defaultSeeds = 1_000
	otherSeeds   = 200
)
