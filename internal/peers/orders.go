package peers

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
)

// AllOrders returns all Operations: those of the one hub's cluster, or, in peer mode, of every cluster that can be read,
// since one may be given in any of them. g is nil with one hub.
func AllOrders(ctx context.Context, hub client.Reader, g *Group) ([]v1alpha1.Operation, error) {
	if g != nil {
		return g.Orders(ctx)
	}
	var list v1alpha1.OperationList
	if err := hub.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return list.Items, nil
}

// Orders returns the Operations of all clusters that can be read. Those of one name are one order, which may
// be there several times.
func (g *Group) Orders(ctx context.Context) ([]v1alpha1.Operation, error) {
	var own v1alpha1.OperationList
	if err := g.Local.List(ctx, &own, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	voters, err := g.Voters(ctx)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(own.Items)
	for _, region := range voters {
		reader, _ := g.reader(region)
		if reader == nil || region == g.Region {
			continue
		}
		var list v1alpha1.OperationList
		if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			continue // a cluster that was just given up; its return is announced
		}
		out = append(out, list.Items...)
	}
	return out, nil
}
