//go:build race

package sim_test

// The race detector makes a run ten times slower, and there is one goroutine: fewer seeds.
const (
	defaultSeeds = 120
	otherSeeds   = 100
	within       = 20
)
