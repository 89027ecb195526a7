package mirror

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of every copy.
const (
	// HeaderOrigin names the region where the record was written.
	HeaderOrigin = "ma-origin"
	// HeaderID is <topic>/<partition>/<offset> of the record in its region.
	HeaderID = "ma-id"
)

const (
	// pollWait bounds a poll, so that queued changes are carried out soon.
	pollWait = 200 * time.Millisecond
	// pollRecords bounds what one poll hands over.
	pollRecords = 5000
	// deniedPause is how soon a partition that might not be read is tried again.
	deniedPause = 5 * time.Second
	// warnEvery is how often a partition that cannot be read is in the log.
	warnEvery = 10 * time.Second
)

// pump reads the source and hands records to the producer, until ctx ends.
// When the producer's buffer is full it waits, and reads nothing meanwhile.
func (e *Engine) pump(ctx, sending context.Context) {
	for ctx.Err() == nil {
		for _, change := range e.takeQueued() {
			change()
		}
		e.throttle()
		e.revive()
		wait, cancel := context.WithTimeout(ctx, pollWait)
		fetches := e.consumer.PollRecords(wait, pollRecords)
		cancel()
		fetches.EachError(func(topic string, p int32, err error) { e.fetchFailed(topic, p, err) })
		fetches.EachTopic(func(t kgo.FetchTopic) { e.pass(ctx, sending, t) })
	}
}

// pass forwards what was read of a topic, until ctx ends.
func (e *Engine) pass(ctx, sending context.Context, t kgo.FetchTopic) {
	for i := range t.Partitions {
		read := &t.Partitions[i]
		if len(read.Records) == 0 || !e.meant(topicPartition{t.Topic, read.Partition}, t.TopicID) {
			continue
		}
		e.noteRead(topicPartition{t.Topic, read.Partition})
		for _, r := range read.Records {
			if ctx.Err() != nil {
				return
			}
			e.forward(sending, r)
		}
	}
}

// meant reports whether records are of the topic that the partition's progress is about. A topic is found by its name:
// when it was made anew between the look at it and the first read, the read is of another. Its offsets say nothing
// about the one before, so that it is left until the next look begins with the other.
func (e *Engine) meant(at topicPartition, id [16]byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.partitions[at]
	if p == nil {
		return false
	}
	if id == ([16]byte{}) || hex.EncodeToString(id[:]) == sourceOf(p.identity) { // brokers older than 3.1 do not say
		return true
	}
	e.log.Warn("what is read is of another topic than was looked at; looking again", "topic", at.topic, "partition", at.partition)
	e.leave(p)
	return false
}

func (e *Engine) takeQueued() []func() {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queued
	e.queued = nil
	return q
}

func (e *Engine) fetchFailed(topic string, p int32, err error) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	e.metrics.errors.WithLabelValues(e.cfg.Origin, stageSource).Inc()
	if lost, is := errors.AsType[*kgo.ErrDataLoss](err); is {
		e.cutOff(topicPartition{topic, p}, lost.ResetTo)
		return
	}
	e.noteDenied(topicPartition{topic, p}, err)
	// The library may try hundreds of times a second; the log needs it once in a while.
	tp, now := topicPartition{topic, p}, e.clock.Now()
	if last, told := e.warned[tp]; told && now.Sub(last) < warnEvery {
		return
	}
	e.warned[tp] = now
	e.log.Warn("reading the source failed; trying again", "topic", topic, "partition", p, "error", err)
}

// cutOff is told that the source has no record from an offset on that it had when it was read.
func (e *Engine) cutOff(at topicPartition, offset int64) {
	p := e.partition(at)
	if p == nil {
		return
	}
	if read, before := p.progress.rewind(offset); before {
		e.rewound(at, read, offset)
	}
}

// rewound tells that a source that was read up to an offset goes on below it.
func (e *Engine) rewound(at topicPartition, read, offset int64) {
	e.noteRewound(at, read, offset)
	e.metrics.rewinds.WithLabelValues(e.cfg.Origin, at.topic).Inc()
	e.log.Warn("source partition started again below what was read: records were lost there, or the topic was made anew",
		"topic", at.topic, "partition", at.partition, "offset", offset, "read", read)
}

func (e *Engine) forward(sending context.Context, r *kgo.Record) {
	p := e.partition(topicPartition{r.Topic, r.Partition})
	if p == nil {
		return
	}
	size := recordBytes(r)
	generation, expected, ok := p.progress.accept(position{r.Offset, r.LeaderEpoch}, size)
	if !ok {
		return
	}
	switch at := (topicPartition{r.Topic, r.Partition}); {
	case r.Offset > expected.offset:
		if expected.offset > 0 { // what was deleted before the mirror ever began was nobody's to copy
			e.noteGap(at, expected, r.Offset)
		}
	case r.Offset < expected.offset:
		e.rewound(at, expected.offset, r.Offset)
	}
	if r.Attrs.IsControl() {
		p.progress.done(generation, r.Offset)
		return
	}
	if foreign(r, e.cfg.Origin) {
		e.metrics.skipped.WithLabelValues(e.cfg.Origin, r.Topic).Inc()
		p.progress.done(generation, r.Offset)
		return
	}
	e.producer.Produce(sending, e.copyOf(r), func(_ *kgo.Record, err error) {
		e.acknowledged(p, generation, r.Offset, size, err)
	})
}

