package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"multiactive.dev/operator/internal/port/kafka"
)

// Status is what the mirror knows about itself.
type Status struct {
	// Source and Target are nil when the last look at that cluster succeeded.
	Source, Target error
	// Topics that cannot be mirrored now, by source name.
	Topics map[string]error
	// Partitions that wait for another try, as topic/partition.
	Stopped map[string]error
	// Unread are those that the source does not let be read, as topic/partition.
	Unread map[string]error
	// LookedAt is when the last round ended, whatever came of it; zero
	// before the first.
	LookedAt time.Time
}

// Problems lists what is wrong, sorted, one sentence each; empty means that
// everything runs.
func (s Status) Problems() []string {
	var out []string
	if s.Source != nil {
		out = append(out, fmt.Sprintf("source: %v", s.Source))
	}
	if s.Target != nil {
		out = append(out, fmt.Sprintf("target: %v", s.Target))
	}
	for t, err := range s.Topics {
		out = append(out, fmt.Sprintf("topic %s: %v", t, err))
	}
	for _, partitions := range []map[string]error{s.Stopped, s.Unread} {
		for p, err := range partitions {
			out = append(out, fmt.Sprintf("partition %s: %v", p, err))
		}
	}
	slices.Sort(out)
	return out
}

// Status is safe to call at any time.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Stopped = map[string]error{}
	for tp, p := range e.partitions {
		if snap := p.progress.snapshot(); snap.err != nil {
			s.Stopped[fmt.Sprintf("%s/%d", tp.topic, tp.partition)] = snap.err
		}
	}
	s.Unread = map[string]error{}
	for tp, u := range e.denied {
		if e.clock.Since(u.at) < deniedStands {
			s.Unread[fmt.Sprintf("%s/%d", tp.topic, tp.partition)] = u.err
		}
	}
	return s
}

// denial says why a partition may not be read, and when that was last tried.
type denial struct {
	err error
	at  time.Time
}

// deniedStands is for how long a partition that might not be read counts as such: it is tried again and again, and
// that it can be read shows only when something is there.
const deniedStands = 10 * time.Second

// noteDenied keeps that a partition may not be read. What else keeps it from being read passes by itself, or the look
// at the source says so.
func (e *Engine) noteDenied(at topicPartition, err error) {
	if !errors.Is(err, kerr.TopicAuthorizationFailed) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.denied[at] = denial{fmt.Errorf("the source does not let it be read: %w; grant the user that the mirror logs in as there Read on the topic", err), e.clock.Now()}
}

// noteRead keeps that a partition was read.
func (e *Engine) noteRead(at topicPartition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.denied, at)
}

// saw records the outcome of talking to one side and says whether it is well.
// It logs transitions only.
func (e *Engine) saw(ctx context.Context, side string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	e.mu.Lock()
	slot := &e.status.Source
	if side == stageTarget {
		slot = &e.status.Target
	}
	before := *slot
	*slot = err
	e.mu.Unlock()
	if err != nil {
		e.metrics.up.WithLabelValues(e.cfg.Origin, side).Set(0)
		e.metrics.errors.WithLabelValues(e.cfg.Origin, side).Inc()
		if before == nil || before == errNotYet { //nolint:errorlint // identity is meant
			e.log.Warn("cluster does not answer; trying again", "side", side, "error", err)
		}
		return false
	}
	e.metrics.up.WithLabelValues(e.cfg.Origin, side).Set(1)
	if before != nil {
		e.log.Info("cluster answers", "side", side)
	}
	return true
}

func (e *Engine) setProblems(p map[string]error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for t, err := range p {
		if was := e.status.Topics[t]; was == nil || was.Error() != err.Error() {
			e.log.Warn("topic not mirrored; trying again", "topic", t, "error", err)
		}
	}
	e.status.Topics = p
}

func (e *Engine) finishLook() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.LookedAt = e.clock.Now()
	var held int64
	for _, p := range e.partitions {
		held += p.progress.snapshot().bytes
	}
	e.metrics.inFlight.WithLabelValues(e.cfg.Origin).Set(float64(held))
}

