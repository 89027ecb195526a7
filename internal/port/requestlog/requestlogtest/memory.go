// Package requestlogtest holds every implementation of the log to one contract, and has one in memory.
package requestlogtest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"multiactive.dev/operator/internal/port/requestlog"
)

// Memory is a log in memory that several gateways may share, each by its own Member.
type Memory struct {
	mu         sync.Mutex
	partitions [][][]byte
	changed    chan struct{}
	failing    error

	// sharing is held while partitions change hands, members by it.
	sharing sync.Mutex
	members []*member
}

// ErrDown is what a log that is down answers.
var ErrDown = errors.New("the log is down")

// NewMemory returns an empty log.
func NewMemory(partitions int) *Memory {
	return &Memory{partitions: make([][][]byte, partitions), changed: make(chan struct{})}
}

// Fail makes appending and reading of bounds fail with an error, or succeed again with nil.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

// Values returns what is stored, by partition.
func (m *Memory) Values() [][][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([][][]byte, len(m.partitions))
	for p, values := range m.partitions {
		out[p] = slices.Clone(values)
	}
	return out
}

// Append implements requestlog.Log.
func (m *Memory) Append(ctx context.Context, slot int, value []byte) (requestlog.Position, error) {
	return m.AppendTo(ctx, int32(slot%len(m.partitions)), value)
}

// AppendTo implements requestlog.Log.
func (m *Memory) AppendTo(ctx context.Context, p int32, value []byte) (requestlog.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(m.failing, ctx.Err()); err != nil {
		return requestlog.Position{}, err
	}
	m.partitions[p] = append(m.partitions[p], slices.Clone(value))
	close(m.changed)
	m.changed = make(chan struct{})
	return requestlog.Position{Partition: p, Offset: int64(len(m.partitions[p]) - 1)}, nil
}

// Bounds implements requestlog.Log.
func (m *Memory) Bounds(context.Context) (map[int32]requestlog.Bounds, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing != nil {
		return nil, m.failing
	}
	out := map[int32]requestlog.Bounds{}
	for p, values := range m.partitions {
		out[int32(p)] = requestlog.Bounds{End: int64(len(values))}
	}
	return out, nil
}

// Follow implements requestlog.Log.
func (m *Memory) Follow(ctx context.Context, take func([]requestlog.Record), _ func(error)) {
	next := make([]int, len(m.partitions))
	for {
		var records []requestlog.Record
		m.mu.Lock()
		for p, values := range m.partitions {
			for ; next[p] < len(values); next[p]++ {
				records = append(records, requestlog.Record{Position: requestlog.Position{Partition: int32(p), Offset: int64(next[p])}, Value: values[next[p]]})
			}
		}
		changed := m.changed
		m.mu.Unlock()
		if len(records) > 0 {
			take(records)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

type member struct {
	gained, lost func(int32)
	held         map[int32]bool
}

// Hold implements requestlog.Log.
func (m *Memory) Hold(ctx context.Context, gained, lost func(int32)) {
	one := &member{gained: gained, lost: lost, held: map[int32]bool{}}
	m.sharing.Lock()
	m.members = append(m.members, one)
	m.share()
	m.sharing.Unlock()
	<-ctx.Done()
	m.sharing.Lock()
	defer m.sharing.Unlock()
	m.members = slices.DeleteFunc(m.members, func(x *member) bool { return x == one })
	for p := range one.held {
		lost(p)
	}
	m.share()
}

// Expel takes all partitions from the present members, as brokers do with those that they do not hear of.
func (m *Memory) Expel() {
	m.sharing.Lock()
	defer m.sharing.Unlock()
	for _, x := range m.members {
		for p := range x.held {
			x.lost(p)
		}
		clear(x.held)
	}
	m.members = nil
}

// share gives every partition to one member.
func (m *Memory) share() {
	for round := range 2 { // first all is let go of that goes to another
		for p := range m.partitions {
			for i, x := range m.members {
				mine := i == p%len(m.members)
				switch {
				case round == 0 && x.held[int32(p)] && !mine:
					delete(x.held, int32(p))
					x.lost(int32(p))
				case round == 1 && !x.held[int32(p)] && mine:
					x.held[int32(p)] = true
					x.gained(int32(p))
				}
			}
		}
	}
}

// Close implements requestlog.Log.
func (m *Memory) Close() {}
