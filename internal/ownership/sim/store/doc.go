// Package store is the coordination store of the simulation: the content of an etcd with revisions
// and guarded transactions, without a network or time. Its requests are those of
// internal/coordination, with the same comparisons under the same names; a contract test holds the
// two together.
//
// It must never let a write through that the real store refuses, nor the reverse: a simulation on a
// kinder store proves nothing.
package store
