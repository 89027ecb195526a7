package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// endsSeen waits until an engine knows how far the source has come.
func endsSeen(t *testing.T, e *Engine, name string, want int64) {
	t.Helper()
	kafkatest.Eventually(t, "the ends of "+name+" to be seen", func() error {
		if got := knownEnds(e)[name]; got != want {
			return fmt.Errorf("%d of %d are", got, want)
		}
		return nil
	})
}

// knownEnds sums up how far an engine has seen the source's topics come.
func knownEnds(e *Engine) map[string]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]int64{}
	for tp, p := range e.partitions {
		out[tp.topic] += p.end
	}
	return out
}

func remake(t *testing.T, addr, name string, partitions int) {
	t.Helper()
	if _, err := administrator(t, addr).DeleteTopics(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	topic(t, addr, name, partitions)
}

// What a topic had that was deleted before it was copied is counted, to the record, while the target is away: what
// was read by then arrives still.
func TestDeletedBeforeItWasCopied(t *testing.T) {
	source, target := inside(t, "s"), startKafka(t, "t")
	topic(t, source, "a.t", 2)
	w := &writer{topic: "a.t", partitions: 2}
	set := fast
	set.BufferBytes = 4 << 10 // reading stops soon
	e := engine(t, config("beijing", source, target.Addr, "a.t"), set)
	w.write(t, source, 100)
	arrived(t, target.Addr, "beijing", w)
	target.Kill()
	for range 100 { // batches of their own: one is always read whole
		w.write(t, source, 40)
	}
	endsSeen(t, e, "a.t", 4100)
	remake(t, source, "a.t", 1)
	again := &writer{topic: "a.t", partitions: 1, next: w.next}
	again.write(t, source, 50)
	target.Start()

	values := func() map[string]bool {
		out := map[string]bool{}
		for _, r := range read(t, target.Addr, "beijing.a.t") {
			out[string(r.Value)] = true
		}
		return out
	}
	kafkatest.Eventually(t, "the topic that was made anew", func() error {
		have := values()
		for n := w.next; n < again.next; n++ {
			if !have[strconv.Itoa(n)] {
				return fmt.Errorf("record %d is missing", n)
			}
		}
		return nil
	})
	missing := int64(again.next - len(values()))
	e.mu.Lock()
	var told int64
	for _, l := range e.losses {
		told += l.records
	}
	e.mu.Unlock()
	t.Logf("%d records are lost", missing)
	if told != missing || missing == 0 {
		t.Fatalf("%d records count as lost, %d are", told, missing)
	}
	said(t, e, "a.t: partition 0: ", " records were deleted at the source before they were copied, and the source began again at offset 0")
}

// A topic that is made anew while no mirror runs has nobody who could count; that is said.
func TestMadeAnewUnwatched(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 1)
	w := &writer{topic: "a.t", partitions: 1}
	w.write(t, source, 10)
	t.Run("before", func(t *testing.T) {
		engine(t, config("beijing", source, target, "a.t"), fast)
		stored(t, target, "beijing", w)
	})
	remake(t, source, "a.t", 1)
	w.write(t, source, 10)
	e := engine(t, config("beijing", source, target, "a.t"), fast)
	arrived(t, target, "beijing", w)
	said(t, e, "a.t: partition 0: ", "while no mirror ran: how many records had not been copied is not known")
}

// A topic that is made anew between the look at it and the first read of it is not taken for the one before: its
// records are not forwarded under that one's position, and not twice.
func TestMadeAnewBeforeItWasRead(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 1)
	e, err := New(config("beijing", source, target, "a.t"), fast, clock.RealClock{}, slog.New(slog.NewTextHandler(t.Output(), nil)), NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	at := topicPartition{"a.t", 0}
	kafkatest.Eventually(t, "the partition to be started", func() error {
		if e.look(t.Context()); e.partition(at) == nil {
			return errors.New("it is not")
		}
		return nil
	})
	remake(t, source, "a.t", 1)
	w := &writer{topic: "a.t", partitions: 1}
	w.write(t, source, 10)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.pump(ctx, t.Context()) }()
	kafkatest.Eventually(t, "the records to be read", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if p := e.partitions[at]; !p.left && p.progress.snapshot().acked.offset < 10 {
			return errors.New("they are not")
		}
		return nil
	})
	stop()
	<-done
	ran := make(chan struct{})
	run := t.Context() // ends before the cleanups run
	go func() { defer close(ran); _ = e.Run(run) }()
	t.Cleanup(func() { <-ran })
	kafkatest.Eventually(t, "the copy of the topic that is there now", func() error {
		all, err := kafkatest.NewAdmin(t, source).Describe(t.Context(), "a.t")
		if err != nil {
			return err
		}
		if p := e.partition(at); !e.settled(p, topicID(all["a.t"])) || p.progress.snapshot().acked.offset < 10 {
			return errors.New("is not complete")
		}
		return nil
	})
	if n := arrived(t, target, "beijing", w); n > 0 {
		t.Errorf("%d records are repeated", n)
	}
}

// A region that gets another name has other copies: all of its topics are copied again, beside the former ones, which
// stay as they are.
func TestRenamedSource(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 1)
	w := &writer{topic: "a.t", partitions: 1}
	w.write(t, source, 20)
	t.Run("before", func(t *testing.T) {
		engine(t, config("peking", source, target, "a.t"), fast)
		stored(t, target, "peking", w)
	})
	before := len(read(t, target, "peking.a.t"))
	w.write(t, source, 5)
	e := engine(t, config("beijing", source, target, "a.t"), fast)
	arrived(t, target, "beijing", w)
	if n := len(read(t, target, "peking.a.t")); n != before || len(e.Losses()) > 0 {
		t.Errorf("the former copy has %d records, had %d; lost: %q", n, before, e.Losses())
	}
}
