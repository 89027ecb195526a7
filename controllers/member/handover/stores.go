package handover

import (
	"context"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/storage"
)

// storeTimeout bounds one question to a store's server: a change of owners waits for the answer.
const storeTimeout = 2 * time.Second

// Stores are the region's servers of stores, as hand-overs need them.
type Stores interface {
	// Positions asks a store's server what it has.
	Positions(ctx context.Context, store string) (storage.Positions, error)
	// Look returns what is known of a store's server and its links.
	Look(store string) store.Look
	// Fenced reports whether the stores' servers have the fences of a configuration, or let nobody write any more.
	Fenced(c ownership.Configuration, stores []string) bool
}

// storeKey names a store in a Vector and beside topics.
func storeKey(name string) string { return "store/" + name }

// storesOf returns the names of the services' stores, each once.
func storesOf(services []v1alpha1.RegionalService) []string {
	var names []string
	for i := range services {
		for _, s := range services[i].Spec.Stores {
			names = append(names, s.Name)
		}
	}
	return distinct(names)
}

// storesFar reports whether the region is far behind an origin of one of a service's stores, a link of one is paused, or
// the region is back and its rows are not known to be those of the others.
func (r *Region) storesFar(c ownership.Configuration, rs *v1alpha1.RegionalService, paused map[string]map[string]bool) bool {
	far := false
	for _, s := range rs.Spec.Stores {
		look := r.Stores.Look(s.Name)
		far = far || !look.Known || look.Settling != ""
		for _, from := range look.Sources {
			if !regional.HasPeer(&rs.Spec, from) {
				continue
			}
			l := look.Links[from]
			far = r.far(c, storeKey(s.Name)+" "+from, from, canary.Reading{Known: l.Known, Age: l.Age}) || far
			far = far || c.Gates[from].Open && (paused[from][storeKey(s.Name)] || r.uncompared(c, l))
		}
	}
	return far
}

// uncompared reports whether the region is on its way back, and its rows were not found to be those of a link's source.
func (r *Region) uncompared(c ownership.Configuration, l store.LinkLook) bool {
	here := c.View.Regions[r.Name]
	return here.State == ownership.RegionReturning && !l.Agrees(here.ReturnedEpoch)
}

// storePositions asks the servers of the services' stores what they have, each once.
func (r *Region) storePositions(ctx context.Context, services []v1alpha1.RegionalService) (map[string]storage.Positions, map[string]error) {
	seen, failed := map[string]storage.Positions{}, map[string]error{}
	for _, name := range storesOf(services) {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		positions, err := r.Stores.Positions(ctx, name)
		cancel()
		if err != nil {
			failed[name] = err
		} else {
			seen[name] = positions
		}
	}
	return seen, failed
}

// storeVector is what the region's servers have, as a Vector.
func (r *Region) storeVector(ctx context.Context, services []v1alpha1.RegionalService) (ownership.Vector, error) {
	v := ownership.Vector{}
	seen, failed := r.storePositions(ctx, services)
	for _, err := range failed {
		return nil, err
	}
	for name, positions := range seen {
		for origin, position := range positions {
			v = v.Join(ownership.Vector{origin: {storeKey(name): position}})
		}
	}
	return v, nil
}

// storesApplied reports whether a service's stores have all that is asked for, and have applied all that they
// received of regions that are lost.
func (r *Region) storesApplied(rs *v1alpha1.RegionalService, target ownership.Vector, lost []string, seen map[string]storage.Positions) bool {
	for _, s := range rs.Spec.Stores {
		have, known := seen[s.Name]
		if !known {
			return false
		}
		for origin, streams := range target {
			if origin != r.Name && have[origin] < streams[storeKey(s.Name)] {
				return false
			}
		}
		links := r.Stores.Look(s.Name).Observation.Links
		for _, origin := range lost {
			if l, there := links[origin]; there && l.Received > have[origin] {
				return false
			}
		}
	}
	return true
}
