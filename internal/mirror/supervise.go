package mirror

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
)

const (
	// recommitAfter stores unchanged positions again: brokers forget those of
	// an idle group after days, and an outage may last longer.
	recommitAfter = 10 * time.Minute
	maxBackoff    = 30 * time.Second
	// topicsPerLook is for how many topics the clusters are compared once an interval: to look takes as long as
	// there are topics, and they change seldom.
	topicsPerLook = 200
)

// partition is one source partition. Its fields other than progress are
// guarded by Engine.mu.
type partition struct {
	topic    string
	number   int32
	progress progress
	// identity names the two topics that the progress is about; a topic that
	// was made anew has another.
	identity string
	// starting: the pump will begin it; until then the progress is that of
	// the run before, maybe of another pair of topics, and not to be stored.
	starting bool
	paused   bool
	// leaving: the topic that the progress is about is not at the source any more. It is not read, and what
	// was read goes on to the target; left is true once nothing comes from the consumer either.
	leaving, left bool
	// end is the highest end of the source partition that was seen, of the topic that the progress is about.
	end int64
	// failures in a row without an acknowledged record, since failedAt.
	failures int
	failedAt int64
	// retryAt is when a stopped partition is started again; zero while it runs.
	retryAt time.Time
	// stored is the position last committed, and when.
	stored   kafka.GroupOffset
	storedAt time.Time
}

// supervise compares both clusters once an interval until ctx ends, with many
// topics less often: it makes topics, starts partitions and restarts failed ones, measures the lag and
// stores positions. A cluster that does not answer costs its timeout and
// stops nothing of what runs.
func (e *Engine) supervise(ctx context.Context) {
	tick := e.clock.NewTicker(e.set.Interval)
	defer tick.Stop()
	every := 1 + len(e.cfg.Topics)/topicsPerLook
	for round := 0; ; round++ {
		if round%every == 0 {
			e.look(ctx)
		}
		e.commit(ctx)
		e.finishLook()
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
	}
}

// look is one comparison.
func (e *Engine) look(ctx context.Context) {
	topics := e.cfg.topics()
	copies := make([]string, len(topics))
	for i, t := range topics {
		copies[i] = TargetTopic(e.cfg.Origin, t)
	}
	// Both are asked, whatever the other says: the report names all that is down.
	targets, err := e.target.Outline(ctx, copies...)
	targetWell := e.saw(ctx, stageTarget, err)
	sources, err := e.source.Outline(ctx, topics...)
	if !e.saw(ctx, stageSource, err) {
		e.forgetLag()
		return
	}
	if targetWell {
		e.arrange(ctx, topics, sources, targets)
	}
	e.measure(ctx, sources)
}

// arrange makes the copies as the topics are, and has what should run started.
func (e *Engine) arrange(ctx context.Context, topics []string, sources, targets map[string]kafka.Topic) {
	problems := e.create(ctx, topics, sources, targets)
	if err := e.readLimits(ctx, topics, targets); err != nil {
		e.saw(ctx, stageTarget, err)
		return
	}
	ready := map[string]string{} // source topic → identity of the pair
	for _, t := range topics {
		if problems[t] != nil {
			continue
		}
		pair, err := e.ensure(ctx, t, sources[t], targets[TargetTopic(e.cfg.Origin, t)])
		switch {
		case err != nil:
			problems[t] = err
			e.metrics.errors.WithLabelValues(e.cfg.Origin, stageTarget).Inc()
		case pair != "":
			ready[t] = pair
		}
	}
	e.setProblems(problems)
	if err := e.assign(ctx, ready, sources); err != nil {
		e.saw(ctx, stageTarget, err)
	}
}

// ensure makes the copy of a topic that has one as wide as the topic. It returns the pair's
// identity, or "" when the pair is not complete yet.
func (e *Engine) ensure(ctx context.Context, topic string, source, target kafka.Topic) (string, error) {
	name := TargetTopic(e.cfg.Origin, topic)
	switch {
	case source.Err != nil:
		return "", fmt.Errorf("source topic %s: %w", topic, source.Err)
	case target.Err != nil:
		return "", fmt.Errorf("target topic %s: %w", name, target.Err)
	case !source.Exists:
		return "", nil // made by its region's own controller; nothing to copy yet
	case !target.Exists:
		return "", nil // made by now; the next look sees it
	case target.Partitions < source.Partitions:
		if err := e.target.CreatePartitions(ctx, name, source.Partitions); err != nil {
			return "", err
		}
		e.mu.Lock()
		e.producer.ForceMetadataRefresh()
		e.mu.Unlock()
		return "", nil
	}
	return topicID(source) + "/" + topicID(target), nil
}

// sourceOf is the part of a pair's identity that names the source's topic.
func sourceOf(identity string) string {
	source, _, _ := strings.Cut(identity, "/")
	return source
}

// targetOf is the part that names the copy.
func targetOf(identity string) string {
	_, target, _ := strings.Cut(identity, "/")
	return target
}

func topicID(t kafka.Topic) string { return hex.EncodeToString(t.ID[:]) }
