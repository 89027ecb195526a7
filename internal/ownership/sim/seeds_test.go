//go:build !race

package sim_test

// defaultSeeds is how many seeds TestSeeds runs, and otherSeeds the tests beside it.
const (
	defaultSeeds = 1_500
	otherSeeds   = 200
)
