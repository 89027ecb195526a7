package mirror

import (
	"cmp"
	"slices"
	"sync"
)

// progress follows one partition: what was read from the source, what is on
// its way to the target, and below which offset everything has arrived.
//
// A generation is one uninterrupted run over the partition. Acknowledgements
// of an earlier generation are ignored: after a failure everything from the
// acknowledged offset on is read and sent again.
type progress struct {
	mu         sync.Mutex
	generation int
	running    bool
	// next is the lowest offset that may come from the source now.
	next int64
	// acked: every record below it is at the target, or needs not be there.
	acked int64
	// sent are the records above acked, by offset.
	sent  []sent
	bytes int64
	err   error
}

type sent struct {
	offset int64
	bytes  int64
	done   bool
}

// start begins a generation at an offset.
func (p *progress) start(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restart(offset)
	p.running, p.err = true, nil
}

func (p *progress) restart(offset int64) {
	p.generation++
	p.next, p.acked = offset, offset
	p.sent, p.bytes = nil, 0
}

// stop ends the generation; acked stays where it was.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halt(nil)
}

func (p *progress) halt(err error) {
	p.generation++
	p.running, p.err = false, err
	p.sent, p.bytes = nil, 0
}

// accept takes a record from the source. ok is false when the partition is not
// running and the record must be dropped (it will be read again). expected is the
// offset after what was read before: a record below it says that the source lost
// records or its topic was made anew, one above it that some were not there.
func (p *progress) accept(offset, bytes int64) (generation int, expected int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return 0, 0, false
	}
	if expected = p.next; offset < expected {
		p.restart(offset)
	}
	p.next = offset + 1
	p.sent = append(p.sent, sent{offset: offset, bytes: bytes})
	p.bytes += bytes
	return p.generation, expected, true
}

// done marks a record as arrived (or as one that need not arrive).
func (p *progress) done(generation int, offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if generation != p.generation {
		return
	}
	i, found := slices.BinarySearchFunc(p.sent, offset, func(s sent, o int64) int { return cmp.Compare(s.offset, o) })
	if !found {
		return
	}
	p.sent[i].done = true
	n := 0
	for n < len(p.sent) && p.sent[n].done {
		p.acked = p.sent[n].offset + 1
		p.bytes -= p.sent[n].bytes
		n++
	}
	p.sent = p.sent[n:]
	if len(p.sent) == 0 {
		p.sent = nil // let go of the array, it may have grown large
	}
}

// fail ends the generation because the target refused a record.
func (p *progress) fail(generation int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if generation == p.generation {
		p.halt(err)
	}
}

// snapshot is what others may know about a partition.
type snapshot struct {
	running bool
	acked   int64
	bytes   int64
	err     error
}

func (p *progress) snapshot() snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return snapshot{running: p.running, acked: p.acked, bytes: p.bytes, err: p.err}
}
