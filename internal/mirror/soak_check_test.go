package mirror

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// What a mirror logs, and the check reads.
const (
	saidStart   = "partition starts"
	saidAgain   = "source partition started again below what was read: records were lost there, or the topic was made anew"
	saidLost    = "the source's topic was deleted and made anew"
	soakPatient = 8 * time.Second
)

// soakCounts is what one run has seen, or all of them.
type soakCounts struct {
	acknowledged, copied, repeated int
	// lost are records of deleted topics that were not copied, all of which count as lost; remade are the deletions
	// that each mirror could watch, and unwatched the others.
	lost, remade, unwatched int
}

func (c *soakCounts) add(o soakCounts) {
	c.acknowledged, c.copied, c.repeated = c.acknowledged+o.acknowledged, c.copied+o.copied, c.repeated+o.repeated
	c.lost, c.remade, c.unwatched = c.lost+o.lost, c.remade+o.remade, c.unwatched+o.unwatched
}

// String implements fmt.Stringer.
func (c soakCounts) String() string {
	return fmt.Sprintf("%d records acknowledged, %d copied, %d of these repeated, %d lost with deleted topics in %d deletions that a mirror watched, %d that none could",
		c.acknowledged, c.copied, c.repeated, c.lost, c.remade, c.unwatched)
}

// watch waits until the mirrors know how far a topic has come that is about to be deleted, and returns those that
// do. One that reaches both its ends has to.
func (s *soak) watch(src *soakSource) (watching []string) {
	s.t.Helper()
	want := src.end(s.t)
	for _, m := range s.mirrors {
		if m.from.region != src.region || m.process == nil || m.cut[0] {
			continue
		}
		has := !m.cut[1] && !m.to.down
		patience := soakPatient
		if has {
			patience = 2 * time.Minute
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		err := m.sees(ctx, src.topic, want)
		cancel()
		switch {
		case err == nil:
			m.watched[src.topic] = true
			watching = append(watching, m.name())
		case has:
			s.t.Fatalf("the mirror %s, which reaches both ends, does not see how far %s has come: %v", m.name(), src.topic, err)
		}
	}
	return watching
}

// sees waits until the mirror knows how far a topic has come.
func (m *soakMirror) sees(ctx context.Context, topic string, want int64) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		got, err := m.known(ctx, topic)
		if err == nil && got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d: %w", got, want, ctx.Err())
		case <-again.C:
		}
	}
}

// check compares every copy with its source.
func (s *soak) check() (total soakCounts) {
	for _, m := range s.mirrors {
		for _, src := range s.sources {
			if src.region != m.from.region {
				continue
			}
			s.complete(m, src)
			counts, err := compare(m, src, m.lines(s.t), read(s.t, m.to.addr, TargetTopic(src.region, src.topic)))
			if err != nil {
				s.t.Errorf("%s, mirror %s: %v", src.topic, m.name(), err)
			}
			total.add(counts)
		}
	}
	return total
}

// complete waits until the mirror says that it has copied everything.
func (s *soak) complete(m *soakMirror, src *soakSource) {
	s.t.Helper()
	source, target := kafkatest.NewAdmin(s.t, src.addr), kafkatest.NewAdmin(s.t, m.to.addr)
	kafkatest.Eventually(s.t, "the copy of "+src.topic+" "+m.name(), func() error {
		ends, err := source.EndOffsets(s.t.Context(), src.topic)
		if err != nil {
			return err
		}
		offsets, err := target.GroupOffsets(s.t.Context(), Group(src.region))
		if err != nil {
			return err
		}
		for _, o := range offsets {
			if o.Topic == TargetTopic(src.region, src.topic) && sourceOf(o.Metadata) == src.ids[src.incarnation] && ends[src.topic][o.Partition] == o.Offset {
				delete(ends[src.topic], o.Partition)
			}
		}
		if left := ends[src.topic]; len(left) > 0 {
			return fmt.Errorf("is not complete in these partitions, with their ends: %v", left)
		}
		return nil
	})
}

// place is where a record was written.
type place struct {
	incarnation int
	partition   int32
	offset      int64
}

