package storeposition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
)

// lookAtRegions is how often a hub whose store is refused looks whether the regions have adopted it.
const lookAtRegions = 5 * time.Second

// ErrRegionsAdopted ends the hub's process, so that it follows the store that its regions follow.
var ErrRegionsAdopted = errors.New("the regions have adopted another coordination store: this process ends, and follows that store when it is started again")

// Hub follows its regions to another store: a hub decides nothing about owners and holds no lease, so what
// people have told the regions is enough. All fields are required.
type Hub struct {
	// Store is the hub's.
	Store interface {
		Refusal() *coordination.OtherStoreError
	}
	// Regions returns the names of all regions that have a cluster, and Cluster reads in one, or fails
	// while that cannot be reached.
	Regions func(ctx context.Context) ([]string, error)
	Cluster func(region string) (client.Reader, error)
	// Namespace of the operator in the regions' clusters.
	Namespace string
	Clock     clock.WithTicker
	Log       logr.Logger
}

// NeedLeaderElection tells the manager that every replica looks: the one that waits for its turn has met
// the same store.
func (*Hub) NeedLeaderElection() bool { return false }

// Start looks until ctx ends, or the process has to (ErrRegionsAdopted).
func (h *Hub) Start(ctx context.Context) error {
	ticker := h.Clock.NewTicker(lookAtRegions)
	defer ticker.Stop()
	for {
		if err := h.Pass(ctx); errors.Is(err, ErrRegionsAdopted) {
			return err
		} else if err != nil && ctx.Err() == nil {
			h.Log.Info("Could not find out which coordination store the regions follow; trying again.", "error", err.Error())
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// Pass fails with ErrRegionsAdopted when the store is refused, and every region that can be asked, at least
// one, follows just that store. While one of them follows another, people are not done, or have pointed the
// hub somewhere else.
func (h *Hub) Pass(ctx context.Context) error {
	refusal := h.Store.Refusal()
	if refusal == nil || refusal.Restored {
		return nil // no region adopts what was restored under its old identity
	}
	regions, err := h.Regions(ctx)
	if err != nil {
		return fmt.Errorf("listing regions: %w", err)
	}
	follow := 0
	for _, region := range regions {
		reader, err := h.Cluster(region)
		if err != nil {
			continue // it adopts the store when it is back
		}
		kept, err := Load(ctx, reader, h.Namespace)
		switch {
		case err != nil:
			h.Log.Info("A region does not tell which coordination store it follows.", "region", region, "error", err.Error())
		case kept.Position.ClusterID == refusal.Seen.ClusterID && !kept.Restored:
			follow++
		case kept.Position.ClusterID != 0:
			return nil
		}
	}
	if follow == 0 {
		return nil
	}
	h.Log.Info("The regions have adopted another coordination store; this process ends and is to be started again.",
		"clusterID", FormatID(refusal.Seen.ClusterID), "before", FormatID(refusal.Known.ClusterID), "regions", follow)
	return ErrRegionsAdopted
}