// acknowledged is called by the producer, in order within a partition. When a
// record fails the producer fails all later ones of its partition too, so that
// nothing overtakes it.
func (e *Engine) acknowledged(p *partition, generation int, offset, size int64, err error) {
	switch {
	case err == nil:
		p.progress.done(generation, offset)
		e.metrics.records.WithLabelValues(e.cfg.Origin, p.topic).Inc()
		e.metrics.bytes.WithLabelValues(e.cfg.Origin, p.topic).Add(float64(size))
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		p.progress.stop()
	default:
		e.metrics.errors.WithLabelValues(e.cfg.Origin, stageProduce).Inc()
		if errors.Is(err, kerr.ClusterAuthorizationFailed) {
			e.mu.Lock()
			e.refused = true
			e.mu.Unlock()
		}
		p.progress.fail(generation, offset, explain(err, p, offset))
	}
}

// reviveAfter is how soon a producer that the target gave no identity is replaced by another.
const reviveAfter = time.Second

// revive has another producer where the target has refused the one: it never asks again, and what was missing may have
// been granted since. What the former one had not sent fails with it, and is read again.
func (e *Engine) revive() {
	e.mu.Lock()
	due := e.refused && e.clock.Since(e.revived) >= reviveAfter
	e.mu.Unlock()
	if !due {
		return
	}
	next, err := e.newProducer(e.produces)
	if err != nil {
		e.log.Error("no other producer can be made", "error", err) // the options were good enough for the one before
		return
	}
	e.mu.Lock()
	before := e.producer
	e.producer, e.refused, e.revived = next, false, e.clock.Now()
	e.mu.Unlock()
	before.Close()
}

func explain(err error, p *partition, offset int64) error {
	err = fmt.Errorf("record %s/%d/%d was refused by the target: %w", p.topic, p.number, offset, err)
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w; raise max.message.bytes of the target topic, or the mirror's buffer if the record is larger (the partition waits, nothing is skipped)", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed): // of who may write nothing at all
		return fmt.Errorf("%w; grant the user that the mirror logs in as there Write on the copy (the partition waits, nothing is skipped)", err)
	}
	return err
}

// copyOf keeps partition, key, value, time and headers, and sets provenance.
func (e *Engine) copyOf(r *kgo.Record) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(r.Headers)+2)
	for _, h := range r.Headers {
		if h.Key != HeaderOrigin && h.Key != HeaderID {
			headers = append(headers, h)
		}
	}
	headers = append(headers,
		kgo.RecordHeader{Key: HeaderOrigin, Value: []byte(e.cfg.Origin)},
		kgo.RecordHeader{Key: HeaderID, Value: fmt.Appendf(nil, "%s/%d/%d", r.Topic, r.Partition, r.Offset)},
	)
	return &kgo.Record{
		Topic: TargetTopic(e.cfg.Origin, r.Topic), Partition: r.Partition,
		Key: r.Key, Value: r.Value, Headers: headers, Timestamp: r.Timestamp,
	}
}

// foreign says whether a record names another region as its origin. One
// without the header was written at the source itself.
func foreign(r *kgo.Record, origin string) bool {
	return slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool {
		return h.Key == HeaderOrigin && string(h.Value) != origin
	})
}

func recordBytes(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// throttle stops reading partitions that hold more than their share of the
// buffer, so that one whose leader is away does not stop the others, and for a
// while those that may not be read.
func (e *Engine) throttle() {
	share := int64(e.set.BufferBytes / 4)
	pause, resume := map[string][]int32{}, map[string][]int32{}
	e.mu.Lock()
	for tp, p := range e.partitions {
		held, denied := p.progress.snapshot().bytes, len(e.denied) > 0 && e.clock.Since(e.denied[tp].at) < deniedPause
		switch {
		case !p.paused && (held > share || denied):
			p.paused = true
			pause[tp.topic] = append(pause[tp.topic], tp.partition)
		case p.paused && held <= share/2 && !denied:
			p.paused = false
			resume[tp.topic] = append(resume[tp.topic], tp.partition)
		}
	}
	e.mu.Unlock()
	if len(pause) > 0 {
		e.consumer.PauseFetchPartitions(pause)
	}
	if len(resume) > 0 {
		e.consumer.ResumeFetchPartitions(resume)
	}
}
