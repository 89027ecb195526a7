// Package storeposition keeps, in a Lease of the region's own cluster, which coordination store the
// region has followed and how far (R2), so that an agent that starts anew refuses a store that was
// replaced, or restored from a backup, as a running one does.
//
// It must never lower what it keeps: forgetting is a person's decision, taken by deleting the Lease
// once every lease of the region has run out.
package storeposition

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
)

// LeaseName is the name of the Lease, in the operator's namespace.
const LeaseName = "multiactive-coordination"

// Annotations of the Lease.
const (
	// ClusterIDAnnotation holds the store's cluster ID in hexadecimal.
	ClusterIDAnnotation = "multiactive.dev/cluster-id"
	// RevisionAnnotation holds the highest revision seen, in decimal.
	RevisionAnnotation = "multiactive.dev/revision"
)

// Interval is how often a position that has moved is written: a store that is restored to less than
// this before its end, while no agent of the region runs, is not told from one that was not.
const Interval = 5 * time.Second

// timeout bounds one call of the API server.
const timeout = 5 * time.Second

// Store is what has a position.
type Store interface {
	Position() coordination.Position
}

// Load returns the position that was kept, or the zero Position when there is none yet. A Lease that
// cannot be read or understood is an error: going on without it would accept any store.
func Load(ctx context.Context, reader client.Reader, namespace string) (coordination.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var lease coordinationv1.Lease
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LeaseName}, &lease)
	if apierrors.IsNotFound(err) {
		return coordination.Position{}, nil
	}
	if err != nil {
		return coordination.Position{}, fmt.Errorf("reading lease %s/%s: %w", namespace, LeaseName, err)
	}
	return parse(&lease)
}

func parse(lease *coordinationv1.Lease) (coordination.Position, error) {
	broken := func(annotation string, err error) (coordination.Position, error) {
		return coordination.Position{}, fmt.Errorf("lease %s/%s: annotation %s: %w; put back what it held, or delete the Lease to accept the store as it is now",
			lease.Namespace, lease.Name, annotation, err)
	}
	id, err := strconv.ParseUint(lease.Annotations[ClusterIDAnnotation], 16, 64)
	if err != nil {
		return broken(ClusterIDAnnotation, err)
	}
	revision, err := strconv.ParseInt(lease.Annotations[RevisionAnnotation], 10, 64)
	if err != nil {
		return broken(RevisionAnnotation, err)
	}
	return coordination.Position{ClusterID: id, Revision: revision}, nil
}

// Keeper writes the position as it moves. It implements manager.Runnable.
type Keeper struct {
	Client    client.Client
	Reader    client.Reader
	Namespace string
	Store     Store
	Clock     clock.WithTicker
	Log       logr.Logger
}

// Start writes until ctx ends. A write that fails is tried again at the next interval.
func (k *Keeper) Start(ctx context.Context) error {
	ticker := k.Clock.NewTicker(Interval)
	defer ticker.Stop()
	for {
		if err := k.Save(ctx); err != nil && ctx.Err() == nil {
			k.Log.Info("Could not keep the coordination store's position; trying again.", "error", err.Error())
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// Save writes the position unless the Lease has it already.
func (k *Keeper) Save(ctx context.Context) error {
	now := k.Store.Position()
	if now.ClusterID == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var lease coordinationv1.Lease
	err := k.Reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: LeaseName}, &lease)
	switch {
	case apierrors.IsNotFound(err):
		lease = coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: LeaseName}}
		k.fill(&lease, now)
		return k.Client.Create(ctx, &lease)
	case err != nil:
		return fmt.Errorf("reading lease %s/%s: %w", k.Namespace, LeaseName, err)
	}
	kept, err := parse(&lease)
	if err != nil {
		return err
	}
	if kept.ClusterID == now.ClusterID && kept.Revision >= now.Revision {
		return nil
	}
	if kept.ClusterID != now.ClusterID {
		return fmt.Errorf("lease %s/%s is of store %x, and this process follows %x", k.Namespace, LeaseName, kept.ClusterID, now.ClusterID)
	}
	k.fill(&lease, now)
	return k.Client.Update(ctx, &lease)
}

func (k *Keeper) fill(lease *coordinationv1.Lease, p coordination.Position) {
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, ClusterIDAnnotation, strconv.FormatUint(p.ClusterID, 16))
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, RevisionAnnotation, strconv.FormatInt(p.Revision, 10))
	at := metav1.NewMicroTime(k.Clock.Now())
	lease.Spec.RenewTime = &at
}