// copies reads a copy: how often each record is there. Order has to be that of the source when what was there before
// is left out, and the newest record of each key has to be the last.
func copies(src *soakSource, records []*kgo.Record) (map[place]int, error) {
	found := map[place]int{}
	newest, last := map[[2]int]int64{}, map[string]place{}
	for _, r := range records {
		var number int
		if _, err := fmt.Sscan(string(r.Value), &number); err != nil || number >= len(src.records) {
			return nil, fmt.Errorf("nobody has written record %q", r.Value)
		}
		a := src.records[number]
		p := place{incarnation: a.incarnation, partition: r.Partition}
		id := strings.TrimPrefix(header(r, HeaderID), fmt.Sprintf("%s/%d/", src.topic, r.Partition))
		if _, err := fmt.Sscan(id, &p.offset); err != nil || header(r, HeaderOrigin) != src.region || string(r.Key) != a.key {
			return nil, fmt.Errorf("record %d has key %s and headers %v", number, r.Key, r.Headers)
		}
		if found[p]++; found[p] == 1 {
			at := [2]int{p.incarnation, int(p.partition)}
			if before, known := newest[at]; known && p.offset < before {
				return nil, fmt.Errorf("partition %d: offset %d came after %d", p.partition, p.offset, before)
			}
			newest[at] = p.offset
		}
		last[a.key] = p
	}
	for p := range found {
		if p.offset > newest[[2]int{p.incarnation, int(p.partition)}] {
			return nil, fmt.Errorf("%v is newer than the newest", p)
		}
	}
	return found, lastIsNewest(src, found, last)
}

// lastIsNewest: whoever applies a copy record by record ends with the newest of each key.
func lastIsNewest(src *soakSource, found map[place]int, last map[string]place) error {
	for number := range src.records {
		a := &src.records[number]
		p := place{a.incarnation, a.partition, a.offset}
		if l := last[a.key]; a.acked && found[p] > 0 && l.offset < p.offset {
			return fmt.Errorf("the last record of key %s is that of offset %d, and %d is there", a.key, l.offset, p.offset)
		}
	}
	return nil
}

// compare says what is wrong with a copy. A mirror writes a record once for each time that it starts at or below it, so
// that a record is there at most as often.
func compare(m *soakMirror, src *soakSource, lines []logged, records []*kgo.Record) (c soakCounts, err error) {
	found, err := copies(src, records)
	if err != nil {
		return c, err
	}
	for p, n := range found {
		starts := 0
		if brokersForget {
			starts = m.to.kills // what was on its way is sent again, and may have been written
		}
		for _, l := range lines {
			if (l.Msg == saidStart && l.TopicID == src.ids[p.incarnation] || l.Msg == saidAgain) && l.Topic == src.topic && l.Partition == p.partition && l.Offset <= p.offset {
				starts++
			}
		}
		if n > starts {
			return c, fmt.Errorf("%v is there %d times, and the mirror started %d times at or below it", p, n, starts)
		}
		c.copied, c.repeated = c.copied+n, c.repeated+n-1
	}
	for number := range src.records {
		a := &src.records[number]
		if !a.acked {
			continue
		}
		c.acknowledged++
		if a.incarnation == src.incarnation && found[place{a.incarnation, a.partition, a.offset}] == 0 {
			return c, fmt.Errorf("record %d, partition %d, offset %d, was acknowledged and is not there", number, a.partition, a.offset)
		}
	}
	err = c.deleted(m, src, lines, found)
	return c, err
}

// deleted compares what is missing of a deleted topic with what the mirror says is lost. One that was killed before it
// came to say so does not know it.
func (c *soakCounts) deleted(m *soakMirror, src *soakSource, lines []logged, found map[place]int) error {
	for incarnation, had := range src.had {
		missing, said, lost := had, 0, int64(0)
		for p := range found {
			if p.incarnation == incarnation {
				missing--
			}
		}
		for _, l := range lines {
			if l.Msg == saidLost && l.Topic == src.topic {
				said, lost = said+1, lost+l.Lost
			}
		}
		switch {
		case lost > missing:
			return fmt.Errorf("%d records of the deleted topic count as lost, %d are", lost, missing)
		case !m.watched[src.topic] || said == 0:
			c.unwatched++
		case lost != missing:
			return fmt.Errorf("%d records of the deleted topic count as lost, %d are", lost, missing)
		default:
			c.remade, c.lost = c.remade+1, c.lost+int(missing)
		}
	}
	return nil
}
