package mirror

import (
	"context"
	"fmt"

	"multiactive.dev/operator/internal/port/kafka"
)

// Store makes the mirror from an origin, when it starts, go on from these positions, by the topics' local names.
// It needs both clusters: a position counts for the pair of topics that it was stored about. Topics without a
// copy are left out, they start from their first record. It must not run while the mirror does.
func Store(ctx context.Context, source, target kafka.Admin, origin string, positions map[string]map[int32]int64) error {
	var local, copies []string
	for topic := range positions {
		local, copies = append(local, topic), append(copies, TargetTopic(origin, topic))
	}
	sources, err := source.Describe(ctx, local...)
	if err != nil {
		return fmt.Errorf("storing positions of the mirror from %s: source: %w", origin, err)
	}
	targets, err := target.Describe(ctx, copies...)
	if err != nil {
		return fmt.Errorf("storing positions of the mirror from %s: target: %w", origin, err)
	}
	var offsets []kafka.GroupOffset
	for topic, partitions := range positions {
		s, t := sources[topic], targets[TargetTopic(origin, topic)]
		if s.Err != nil || t.Err != nil {
			return fmt.Errorf("storing positions of the mirror from %s: topic %s cannot be read at both ends", origin, topic)
		}
		if !s.Exists || !t.Exists {
			continue
		}
		for p, offset := range partitions {
			offsets = append(offsets, kafka.GroupOffset{
				Topic: TargetTopic(origin, topic), Partition: p, Offset: offset, Metadata: topicID(s) + "/" + topicID(t),
			})
		}
	}
	return target.CommitOffsets(ctx, Group(origin), offsets)
}
