package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// GroupOffsets implements Admin.
func (c *Client) GroupOffsets(ctx context.Context, group string) ([]GroupOffset, error) {
	var out []GroupOffset
	err := c.call(ctx, fmt.Sprintf("reading the offsets of group %q", group), func(ctx context.Context) error {
		fetched, err := c.adm.FetchOffsets(ctx, group)
		if errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, o := range fetched.Sorted() {
			if o.Err != nil {
				return fmt.Errorf("topic %s partition %d: %w", o.Topic, o.Partition, o.Err)
			}
			if o.At >= 0 {
				out = append(out, GroupOffset{Topic: o.Topic, Partition: o.Partition, Offset: o.At, Metadata: o.Metadata})
			}
		}
		return nil
	})
	return out, err
}

// CommitOffsets implements Admin.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets []GroupOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	commit := kadm.Offsets{}
	for _, o := range offsets {
		commit.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: -1, Metadata: o.Metadata})
	}
	return c.call(ctx, fmt.Sprintf("committing offsets of group %q", group), func(ctx context.Context) error {
		resp, err := c.adm.CommitOffsets(ctx, group, commit)
		if err != nil {
			return err
		}
		if err := resp.Error(); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		// The library says so too when no broker answered its question for
		// the topics; ask again to tell the two apart.
		if _, err := c.metadata(ctx, nil); err != nil {
			return err
		}
		return resp.Error()
	})
}
