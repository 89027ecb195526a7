// Package storeposition keeps, in a Lease of the region's own cluster, which coordination store the
// region has followed and how far (R2), so that an agent that starts anew refuses a store that was
// replaced, or restored from a backup, as a running one does. It carries out a person's word, written
// on the same Lease, that another store is to be followed from now on.
//
// It must never lower what it keeps without such a word, nor with one before every lease that the
// region has given away has run out.
package storeposition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// Interval is how often a position that has moved is written: a store that is restored to less than
// this before its end, while no agent of the region runs, is not told from one that was not.
const Interval = 5 * time.Second

// look is how often the store is looked at for a refusal, and the Lease for a person's word while
// there is one.
const look = time.Second

// timeout bounds one call of the API server.
const timeout = 5 * time.Second

// Errors that end the process, so that it is started anew with what the Lease holds now.
var (
	// ErrAdopted: a person's word was carried out.
	ErrAdopted = errors.New("another coordination store was adopted: this process ends, and follows that store when it is started again")
	// ErrStale: the Lease is not what this process has started with.
	ErrStale = errors.New("the kept position of the coordination store was changed since this process started: it ends, to begin with the new one when it is started again")
)

// Store is what has a position.
type Store interface {
	Position() coordination.Position
	// Refusal returns what the store is refused for, nil when it is not.
	Refusal() *coordination.OtherStoreError
	// Advance raises the known position.
	Advance(p coordination.Position)
}

// Clock is the keeper's source of time.
type Clock interface {
	clock.WithTicker
	// Boottime measures durations, time for which the machine is suspended included.
	Boottime() time.Duration
}

// Keeper writes the position as it moves, what is refused, and what a person has adopted. It implements
// manager.Runnable. All fields are required unless they say otherwise.
type Keeper struct {
	Client    client.Client
	Reader    client.Reader
	Namespace string
	Store     Store
	Clock     Clock
	// Started is what the process has started with: the Load that the Store was connected with.
	Started Kept
	// Epoch returns the highest epoch that the agent has seen.
	Epoch func() int64
	// Trouble returns what a person should look at in the store, empty while all is well. Optional.
	Trouble func() string
	// RegionLease is for how long a beat gives the region its lease.
	RegionLease time.Duration
	Log         logr.Logger

	// refusedSince is when the store was first seen refused, with the position that it then had.
	refused      bool
	refusedSince time.Duration
	refusedAt    coordination.Position
	saved        time.Duration
}

// wait returns how long leases may run on once the store is refused.
func (k *Keeper) wait() time.Duration {
	return time.Duration(float64(k.RegionLease) * (1 + ownership.MaxDrift))
}

// Settle fails with ErrStale unless the Lease holds what this process has started with, but for a higher
// revision, which the Store takes over. To be called before the agent acts: while this process waited for
// its turn, another may have followed the store further, refused it, or adopted another.
func (k *Keeper) Settle(ctx context.Context) error {
	kept, err := Load(ctx, k.Reader, k.Namespace)
	if err != nil {
		return err
	}
	if k.stale(kept) || k.Started.Restored != kept.Restored {
		return ErrStale
	}
	if kept.Position.ClusterID != 0 {
		k.Store.Advance(kept.Position)
	}
	return nil
}

func (k *Keeper) stale(kept Kept) bool {
	return k.Started.Position.ClusterID != kept.Position.ClusterID && k.Started.Position.ClusterID != 0 ||
		k.Started.AboveEpoch != kept.AboveEpoch || k.Started.RevisionBase != kept.RevisionBase
}

