package requestlogtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/requestlog"
)

// patience bounds every wait for an event.
const patience = 60 * time.Second

// Contract checks what the gateways expect of a log. open returns another client of one log, which is
// empty and has several partitions; it is closed with the test.
func Contract(t *testing.T, open func(t *testing.T) requestlog.Log) {
	t.Run("every record is read in order, from the beginning, by everybody", func(t *testing.T) { order(t, open) })
	t.Run("each partition is held by one", func(t *testing.T) { hold(t, open) })
}

func order(t *testing.T, open func(t *testing.T) requestlog.Log) {
	log := open(t)
	before, err := log.Bounds(t.Context())
	if err != nil || len(before) < 2 {
		t.Fatalf("bounds are %v, %v; want several partitions", before, err)
	}
	const written, records = 40, 48
	at := map[requestlog.Position]string{}
	slots := map[int]int32{}
	write := func(i int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		slot, value := i%7, fmt.Sprint("record ", i)
		p, err := log.Append(ctx, slot, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		if earlier, known := slots[slot]; known && earlier != p.Partition {
			t.Errorf("slot %d is in partitions %d and %d", slot, earlier, p.Partition)
		}
		slots[slot], at[p] = p.Partition, value
		if i%5 == 0 {
			value += " again"
			again, err := log.AppendTo(ctx, p.Partition, []byte(value))
			if err != nil || again.Partition != p.Partition {
				t.Fatalf("a record for partition %d is at %v, %v", p.Partition, again, err)
			}
			at[again] = value
		}
	}
	for i := range written / 2 {
		write(i)
	}
	early, late := follow(t, open(t)), follow(t, open(t))
	for i := range written / 2 {
		write(written/2 + i)
	}
	for _, f := range []*follower{early, late} {
		if got := f.wait(t, records); len(got) != records {
			t.Fatalf("read %d records, want %d", len(got), records)
		}
		next := map[int32]int64{}
		for _, r := range f.got {
			if at[r.Position] != string(r.Value) || r.Offset < next[r.Partition] {
				t.Errorf("%v: read %q after offset %d, wrote %q", r.Position, r.Value, next[r.Partition], at[r.Position])
			}
			next[r.Partition] = r.Offset + 1
		}
	}
	bounds, err := log.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, b := range bounds {
		total += b.End - b.Start
	}
	if total != records {
		t.Errorf("the bounds %v hold %d records, want %d", bounds, total, records)
	}
}

type follower struct {
	mu      sync.Mutex
	got     []requestlog.Record
	changed chan struct{}
}

func follow(t *testing.T, log requestlog.Log) *follower {
	f := &follower{changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.Follow(ctx, func(records []requestlog.Record) {
			f.mu.Lock()
			f.got = append(f.got, records...)
			f.mu.Unlock()
			notify(f.changed)
		}, func(err error) { t.Logf("following: %v", err) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *follower) wait(t *testing.T, n int) []requestlog.Record {
	t.Helper()
	timeout := time.After(patience)
	for {
		f.mu.Lock()
		got := slices.Clone(f.got)
		f.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-f.changed:
		case <-timeout:
			t.Fatalf("read %d records, want %d", len(got), n)
		}
	}
}

// board is who holds each partition.
type board struct {
	mu      sync.Mutex
	holders map[int32]string
	faults  []string
	changed chan struct{}
}

// join competes by a client until the returned function is called.
func (b *board) join(log requestlog.Log, name string) (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.Hold(ctx, func(p int32) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if other := b.holders[p]; other != "" {
				b.faults = append(b.faults, fmt.Sprintf("%s got partition %d, which %s holds", name, p, other))
			}
			b.holders[p] = name
			notify(b.changed)
		}, func(p int32) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.holders[p] != name {
				b.faults = append(b.faults, fmt.Sprintf("%s lost partition %d, which %q holds", name, p, b.holders[p]))
			}
			delete(b.holders, p)
			notify(b.changed)
		})
	}()
	return func() { cancel(); <-done }
}

func (b *board) wait(t *testing.T, what string, ok func(counts map[string]int) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		counts := map[string]int{}
		for _, name := range b.holders {
			counts[name]++
		}
		for _, f := range b.faults {
			t.Error(f)
		}
		b.mu.Unlock()
		if ok(counts) {
			return
		}
		select {
		case <-b.changed:
		case <-timeout:
			t.Fatalf("%s: held are %v", what, counts)
		}
	}
}

func hold(t *testing.T, open func(t *testing.T) requestlog.Log) {
	first := open(t)
	bounds, err := first.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := len(bounds)
	b := &board{holders: map[int32]string{}, changed: make(chan struct{}, 1)}
	leaveFirst := b.join(first, "first")
	b.wait(t, "one alone", func(n map[string]int) bool { return n["first"] == all })
	leaveSecond := b.join(open(t), "second")
	b.wait(t, "two", func(n map[string]int) bool { return n["first"] > 0 && n["second"] > 0 && n["first"]+n["second"] == all })
	leaveFirst()
	b.wait(t, "the other alone", func(n map[string]int) bool { return n["second"] == all })
	leaveSecond()
	b.wait(t, "none", func(n map[string]int) bool { return len(n) == 0 })
}
