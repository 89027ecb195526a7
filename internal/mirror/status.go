package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	// LookedAt is when the last comparison ended, whatever came of it; zero
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
	for p, err := range s.Stopped {
		out = append(out, fmt.Sprintf("partition %s: %v", p, err))
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
	return s
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
	starts, err := e.source.StartOffsets(ctx, existing...)
	if !e.saw(ctx, stageSource, err) {
		e.forgetLag()
		return
	}
	e.judge(starts)
	for _, t := range e.cfg.topics() {
		lag, known := e.lag(t, starts[t], ends[t])
		if !known {
			e.metrics.lag.DeleteLabelValues(e.cfg.Origin, t)
			continue
		}
		e.metrics.lag.WithLabelValues(e.cfg.Origin, t).Set(float64(lag))
	}
}

func (e *Engine) lag(topic string, starts, ends map[int32]int64) (records int64, known bool) {
	for n, end := range ends {
		p := e.partition(topicPartition{topic, n})
		if p == nil || !e.settled(p) {
			return 0, false
		}
		// What expired at the source before it was read is lost, not late.
		records += max(0, end-max(starts[n], p.progress.snapshot().acked))
	}
	return records, len(ends) > 0
}

// settled: the progress is about the topics that exist now.
func (e *Engine) settled(p *partition) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return p.identity != "" && !p.starting
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
		p = &partition{topic: tp.topic, number: tp.partition, failedAt: -1, stored: -1}
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
		if !ok || !strings.HasSuffix(o.Metadata, "/"+topicID(copies[o.Topic])) {
			continue
		}
		if out[topic] == nil {
			out[topic] = map[int32]int64{}
		}
		out[topic][o.Partition] = o.Offset
	}
	return out, nil
}
