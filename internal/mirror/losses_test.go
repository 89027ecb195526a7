package mirror

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

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
	e := engine(t, config("beijing", source, target, "a.t"), fast)
	said(t, e, "a.t: partition 0: 5 records were deleted at the source before they were copied")
	inCopy(t, target, 6+15)
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
