// Package health turns evidence into decisions about regions: an agent's Observer turns probe
// results into evidence, and the leader's Decide turns everybody's evidence and the beats that it
// has watched into what to write next. It is pure: time comes in as an argument, measured on a
// monotonic clock that also counts suspension, and nothing is read or written here. It must never
// conclude from one region's word, a wall clock, or the absence of news about itself.
//
// The rules R4, R5, R13 and R14 are explained in docs/concepts/ownership.md.
package health
