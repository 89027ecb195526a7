// Package sim runs the ownership protocol against everything that may go wrong, and checks at every
// step what the protocol promises. The network, the machines and their clocks are simulated
// (package world), and so is the coordination store (package store). Decisions come from the real code
// in internal/health and internal/ownership. What internal/agent, internal/coordination and
// internal/gateway do around them, which is reading, waiting and writing, is repeated here step by
// step; comments name the function that a part repeats.
//
// It must never use real time or a goroutine, and never repair what the protocol does: a violation of
// an invariant is the result. docs/concepts/simulation.md tells what is simulated and how to replay a
// seed.
package sim
