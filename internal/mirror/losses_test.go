package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// said waits until an engine says that something is lost.
func said(t *testing.T, e *Engine, want ...string) {
	t.Helper()
	kafkatest.Eventually(t, "what is lost to be told", func() error {
		all := strings.Join(e.Losses(), "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				return fmt.Errorf("%q is not in %q", w, all)
			}
		}
		return nil
	})
}

// Records that the source has deleted before the mirror came to read them are counted and told of, and the rest
// is mirrored. What was deleted before there was a mirror is nobody's loss.
func TestExpiredRecordsAreTold(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 1)
	w := &writer{topic: "a.t", partitions: 1}
	w.write(t, source, 10)
	expire := func(below int64) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "a.t", Partition: 0, At: below})
		answers, err := administrator(t, source).DeleteRecords(t.Context(), offsets)
		if err = errors.Join(err, answers.Error()); err != nil {
			t.Fatal(err)
		}
	}
	expire(4)
	t.Run("before there was a mirror", func(t *testing.T) {
		e := engine(t, config("beijing", source, target, "a.t"), fast)
		inCopy(t, target, 6)
		stored(t, target, "beijing", w)
		if all := e.Losses(); len(all) > 0 {
			t.Errorf("what was deleted before the mirror began counts as lost: %q", all)
		}
	})
	w.write(t, source, 20)
	expire(15)
	const lost = "a.t: partition 0: 5 records were deleted at the source before they were copied"
	t.Run("since", func(t *testing.T) {
		said(t, engine(t, config("beijing", source, target, "a.t"), fast), lost)
		inCopy(t, target, 6+15)
	})
	said(t, engine(t, config("beijing", source, target, "a.t"), fast), lost)
	inCopy(t, target, 6+15)
}

// What was lost with a topic that had more partitions than the one in its place is told by a mirror that starts again,
// for a day.
func TestLossesAreStored(t *testing.T) {
	source, target := inside(t, "s"), inside(t, "t")
	topic(t, source, "a.t", 3)
	w := &writer{topic: "a.t", partitions: 3}
	w.write(t, source, 30)
	c := config("beijing", source, target, "a.t")
	again := &writer{topic: "a.t", partitions: 1, next: w.next}
	var lost []string
	t.Run("before", func(t *testing.T) {
		e := engine(t, c, fast)
		stored(t, target, "beijing", w)
		remake(t, source, "a.t", 1)
		again.write(t, source, 10)
		said(t, e, "a.t: partition 0: the source began again at offset 0", "a.t: partition 1: the source", "a.t: partition 2: the source")
		kafkatest.Eventually(t, "the losses to be stored", func() error {
			e.mu.Lock()
			defer e.mu.Unlock()
			// Until the two partitions are gone, what is told may be what the consumer noticed, and be told otherwise then.
			at := topicPartition{"a.t", 0}
			p := e.partitions[at]
			if p == nil || len(e.partitions) > 1 || len(e.departed) > 0 || p.stored.Offset != 10 || p.stored.Metadata != remark(p.identity, e.losses[at]) {
				return errors.New("they are not")
			}
			return nil
		})
		lost = e.Losses()
	})
	fake := clocktesting.NewFakeClock(clock.RealClock{}.Now())
	e, err := New(c, fast, fake, slog.New(slog.NewTextHandler(t.Output(), nil)), NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if _, err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(lost, e.Losses()); d != "" {
		t.Errorf("a mirror that starts again tells (-before +after):\n%s", d)
	}
	clear(e.losses)
	fake.Step(tellLosses + 1e9)
	if _, err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := e.Losses(); len(all) > 0 {
		t.Errorf("a day later it tells %q", all)
	}
}

// inCopy waits until so many records are in the copy.
func inCopy(t *testing.T, target string, want int64) {
	t.Helper()
	kafkatest.Eventually(t, "the copy", func() error {
		ends, err := kafkatest.NewAdmin(t, target).EndOffsets(t.Context(), "beijing.a.t")
		if err == nil && ends["beijing.a.t"][0] != want {
			err = fmt.Errorf("%d of %d records are there", ends["beijing.a.t"][0], want)
		}
		return err
	})
}
