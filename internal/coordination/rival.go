package coordination

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// AnnounceRival tells that another process would act for the region and does not. The announcement goes by
// itself after ttl (whole seconds, rounded up), so that one that has ended is forgotten.
func (s *Store) AnnounceRival(ctx context.Context, region string, r ownership.Rival, ttl time.Duration) error {
	if err := checkName("region", region); err != nil {
		return err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", dirRival+region, err)
	}
	grant, cancel := s.bounded(ctx)
	defer cancel()
	lease, err := ask(grant, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseGrantResponse, error) {
		return c.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", dirRival+region, err)
	}
	_, err = s.commit(ctx, dirRival+region, nil, clientv3.OpPut(s.prefix+dirRival+region, string(value), clientv3.WithLease(lease.ID)))
	return err
}
