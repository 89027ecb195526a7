package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/port/kafka"
)

// copied are the source's configurations that its copy gets when it is made.
// Later changes are the topic controller's.
var copied = []string{"cleanup.policy", "retention.ms", "retention.bytes", "delete.retention.ms", "message.timestamp.type", "max.message.bytes"}

const (
	defaultBatchBytes = 1 << 20
	// headroom is what the provenance headers may add to the largest record.
	headroom = 64 << 10
)

// createTogether is how many topics one request makes: each has to be done within AdminTimeout.
const createTogether = 100

// create makes the copies that are missing, and says why it cannot, by the source's topic. One that somebody makes
// meanwhile is seen with the next look.
func (e *Engine) create(ctx context.Context, topics []string, sources, targets map[string]kafka.Topic) map[string]error {
	problems := map[string]error{}
	var missing []string
	for _, t := range topics {
		target := targets[TargetTopic(e.cfg.Origin, t)]
		if s := sources[t]; s.Err == nil && s.Exists && target.Err == nil && !target.Exists {
			missing = append(missing, t)
		}
	}
	for some := range slices.Chunk(missing, createTogether) {
		failures, err := e.createSome(ctx, some)
		for _, t := range some {
			failure := cmp.Or(err, failures[TargetTopic(e.cfg.Origin, t)])
			if failure != nil && !errors.Is(failure, kafka.ErrTopicExists) {
				problems[t] = failure
				e.metrics.errors.WithLabelValues(e.cfg.Origin, stageTarget).Inc()
			}
		}
	}
	return problems
}

func (e *Engine) createSome(ctx context.Context, topics []string) (map[string]error, error) {
	brokers, err := e.target.Brokers(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := e.source.Describe(ctx, topics...)
	if err != nil {
		return nil, err
	}
	failures := map[string]error{}
	var wanted []kafka.NewTopic
	for _, t := range topics {
		switch source := sources[t]; {
		case source.Err != nil:
			failures[TargetTopic(e.cfg.Origin, t)] = fmt.Errorf("source topic %s: %w", t, source.Err)
		case source.Exists:
			wanted = append(wanted, e.copyOfTopic(t, source, brokers))
		}
	}
	refused, err := e.target.CreateAll(ctx, wanted...)
	maps.Copy(failures, refused)
	return failures, err
}

// copyOfTopic is the target's topic for a source's.
func (e *Engine) copyOfTopic(topic string, source kafka.Topic, brokers int) kafka.NewTopic {
	name := TargetTopic(e.cfg.Origin, topic)
	configs := map[string]string{}
	for _, k := range copied {
		if v, ok := source.Configs[k]; ok {
			configs[k] = v
		}
	}
	if n, err := strconv.Atoi(configs["max.message.bytes"]); err == nil {
		configs["max.message.bytes"] = strconv.Itoa(n + headroom)
	}
	e.log.Info("making the target topic", "topic", name, "partitions", source.Partitions)
	return kafka.NewTopic{
		Name: name, Partitions: source.Partitions, ReplicationFactor: min(e.set.ReplicationFactor, brokers), Configs: configs,
	}
}

// localName turns a copy's name into the source's.
func (e *Engine) localName(target string) (string, bool) {
	return strings.CutPrefix(target, e.cfg.Origin+".")
}

// setBatchLimit remembers how large a batch a target topic takes.
func (e *Engine) setBatchLimit(name string, target kafka.Topic) {
	limit := int32(defaultBatchBytes)
	if n, err := strconv.ParseInt(target.Configs["max.message.bytes"], 10, 32); err == nil && n > 0 {
		limit = int32(n)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limits[name], e.limitsOf[name] = limit, target.ID
}

// readLimits asks how large a batch the copies take that are new, or that a record was refused by.
func (e *Engine) readLimits(ctx context.Context, topics []string, targets map[string]kafka.Topic) error {
	var unknown []string
	e.mu.Lock()
	for _, t := range topics {
		name := TargetTopic(e.cfg.Origin, t)
		if of, known := e.limitsOf[name]; targets[name].Exists && (!known || of != targets[name].ID) {
			unknown = append(unknown, name)
		}
	}
	for tp, p := range e.partitions {
		if name := TargetTopic(e.cfg.Origin, tp.topic); p.progress.snapshot().err != nil && !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	e.mu.Unlock()
	described, err := e.target.Describe(ctx, unknown...)
	if err != nil {
		return err
	}
	for name, target := range described {
		if target.Exists && target.Err == nil {
			e.setBatchLimit(name, target)
		}
	}
	return nil
}

// batchLimit is called by the producer, once for a partition that it meets.
func (e *Engine) batchLimit(topic string) int32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.limits[topic]
	if !ok {
		n = defaultBatchBytes
	}
	e.applied[topic] = n
	return n
}

// relimit makes the producer take over a changed limit when a partition is
// stopped for want of it, and tries that partition at once. The producer keeps
// the limit that it met a topic with until it forgets the topic, which fails
// what is on its way; hence only when there is something to gain.
func (e *Engine) relimit(topic string) {
	name := TargetTopic(e.cfg.Origin, topic)
	e.mu.Lock()
	defer e.mu.Unlock()
	if used, ok := e.applied[name]; !ok || used == e.limits[name] {
		return
	}
	stopped := false
	for _, p := range e.of(topic) {
		if p.progress.snapshot().err != nil {
			stopped = true
			p.failures, p.retryAt = 0, e.clock.Now()
		}
	}
	if stopped {
		delete(e.applied, name)
		e.queued = append(e.queued, func() { e.producer.PurgeTopicsFromProducing(name) })
	}
}
