package mirror

import (
	"context"
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
		wait, cancel := context.WithTimeout(ctx, pollWait)
		fetches := e.consumer.PollRecords(wait, pollRecords)
		cancel()
		fetches.EachError(func(topic string, p int32, err error) { e.fetchFailed(topic, p, err) })
		for r := range fetches.RecordsAll() {
			if ctx.Err() != nil {
				return
			}
			e.forward(sending, r)
		}
	}
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
	// The library may try hundreds of times a second; the log needs it once in a while.
	tp, now := topicPartition{topic, p}, e.clock.Now()
	if last, told := e.warned[tp]; told && now.Sub(last) < warnEvery {
		return
	}
	e.warned[tp] = now
	e.log.Warn("reading the source failed; trying again", "topic", topic, "partition", p, "error", err)
}

func (e *Engine) forward(sending context.Context, r *kgo.Record) {
	p := e.partition(topicPartition{r.Topic, r.Partition})
	if p == nil {
		return
	}
	size := recordBytes(r)
	generation, expected, ok := p.progress.accept(r.Offset, size)
	if !ok {
		return
	}
	switch at := (topicPartition{r.Topic, r.Partition}); {
	case r.Offset > expected:
		if expected > 0 { // what was deleted before the mirror ever began was nobody's to copy
			e.noteGap(at, expected, r.Offset)
		}
	case r.Offset < expected:
		e.noteRewound(at, r.Offset)
		e.metrics.rewinds.WithLabelValues(e.cfg.Origin, r.Topic).Inc()
		e.log.Warn("source partition started again below what was read: records were lost there, or the topic was made anew", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset)
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
		p.progress.fail(generation, explain(err, p, offset))
	}
}

func explain(err error, p *partition, offset int64) error {
	err = fmt.Errorf("record %s/%d/%d was refused by the target: %w", p.topic, p.number, offset, err)
	if errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("%w; raise max.message.bytes of the target topic, or the mirror's buffer if the record is larger (the partition waits, nothing is skipped)", err)
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
// buffer, so that one whose leader is away does not stop the others.
func (e *Engine) throttle() {
	share := int64(e.set.BufferBytes / 4)
	pause, resume := map[string][]int32{}, map[string][]int32{}
	e.mu.Lock()
	for tp, p := range e.partitions {
		held := p.progress.snapshot().bytes
		switch {
		case !p.paused && held > share:
			p.paused = true
			pause[tp.topic] = append(pause[tp.topic], tp.partition)
		case p.paused && held <= share/2:
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
