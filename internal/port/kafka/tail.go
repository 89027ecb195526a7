package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxTail bounds how many offsets Nothing looks through; between farther ones there is something.
const maxTail = 1000

// StableOffsets is EndOffsets without what transactions have not committed yet.
func (c *Client) StableOffsets(ctx context.Context, topics ...string) (map[string]map[int32]int64, error) {
	return c.offsets(ctx, "reading stable offsets", c.adm.ListCommittedOffsets, topics)
}

// Nothing reports whether no record is between two offsets of a partition: only markers of transactions, and
// what was aborted or compacted away. A consumer that commits the offset behind each record it has applied
// never commits one behind a marker, and would seem to lack something for ever.
func (c *Client) Nothing(ctx context.Context, topic string, partition int32, from, to int64) (bool, error) {
	if from >= to {
		return true, nil
	}
	if to-from > maxTail {
		return false, nil
	}
	nothing := false
	err := c.call(ctx, fmt.Sprintf("reading the end of topic %q", topic), func(ctx context.Context) error {
		opts, err := ClientOptions(c.opts)
		if err != nil {
			return err
		}
		consumer, err := kgo.NewClient(append(opts,
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.KeepControlRecords(),
		)...)
		if err != nil {
			return err
		}
		defer consumer.Close()
		for {
			fetches := consumer.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			for r := range fetches.RecordsAll() {
				switch {
				case r.Offset >= to:
					nothing = true
					return nil
				case !r.Attrs.IsControl():
					return nil
				case r.Offset == to-1:
					nothing = true
					return nil
				}
			}
		}
	})
	return nothing, err
}
