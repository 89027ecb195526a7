package peers

import (
	"context"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/copies"
)

// Service is what the regions' clusters have under the name of one service.
type Service struct {
	Verdict copies.Verdict
	// Local is this cluster's own copy, nil if it has none.
	Local *v1alpha1.MultiActiveService
	// Declared is what the copies come to: the majority's spec, or its deletion, under the identity that the
	// service has everywhere, with the status of Local. Without a majority it is what Local says, for
	// reports alone. Nil when there is no copy.
	Declared *v1alpha1.MultiActiveService
}

// Service reads one service. names have the regions that may have slices of it.
func (g *Group) Service(ctx context.Context, key types.NamespacedName, names []string) (Service, error) {
	voters, err := g.Voters(ctx)
	if err != nil {
		return Service{}, err
	}
	all, err := gather(ctx, g, voters, key, func() *v1alpha1.MultiActiveService { return &v1alpha1.MultiActiveService{} },
		func(m *v1alpha1.MultiActiveService) any { return m.Spec })
	if err != nil {
		return Service{}, err
	}
	out := Service{Verdict: all.verdict, Local: all.local}
	base := all.chosen(g.Region)
	if out.Verdict.Outcome == copies.Undecided && out.Local != nil {
		base = out.Local
	}
	if base == nil {
		return out, nil
	}
	identity := out.Verdict.Identify(g.View.Snapshot().Configuration, key.Namespace, key.Name, g.slices(ctx, key, names))
	declared := base.DeepCopy()
	if local := out.Local; local != nil {
		// Everything that is this cluster's own: the declaration alone is the majority's.
		declared.ObjectMeta = *local.ObjectMeta.DeepCopy()
		declared.Status = *local.Status.DeepCopy()
	}
	declared.UID = types.UID(identity.UID)
	declared.CreationTimestamp = metav1.NewTime(identity.CreatedAt.Truncate(time.Second))
	switch out.Verdict.Outcome {
	case copies.Agreed:
		declared.DeletionTimestamp = nil
	case copies.Deleted:
		declared.DeletionTimestamp = base.DeletionTimestamp
	case copies.Undecided:
	}
	abandoned(declared, all)
	out.Declared = declared
	return out, nil
}

// abandoned gives a service the regions that some copy says are given up on.
func abandoned(declared *v1alpha1.MultiActiveService, all gathered[*v1alpha1.MultiActiveService]) {
	var regions []string
	for _, m := range all.found {
		for r := range strings.SplitSeq(m.Annotations[v1alpha1.AnnotationAbandoned], ",") {
			if r != "" {
				regions = append(regions, r)
			}
		}
	}
	if len(regions) == 0 {
		return
	}
	slices.Sort(regions)
	if declared.Annotations == nil {
		declared.Annotations = map[string]string{}
	}
	declared.Annotations[v1alpha1.AnnotationAbandoned] = strings.Join(slices.Compact(regions), ",")
}

// slices reads what the regions have under the service's name.
func (g *Group) slices(ctx context.Context, key types.NamespacedName, regions []string) []copies.Slice {
	var out []copies.Slice
	for _, region := range regions {
		cluster, err := g.Clusters.Get(region)
		if err != nil {
			continue
		}
		var s v1alpha1.RegionalService
		if err := cluster.Client.Get(ctx, key, &s); err != nil {
			continue
		}
		out = append(out, copies.Slice{
			ServiceID: s.Spec.ServiceID, Ballot: s.Spec.Stamp.Ballot, CreatedAt: s.Spec.ServiceCreatedAt.Time,
			Deleting: !s.DeletionTimestamp.IsZero(),
		})
	}
	return out
}

// Names returns the names of all services that some cluster which can be read has a copy of, sorted.
func (g *Group) Names(ctx context.Context) ([]types.NamespacedName, error) {
	voters, err := g.Voters(ctx)
	if err != nil {
		return nil, err
	}
	known := map[types.NamespacedName]bool{}
	for _, region := range append(voters, g.Region) {
		reader, _ := g.reader(region)
		if reader == nil {
			continue
		}
		var list v1alpha1.MultiActiveServiceList
		if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			continue // a cluster that was just given up; its return is announced
		}
		for i := range list.Items {
			known[client.ObjectKeyFromObject(&list.Items[i])] = true
		}
	}
	var out []types.NamespacedName
	for key := range known {
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// Region is what the regions' clusters have under the name of one Region.
type Region struct {
	Verdict copies.Verdict
	// Local is this cluster's own copy, nil if it has none.
	Local *v1alpha1.Region
	// Declared is what the copies come to, with the status of Local; without a majority, what Local says.
	// Nil when there is no copy.
	Declared *v1alpha1.Region
}

// Regions reads all Regions.
func (g *Group) Regions(ctx context.Context) (map[string]Region, error) {
	voters, err := g.Voters(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, region := range append(slices.Clone(voters), g.Region) {
		reader, _ := g.reader(region)
		if reader == nil {
			continue
		}
		var list v1alpha1.RegionList
		if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			continue // a cluster that was just given up; its return is announced
		}
		for i := range list.Items {
			names[list.Items[i].Name] = true
		}
	}
	out := map[string]Region{}
	for name := range names {
		if out[name], err = g.region(ctx, voters, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RegionNamed reads one Region.
func (g *Group) RegionNamed(ctx context.Context, name string) (Region, error) {
	voters, err := g.Voters(ctx)
	if err != nil {
		return Region{}, err
	}
	return g.region(ctx, voters, name)
}

func (g *Group) region(ctx context.Context, voters []string, name string) (Region, error) {
	all, err := gather(ctx, g, voters, types.NamespacedName{Name: name}, func() *v1alpha1.Region { return &v1alpha1.Region{} },
		func(r *v1alpha1.Region) any { return r.Spec })
	if err != nil {
		return Region{}, err
	}
	out := Region{Verdict: all.verdict, Local: all.local}
	base := all.chosen(g.Region)
	if out.Verdict.Outcome == copies.Undecided && out.Local != nil {
		base = out.Local
	}
	if base == nil {
		return out, nil
	}
	out.Declared = base.DeepCopy()
	if local := out.Local; local != nil {
		out.Declared.ObjectMeta = *local.ObjectMeta.DeepCopy()
		out.Declared.Status = *local.Status.DeepCopy()
	}
	switch out.Verdict.Outcome {
	case copies.Agreed:
		out.Declared.DeletionTimestamp = nil
	case copies.Deleted:
		out.Declared.DeletionTimestamp = ptr.To(*base.DeletionTimestamp)
	case copies.Undecided:
	}
	return out, nil
}
