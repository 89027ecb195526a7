// Package world is the ground that a simulation of the ownership protocol stands on: true time,
// machines with drifting clocks, processes that pause and die, and a network that loses, delays,
// reorders and partitions. Everything runs in one goroutine, and everything that happens follows from
// the seed, so that a run can be repeated.
//
// It must never look at a real clock, start a goroutine, draw from a source that is not the world's,
// or know anything of the protocol that runs in it.
package world
