// Package peers tells a hub that runs beside a region's member (peer mode) what is declared: it reads the
// copies of the declarations from every region's cluster, from caches, and makes of them what a majority
// says. It must never wait for a cluster, write anything, or decide what becomes of a declaration.
package peers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/copies"
	"multiactive.dev/operator/internal/port/clusters"
)

// Leader says whether the agent beside this hub leads; agent.Agent implements it.
type Leader interface {
	// Ballot returns the ballot that this hub acts with, and false while it must not act.
	Ballot() (int64, bool)
	// RaiseBallot asks for one above another that was met.
	RaiseBallot(above int64)
}

// Group is all hubs, seen from this one. All fields are required.
type Group struct {
	// Region that this hub runs in.
	Region string
	// Local reads the cluster that it runs in.
	Local    client.Reader
	Clusters *clusters.Registry
	View     *follow.Follower
	Leader   Leader
}

// Ballot returns the ballot that this hub acts with, 0 while it does not act.
func (g *Group) Ballot() int64 {
	ballot, acts := g.Leader.Ballot()
	if !acts {
		return 0
	}
	return ballot
}

// Concerns reports whether a change of what is known decides anew who acts, or who has a say.
func Concerns(before, after follow.Snapshot) bool {
	b, a := before.Configuration, after.Configuration
	return b.Leader != a.Leader || b.Ballot != a.Ballot || !maps.EqualFunc(b.RegionIntents, a.RegionIntents, func(x, y ownership.RegionIntent) bool { return x.Role == y.Role })
}

// Voters returns the regions whose copies count: those that run services, as the coordination store knows
// them, without those that were declared lost for good. While it knows none, those that this hub's own
// cluster declares.
func (g *Group) Voters(ctx context.Context) ([]string, error) {
	c := g.View.Snapshot().Configuration
	var out []string
	for name, intent := range c.RegionIntents {
		if intent.Role != string(v1alpha1.RegionRoleWitness) && !c.View.Regions[name].Gone {
			out = append(out, name)
		}
	}
	if len(c.RegionIntents) == 0 {
		var own v1alpha1.RegionList
		if err := g.Local.List(ctx, &own); err != nil {
			return nil, fmt.Errorf("listing regions: %w", err)
		}
		for i := range own.Items {
			if r := &own.Items[i]; r.Spec.Role != v1alpha1.RegionRoleWitness && r.DeletionTimestamp.IsZero() {
				out = append(out, r.Name)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// reader returns what reads a region's cluster, or why it cannot be read.
func (g *Group) reader(region string) (client.Reader, string) {
	if region == g.Region {
		return g.Local, ""
	}
	cluster, err := g.Clusters.Get(region)
	switch {
	case errors.Is(err, clusters.ErrUnknown):
		return nil, "this cluster has no Region of that name with a usable kubeconfig"
	case err != nil:
		if connection, is := errors.AsType[*clusters.ConnectionError](err); is {
			return nil, connection.Kind.Error()
		}
		return nil, "its cluster is not usable"
	}
	return cluster.Client, ""
}

// gathered is the copies under one name.
type gathered[T client.Object] struct {
	verdict copies.Verdict
	// local is nil when this cluster has none.
	local T
	found map[string]T
}

// gather reads the copies of one object. fresh returns an empty one, and spec what has to be the same.
func gather[T client.Object](ctx context.Context, g *Group, voters []string, key types.NamespacedName, fresh func() T, spec func(T) any) (gathered[T], error) {
	out := gathered[T]{found: map[string]T{}}
	var all []copies.Copy
	for _, region := range voters {
		c := copies.Copy{Region: region, State: copies.Absent}
		reader, problem := g.reader(region)
		if reader == nil {
			c.State, c.Problem = copies.Unknown, problem
			all = append(all, c)
			continue
		}
		object := fresh()
		err := reader.Get(ctx, key, object)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil && region == g.Region:
			return out, fmt.Errorf("reading %s: %w", key, err)
		case err != nil:
			c.State, c.Problem = copies.Unknown, "its cluster is not usable"
		default:
			c.State, c.Hash, c.UID = copies.Present, copies.Hash(spec(object)), string(object.GetUID())
			c.CreatedAt = object.GetCreationTimestamp().Time
			if !object.GetDeletionTimestamp().IsZero() {
				c.State = copies.Deleting
			}
			out.found[region] = object
		}
		all = append(all, c)
	}
	out.verdict = copies.Decide(all)
	local := fresh()
	err := g.Local.Get(ctx, key, local)
	switch {
	case err == nil:
		out.local = local
	case !apierrors.IsNotFound(err):
		return out, fmt.Errorf("reading %s: %w", key, err)
	}
	return out, nil
}

// chosen returns the copy that stands for the verdict: this cluster's own if it may, else the first by
// region; nil when there is none.
func (c gathered[T]) chosen(region string) T {
	var none T
	fits := func(v copies.Copy) bool {
		switch c.verdict.Outcome {
		case copies.Agreed:
			return v.State == copies.Present && v.Hash == c.verdict.Hash
		case copies.Deleted:
			return v.State == copies.Deleting
		default:
			return v.State == copies.Present || v.State == copies.Deleting
		}
	}
	best := none
	found := false
	for _, v := range c.verdict.Copies {
		if fits(v) && (!found || v.Region == region) {
			best, found = c.found[v.Region], true
		}
	}
	return best
}
