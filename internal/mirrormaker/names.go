package mirrormaker

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"multiactive.dev/operator/internal/port/kafka"
)

// offsetPartitions is how many partitions Connect makes the topic with.
const offsetPartitions = 25

// ensure makes the topic as Connect would: it refuses to start with one that is not compacted.
func (o *Offsets) ensure(ctx context.Context, replicationFactor int) error {
	err := o.admin.Create(ctx, kafka.NewTopic{
		Name: OffsetsTopic(o.from), Partitions: offsetPartitions, ReplicationFactor: replicationFactor,
		Configs: map[string]string{"cleanup.policy": "compact"},
	})
	if errors.Is(err, kafka.ErrTopicExists) {
		return nil
	}
	return err
}

func isStrimzi(connector, from string) bool {
	return strings.HasPrefix(connector, from+"->") && strings.HasSuffix(connector, "."+Connector)
}

func unescaped(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(`\u003e`), []byte(">"))
}
