package mirror

import (
	"context"
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

func (e *Engine) create(ctx context.Context, name string, source kafka.Topic) error {
	brokers, err := e.target.Brokers(ctx)
	if err != nil {
		return err
	}
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
	return e.target.Create(ctx, kafka.NewTopic{
		Name:              name,
		Partitions:        source.Partitions,
		ReplicationFactor: min(e.set.ReplicationFactor, brokers),
		Configs:           configs,
	})
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
	e.limits[name] = limit
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
	for tp, p := range e.partitions {
		if tp.topic == topic && p.progress.snapshot().err != nil {
			stopped = true
			p.failures, p.retryAt = 0, e.clock.Now()
		}
	}
	if stopped {
		delete(e.applied, name)
		e.queued = append(e.queued, func() { e.producer.PurgeTopicsFromProducing(name) })
	}
}
