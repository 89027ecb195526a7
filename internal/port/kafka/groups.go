package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// GroupOffsets implements Admin.
func (c *Client) GroupOffsets(ctx context.Context, group string) ([]GroupOffset, error) {
	var out []GroupOffset
	err := c.callGroup(ctx, fmt.Sprintf("reading the offsets of group %q", group), func(ctx context.Context) error {
		out = nil
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
				stored := GroupOffset{Topic: o.Topic, Partition: o.Partition, Offset: o.At, Metadata: o.Metadata}
				if o.LeaderEpoch >= 0 {
					stored.Epoch = &o.LeaderEpoch
				}
				out = append(out, stored)
			}
		}
		return nil
	})
	return out, err
}

// coordinatorRetry is the pause before a group's coordinator is asked again.
const coordinatorRetry = 100 * time.Millisecond

// callGroup is call for what a group's coordinator answers. Kafka makes the
// topic of offsets with the first group that asks, and moves groups to other
// brokers: for a moment there is no coordinator, which is no failure.
func (c *Client) callGroup(ctx context.Context, op string, do func(context.Context) error) error {
	return c.call(ctx, op, func(ctx context.Context) error {
		for {
			err := do(ctx)
			if !errors.Is(err, kerr.CoordinatorNotAvailable) && !errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.NotCoordinator) {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(coordinatorRetry): //nolint:forbidigo // waits for the brokers, whose clock is the system's
			}
		}
	})
}

// CommitOffsets implements Admin.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets []GroupOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	commit := kadm.Offsets{}
	for _, o := range offsets {
		epoch := int32(-1)
		if o.Epoch != nil {
			epoch = *o.Epoch
		}
		commit.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: epoch, Metadata: o.Metadata})
	}
	return c.callGroup(ctx, fmt.Sprintf("committing offsets of group %q", group), func(ctx context.Context) error {
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
