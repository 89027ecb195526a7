package multiactiveservice

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/copies"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// subject is what one pass is about.
type subject struct {
	// own is this cluster's object, which the status and the finalizer belong to; nil in peer mode when other
	// clusters have a copy and this one has none.
	own *v1alpha1.MultiActiveService
	// declared is what is acted on and reported: own, or, in peer mode, what the copies come to.
	declared *v1alpha1.MultiActiveService
	// peers is nil with one hub.
	peers *plan.Peers
	// regions by name.
	regions map[string]*v1alpha1.Region
}

// subject reads what a name stands for; declared is nil when it stands for nothing.
func (r *Reconciler) subject(ctx context.Context, key types.NamespacedName) (subject, error) {
	if r.Peers != nil {
		return r.subjectOfPeers(ctx, key)
	}
	s := subject{regions: map[string]*v1alpha1.Region{}}
	var regions v1alpha1.RegionList
	if err := r.Client.List(ctx, &regions); err != nil {
		return s, fmt.Errorf("listing regions: %w", err)
	}
	for i := range regions.Items {
		s.regions[regions.Items[i].Name] = &regions.Items[i]
	}
	mas := &v1alpha1.MultiActiveService{}
	err := r.Client.Get(ctx, key, mas)
	switch {
	case apierrors.IsNotFound(err):
		return s, nil
	case err != nil:
		return s, err
	}
	s.own, s.declared = mas, mas
	return s, nil
}

func (r *Reconciler) subjectOfPeers(ctx context.Context, key types.NamespacedName) (subject, error) {
	s := subject{regions: map[string]*v1alpha1.Region{}}
	regions, err := r.Peers.Regions(ctx)
	if err != nil {
		return s, err
	}
	for name, rg := range regions {
		if rg.Declared != nil {
			s.regions[name] = rg.Declared
		}
	}
	service, err := r.Peers.Service(ctx, key, slices.Sorted(maps.Keys(s.regions)))
	if err != nil {
		return s, err
	}
	s.own, s.declared = service.Local, service.Declared
	s.peers = &plan.Peers{Verdict: service.Verdict, Region: r.Peers.Region, Local: copies.Absent, Ballot: r.Peers.Ballot()}
	if s.own != nil {
		s.peers.Local = copies.Present
		if !s.own.DeletionTimestamp.IsZero() {
			s.peers.Local = copies.Deleting
		}
		s.peers.Finalized = slices.Contains(s.own.Finalizers, plan.Finalizer)
	}
	if s.declared == nil {
		return s, nil
	}
	for _, declared := range s.declared.Spec.Regions {
		if rg, known := regions[declared.Name]; known && rg.Verdict.Outcome == copies.Undecided {
			s.peers.Unsettled = append(s.peers.Unsettled, declared.Name)
		}
	}
	return s, nil
}

// acts reports whether this hub is the one that changes what is shared.
func (s subject) acts() bool { return s.peers == nil || s.peers.Ballot > 0 }