// measure sets the lag of every topic that runs as a whole; the series of the
// others are removed, as their lag is not known.
func (e *Engine) measure(ctx context.Context, sources map[string]kafka.Topic) {
	var existing []string
	for t, s := range sources {
		if s.Exists {
			existing = append(existing, t)
		}
	}
	ends, err := e.source.EndOffsets(ctx, existing...)
	if !e.saw(ctx, stageSource, err) {
		e.forgetLag()
		return
	}
	if !e.saw(ctx, stageSource, e.readStarts(ctx, existing)) {
		e.forgetLag()
		return
	}
	e.noteEnds(sources, ends)
	for _, t := range e.cfg.topics() {
		lag, known := e.lag(t, topicID(sources[t]), e.starts[t], ends[t])
		if !known {
			e.metrics.lag.DeleteLabelValues(e.cfg.Origin, t)
			continue
		}
		e.metrics.lag.WithLabelValues(e.cfg.Origin, t).Set(float64(lag))
	}
}

// startsEvery is after how many looks the source is asked for its oldest records when nothing tells that they matter.
const startsEvery = 10

// readStarts asks the source for its oldest records, and judges by them what was not there when it was read.
func (e *Engine) readStarts(ctx context.Context, topics []string) error {
	e.mu.Lock()
	gaps := len(e.gaps) // those that come later may be of what is deleted after the answer
	e.mu.Unlock()
	if e.startsIn--; e.startsIn > 0 && gaps == 0 {
		return nil
	}
	starts, err := e.source.StartOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	e.starts, e.startsIn = starts, startsEvery
	e.judge(starts, gaps)
	return nil
}

func (e *Engine) lag(topic, id string, starts, ends map[int32]int64) (records int64, known bool) {
	for n, end := range ends {
		p := e.partition(topicPartition{topic, n})
		if p == nil || !e.settled(p, id) {
			return 0, false
		}
		// What expired at the source before it was read is lost, not late.
		records += max(0, end-max(starts[n], p.progress.snapshot().acked.offset))
	}
	return records, len(ends) > 0
}

// settled: the progress is about the topic that the source has now.
func (e *Engine) settled(p *partition, id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return p.about(id)
}

// about reports whether the progress is about a topic of the source. The caller holds the engine's lock.
func (p *partition) about(id string) bool {
	return sourceOf(p.identity) == id && p.identity != "" && !p.starting && !p.leaving
}

// noteEnds keeps how far the source has come. An end that is lower than one before is of a topic that was made
// anew since it was described, or of a source that has lost records, which shows when it is read.
func (e *Engine) noteEnds(sources map[string]kafka.Topic, ends map[string]map[int32]int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for tp, p := range e.partitions {
		if p.about(topicID(sources[tp.topic])) {
			p.end = max(p.end, ends[tp.topic][tp.partition])
		}
	}
}

func (e *Engine) forgetLag() {
	for _, t := range e.cfg.topics() {
		e.metrics.lag.DeleteLabelValues(e.cfg.Origin, t)
	}
}

func (e *Engine) partition(tp topicPartition) *partition {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.partitions[tp]
}

func (e *Engine) partitionOrNew(tp topicPartition) *partition {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.partitions[tp]
	if !ok {
		p = &partition{topic: tp.topic, number: tp.partition, failedAt: -1, stored: kafka.GroupOffset{Offset: -1}}
		e.partitions[tp] = p
	}
	return p
}

// Positions gives, for every mirrored topic of an origin (by its local name)
// and partition, the source offset below which everything is in the target.
// It asks the target only: it works when the source is gone. Positions about a
// copy that was deleted or made anew since are left out.
func Positions(ctx context.Context, target kafka.Admin, origin string) (map[string]map[int32]int64, error) {
	offsets, err := target.GroupOffsets(ctx, Group(origin))
	if err != nil {
		return nil, fmt.Errorf("positions of the mirror from %s: %w", origin, err)
	}
	var names []string
	for _, o := range offsets {
		names = append(names, o.Topic)
	}
	slices.Sort(names)
	copies, err := target.Describe(ctx, slices.Compact(names)...)
	if err != nil {
		return nil, fmt.Errorf("positions of the mirror from %s: %w", origin, err)
	}
	out := map[string]map[int32]int64{}
	for _, o := range offsets {
		topic, ok := strings.CutPrefix(o.Topic, origin+".")
		if of, _ := parseRemark(o.Metadata); !ok || targetOf(of) != topicID(copies[o.Topic]) {
			continue
		}
		if out[topic] == nil {
			out[topic] = map[int32]int64{}
		}
		out[topic][o.Partition] = o.Offset
	}
	return out, nil
}