// Start writes until ctx ends, or the process has to (ErrAdopted, ErrStale). A write that fails is tried
// again.
func (k *Keeper) Start(ctx context.Context) error {
	ticker := k.Clock.NewTicker(look)
	defer ticker.Stop()
	for {
		err := k.Pass(ctx)
		switch {
		case errors.Is(err, ErrAdopted), errors.Is(err, ErrStale):
			return err
		case err != nil && ctx.Err() == nil:
			k.Log.Info("Could not keep the coordination store's position; trying again.", "error", err.Error())
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// Pass looks once: it writes a position that has moved every Interval, and while the store is refused
// that it is, and looks for a person's word.
func (k *Keeper) Pass(ctx context.Context) error {
	now, refusal := k.Clock.Boottime(), k.Store.Refusal()
	// An answer that was accepted meanwhile may have extended the lease: the wait begins anew.
	if at := k.Store.Position(); refusal != nil && (!k.refused || at != k.refusedAt) {
		k.refusedSince, k.refusedAt = now, at
	}
	if k.refused = refusal != nil; !k.refused {
		if k.saved != 0 && now-k.saved < Interval {
			return nil
		}
		k.saved = now
	}
	return k.Save(ctx)
}

// Save writes what is to be kept now unless the Lease has it already.
func (k *Keeper) Save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	at, refusal := k.Store.Position(), k.Store.Refusal()
	var lease coordinationv1.Lease
	err := k.Reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: LeaseName}, &lease)
	switch {
	case apierrors.IsNotFound(err) && at.ClusterID == 0:
		return nil
	case apierrors.IsNotFound(err):
		lease = coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: LeaseName}}
		follow(&lease, k.next(k.Started, at), k.Clock.Now())
		k.tellLength(&lease)
		return k.Client.Create(ctx, &lease)
	case err != nil:
		return fmt.Errorf("reading lease %s/%s: %w", k.Namespace, LeaseName, err)
	}
	kept, err := Parse(&lease)
	if err != nil {
		return err
	}
	if k.stale(kept) || at.ClusterID != 0 && at.ClusterID != kept.Position.ClusterID {
		return fmt.Errorf("lease %s/%s is of store %x, and this process follows %x: %w",
			k.Namespace, LeaseName, kept.Position.ClusterID, at.ClusterID, ErrStale)
	}
	return k.update(ctx, &lease, kept, at, refusal)
}

// next returns what is to be kept at a position of the same store.
func (k *Keeper) next(kept Kept, at coordination.Position) Kept {
	kept.Position.ClusterID = at.ClusterID
	kept.Position.Revision = max(kept.Position.Revision, at.Revision)
	kept.Epoch = max(kept.Epoch, k.Epoch())
	return kept
}

// update changes the Lease where it is not what it should be.
func (k *Keeper) update(ctx context.Context, lease *coordinationv1.Lease, kept Kept, at coordination.Position, refusal *coordination.OtherStoreError) error {
	before := maps.Clone(lease.Annotations)
	now := k.Clock.Now()
	if refusal != nil {
		refuse(lease, refusal, now)
	} else if next := k.next(kept, at); at.ClusterID != 0 && !kept.Restored && next != kept {
		follow(lease, next, now)
	}
	standing := Standing{Kept: kept, Word: lease.Annotations[AdoptAnnotation], Refused: refusal, Wait: k.wait()}
	if k.refused && refusal != nil {
		standing.For = k.Clock.Boottime() - k.refusedSince
	}
	decision := Decide(standing)
	annotate(lease, AdoptionAnnotation, decision.Say)
	if decision.Adopt != 0 {
		follow(lease, adopted(k.next(kept, coordination.Position{ClusterID: kept.Position.ClusterID, Revision: at.Revision}), decision.Adopt), now)
	}
	if decision.Adopt != 0 || decision.Done {
		annotate(lease, AdoptAnnotation, "")
	}
	if k.Trouble != nil {
		tellTrouble(lease, k.Trouble(), now)
	}
	k.tellLength(lease)
	if maps.Equal(before, lease.Annotations) {
		return nil
	}
	if err := k.Client.Update(ctx, lease); err != nil {
		return err
	}
	if decision.Adopt != 0 {
		k.Log.Info("Adopted another coordination store at a person's word; this process ends and is to be started again.",
			"clusterID", FormatID(decision.Adopt), "before", FormatID(kept.Position.ClusterID))
		return ErrAdopted
	}
	return nil
}

// tellLength tells, in the Lease's own field, how long to wait for the region's leases, in seconds.
func (k *Keeper) tellLength(lease *coordinationv1.Lease) {
	lease.Spec.LeaseDurationSeconds = ptr.To(int32((k.wait() + time.Second - 1) / time.Second)) //nolint:gosec // seconds
}
