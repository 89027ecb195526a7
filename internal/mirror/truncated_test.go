package mirror

import (
	"fmt"
	"os"
	"testing"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// A source that has lost its last records, as after an election of a replica that lacked them or a restore of its
// disk, gives their offsets to others. The mirror says so, and copies these: the old ones are at the target alone.
func TestTruncatedSource(t *testing.T) {
	source, target := startKafka(t, "s"), inside(t, "t")
	topic(t, source.Addr, "a.t", 1)
	topic(t, source.Addr, "a.other", 1)
	w, other := &writer{topic: "a.t", partitions: 1}, &writer{topic: "a.other", partitions: 1}
	e := engine(t, config("beijing", source.Addr, target, "a.t", "a.other"), fast)
	w.write(t, source.Addr, 100)
	other.write(t, source.Addr, 10)
	arrived(t, target, "beijing", w)
	source.Kill()
	saved := t.TempDir()
	replaceDir(t, saved, source.Dir())
	source.Start()
	w.write(t, source.Addr, 50)
	arrived(t, target, "beijing", w)
	stored(t, target, "beijing", w)
	source.Kill()
	replaceDir(t, source.Dir(), saved)
	source.Start()
	w.write(t, source.Addr, 20)

	said(t, e, "a.t: partition 0: the source began again at offset", "it has lost records")
	kafkatest.Eventually(t, "what was written since", func() error {
		have := map[string]bool{}
		for _, r := range read(t, target, "beijing.a.t") {
			have[string(r.Value)] = true
		}
		if len(have) != w.next {
			return fmt.Errorf("%d of %d records are there", len(have), w.next)
		}
		return nil
	})
	other.write(t, source.Addr, 10)
	if n := arrived(t, target, "beijing", other); n > 0 {
		t.Errorf("%d records of the topic that has lost nothing are repeated", n)
	}
}

// A source that loses its last records while no mirror runs, and has as many others when one starts, is found out by the
// leader epoch: the mirror says how many are gone, and copies those that took their places. A mirror that starts again
// says it still.
func TestTruncatedUnwatched(t *testing.T) {
	source, target := startKafka(t, "s"), inside(t, "t")
	topic(t, source.Addr, "a.t", 1)
	w := &writer{topic: "a.t", partitions: 1}
	w.write(t, source.Addr, 100)
	source.Kill()
	putBack := keepRecords(t, source, "a.t")
	source.Start()
	elect(t, source, "a.t")
	w.write(t, source.Addr, 50)
	c := config("beijing", source.Addr, target, "a.t")
	t.Run("before", func(t *testing.T) {
		engine(t, c, fast)
		stored(t, target, "beijing", w)
	})
	source.Kill()
	putBack()
	source.Start()
	elect(t, source, "a.t")
	elect(t, source, "a.t")
	w.write(t, source.Addr, 80)

	const lost = "a.t: partition 0: the source began again at offset 100, below what was read: it has lost records, or the topic was made anew; 50 were copied before that it has not got"
	t.Run("found out", func(t *testing.T) {
		e := engine(t, c, fast)
		inCopy(t, target, 150+80)
		said(t, e, lost)
	})
	have := map[string]bool{}
	for _, r := range read(t, target, "beijing.a.t") {
		have[string(r.Value)] = true
	}
	if len(have) != w.next {
		t.Errorf("%d of %d records are there", len(have), w.next)
	}
	said(t, engine(t, c, fast), lost)
	inCopy(t, target, 150+80)
}

// replaceDir makes a directory a copy of another.
func replaceDir(t *testing.T, dir, by string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(by)); err != nil {
		t.Fatal(err)
	}
}
