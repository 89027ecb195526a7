// Package register is the service that chaos torments: every key has a chain of writes, each of which names
// the one before it, so that a write which got lost, or two owners at a time, show in what it answers.
//
// A write is in the region's Kafka before it is answered, and its state is made of the topics alone: the
// region's own and those mirrored from the others. It does what the operator asks of applications (it
// compares fencing tokens, and gives up when a request has broken off), and no more.
package register

import (
	_ "embed"
	"sync"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

// Image is that of the Manifest's Pods: the playground itself is the program.
const Image = "multiactive.dev/playground/register"

// Manifest declares the service.
//
//go:embed register.yaml
var Manifest []byte

// Register is the state of all keys.
type Register struct {
	mu    sync.Mutex
	cells map[string]*cell
}

// cell is one key.
type cell struct {
	// turn has the key's writes one after the other.
	turn  chan struct{}
	state history.Entry
	// tried is the highest number that was given to a write, also to one whose fate is unknown: no other
	// write may have it.
	tried int64
}

// New returns an empty register.
func New() *Register { return &Register{cells: map[string]*cell{}} }

// cell must be called with mu held.
func (r *Register) cell(key string) *cell {
	c := r.cells[key]
	if c == nil {
		c = &cell{turn: make(chan struct{}, 1)}
		r.cells[key] = c
	}
	return c
}

// Get returns the key's newest entry; the zero one when it has none.
func (r *Register) Get(key string) history.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cell(key).state
}

// Apply makes the entry the key's newest unless a newer one is there. Order and repetition do not matter.
func (r *Register) Apply(e history.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.cell(e.Key); e.Newer(c.state) {
		c.state = e
	}
}

// Next makes e the link after the key's newest entry, which it returns.
func (r *Register) Next(e *history.Entry) (former history.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.cell(e.Key)
	c.tried = max(c.tried, c.state.Seq) + 1
	e.Prev, e.Seq = c.state.ID, c.tried
	return c.state
}

// Tried notes a number that was given to a write in an earlier life.
func (r *Register) Tried(key string, seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.cell(key)
	c.tried = max(c.tried, seq)
}

// turn is the lock of the key's writes, which one can give up waiting for.
func (r *Register) turn(key string) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cell(key).turn
}
