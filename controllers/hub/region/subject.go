package region

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/copies"
	plan "multiactive.dev/operator/internal/plan/region"
)

// subject is what one pass is about.
type subject struct {
	// own is this cluster's object, which the status and the finalizer belong to; nil in peer mode when other
	// clusters have a copy and this one has none.
	own *v1alpha1.Region
	// declared is what is acted on and reported: own, or, in peer mode, what the copies come to.
	declared *v1alpha1.Region
	// peers is nil with one hub.
	peers *plan.Peers
}

// subject reads what a name stands for; declared is nil when it stands for nothing.
func (r *Reconciler) subject(ctx context.Context, name string) (subject, error) {
	if r.Peers == nil {
		rg := &v1alpha1.Region{}
		err := r.Client.Get(ctx, types.NamespacedName{Name: name}, rg)
		switch {
		case apierrors.IsNotFound(err):
			return subject{}, nil
		case err != nil:
			return subject{}, err
		}
		return subject{own: rg, declared: rg}, nil
	}
	all, err := r.Peers.RegionNamed(ctx, name)
	if err != nil {
		return subject{}, err
	}
	s := subject{own: all.Local, declared: all.Declared}
	s.peers = &plan.Peers{Verdict: all.Verdict, Region: r.Peers.Region, Local: copies.Absent, Acts: r.Peers.Ballot() > 0}
	if s.own != nil {
		s.peers.Local = copies.Present
		if !s.own.DeletionTimestamp.IsZero() {
			s.peers.Local = copies.Deleting
		}
		s.peers.Finalized = slices.Contains(s.own.Finalizers, plan.Finalizer)
	}
	return s, nil
}

// declared returns all regions, as far as they can be read.
func (r *Reconciler) declared(ctx context.Context) ([]*v1alpha1.Region, error) {
	var out []*v1alpha1.Region
	if r.Peers == nil {
		var list v1alpha1.RegionList
		if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
		return out, nil
	}
	all, err := r.Peers.Regions(ctx)
	if err != nil {
		return nil, err
	}
	for _, rg := range all {
		if rg.Declared != nil {
			out = append(out, rg.Declared)
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.Region) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// services returns all services, as far as they can be read.
func (r *Reconciler) services(ctx context.Context) ([]*v1alpha1.MultiActiveService, error) {
	var out []*v1alpha1.MultiActiveService
	if r.Peers == nil {
		var list v1alpha1.MultiActiveServiceList
		if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing services: %w", err)
		}
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
		return out, nil
	}
	keys, err := r.Peers.Names(ctx)
	if err != nil {
		return nil, err
	}
	regions, err := r.declared(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, rg := range regions {
		names = append(names, rg.Name)
	}
	for _, key := range keys {
		s, err := r.Peers.Service(ctx, key, names)
		if err != nil {
			return nil, err
		}
		if s.Declared != nil {
			out = append(out, s.Declared)
		}
	}
	return out, nil
}
