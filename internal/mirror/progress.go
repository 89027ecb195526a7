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
// of records of an earlier generation that are to be sent again are ignored.
type progress struct {
	mu         sync.Mutex
	generation int
	running    bool
	// next is the lowest offset that may come from the source now.
	next int64
	// acked: every record below it is at the target, or needs not be there.
	acked position
	// sent are the records from acked on, by offset.
	sent  []sent
	bytes int64
	err   error
}

// position is an offset of the source, with the leader epoch of the record before it; noEpoch when that is not known.
type position struct {
	offset int64
	epoch  int32
}

const noEpoch int32 = -1

type sent struct {
	position
	generation int
	bytes      int64
	done       bool
}

// start begins a generation at a position.
func (p *progress) start(at position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.generation++
	p.next, p.acked = at.offset, at
	p.sent, p.bytes = nil, 0
	p.running, p.err = true, nil
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
func (p *progress) accept(record position, bytes int64) (generation int, expected position, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return 0, position{}, false
	}
	expected = position{p.next, p.newest()}
	if record.offset < expected.offset {
		p.cut(record.offset)
	}
	p.next = record.offset + 1
	p.sent = append(p.sent, sent{position: record, generation: p.generation, bytes: bytes})
	p.bytes += bytes
	return p.generation, expected, true
}

// newest is the leader epoch of the record before next.
func (p *progress) newest() int32 {
	if n := len(p.sent); n > 0 {
		return p.sent[n-1].epoch
	}
	return p.acked.epoch
}

// rewind is told that the source has lost what it had from an offset on. It returns how far it was read; ok is false
// when that is not beyond the offset.
func (p *progress) rewind(offset int64) (read int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if read = p.next; !p.running || offset >= read {
		return read, false
	}
	p.cut(offset)
	p.next = offset
	return read, true
}

// cut begins a generation for what comes from an offset on, in place of what was read of it. What is below it and on
// its way is still waited for: the source has it, and it is to be sent again if it does not arrive.
func (p *progress) cut(offset int64) {
	p.generation++
	kept, _ := p.find(offset)
	for _, s := range p.sent[kept:] {
		p.bytes -= s.bytes
	}
	p.sent = p.sent[:kept]
	if p.acked.offset > offset {
		p.acked = position{offset, noEpoch}
	}
}

func (p *progress) find(offset int64) (int, bool) {
	return slices.BinarySearchFunc(p.sent, offset, func(s sent, o int64) int { return cmp.Compare(s.offset, o) })
}

// done marks a record as arrived (or as one that need not arrive).
func (p *progress) done(generation int, offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, found := p.find(offset)
	if !found || p.sent[i].generation != generation {
		return
	}
	p.sent[i].done = true
	n := 0
	for n < len(p.sent) && p.sent[n].done {
		p.acked = position{p.sent[n].offset + 1, p.sent[n].epoch}
		p.bytes -= p.sent[n].bytes
		n++
	}
	p.sent = p.sent[n:]
	if len(p.sent) == 0 {
		p.sent = nil // let go of the array, it may have grown large
	}
}

// fail ends the generation because the target refused a record that is still waited for.
func (p *progress) fail(generation int, offset int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i, found := p.find(offset); found && p.sent[i].generation == generation {
		p.halt(err)
	}
}

// snapshot is what others may know about a partition.
type snapshot struct {
	running bool
	acked   position
	// waiting are the records that were read and have not arrived.
	waiting int
	bytes   int64
	err     error
}

func (p *progress) snapshot() snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return snapshot{running: p.running, acked: p.acked, waiting: len(p.sent), bytes: p.bytes, err: p.err}
}
