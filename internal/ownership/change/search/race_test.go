//go:build race

package search

// raceEnabled: everything takes ten times as long.
const raceEnabled = true
