package multiactiveservice

import (
	"fmt"
	stdslices "slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/slices"
)

// usableStores returns the stores that the service may use, by name.
func (s Seen) usableStores(mas *v1alpha1.MultiActiveService) map[string]*v1alpha1.DataStore {
	out := map[string]*v1alpha1.DataStore{}
	for _, name := range slices.StoreNames(mas.Spec) {
		if reason, _ := s.storeRefusal(mas, name); reason == "" {
			out[name] = s.Stores[name]
		}
	}
	return out
}

// storeRefusal says why the service may not use a store; empty when it may. One that is being deleted stays while it is
// named.
func (s Seen) storeRefusal(mas *v1alpha1.MultiActiveService, name string) (reason, message string) {
	d := s.Stores[name]
	switch {
	case d == nil && s.Peers != nil:
		return v1alpha1.ReasonStoreUnknown, fmt.Sprintf("there is no DataStore %s in the cluster of region %s: apply it to the clusters of all regions, "+
			"or name another one in dataClasses.sync; regions keep what they were told of it", name, s.Peers.Region)
	case d == nil:
		return v1alpha1.ReasonStoreUnknown, fmt.Sprintf("there is no DataStore %s: create it, or name another one in dataClasses.sync", name)
	case !allowed(d.Spec.AllowedNamespaces, s.NamespaceLabels):
		return v1alpha1.ReasonStoreNotAllowed, fmt.Sprintf("DataStore %s does not allow namespace %s: ask the platform team to extend its spec.allowedNamespaces",
			name, mas.Namespace)
	case s.StoreClaims[name] != "":
		return v1alpha1.ReasonStoreConflict, fmt.Sprintf("DataStore %s with topology PrimaryReplica is used by service %s: its writable region follows the owners "+
			"of one service; give this one a store of its own, or make them one service", name, s.StoreClaims[name])
	}
	return "", ""
}

// keepStores keeps what a region has of stores that the service names and this hub's cluster lacks: a hub that has just begun to
// lead may know of less than the one before it, and a region that forgets a store would end its links and open its fence
// to nobody. With one hub a store that is named is there for as long as people want it.
func (s Seen) keepStores(mas *v1alpha1.MultiActiveService, want, have *v1alpha1.RegionalService) {
	if s.Peers == nil || have == nil || foreign(mas, have) {
		return
	}
	names := slices.StoreNames(mas.Spec)
	for _, store := range have.Spec.Stores {
		if s.Stores[store.Name] == nil && stdslices.Contains(names, store.Name) {
			want.Spec.Stores = append(want.Spec.Stores, store)
		}
	}
	stdslices.SortStableFunc(want.Spec.Stores, func(a, b v1alpha1.StoreSlice) int {
		return stdslices.Index(names, a.Name) - stdslices.Index(names, b.Name)
	})
}

// withoutStores reports whether a region's member is of a version that knows nothing of stores. Its cluster may drop them
// from the slice, which would be written again and again.
func withoutStores(have *v1alpha1.RegionalService) bool {
	return len(have.Status.Features) > 0 && !stdslices.Contains(have.Status.Features, regional.FeatureStorageReplication)
}

// settling names what members report that act on conflict policies with servers of an engine.
var settling = map[v1alpha1.StoreEngine]string{
	v1alpha1.EngineMariaDB:    regional.FeatureConflictPolicies,
	v1alpha1.EngineMySQL:      regional.FeatureConflictPoliciesMySQL,
	v1alpha1.EnginePostgreSQL: regional.FeatureConflictPoliciesPostgreSQL,
}

// settles reports whether the members of all regions act on conflict policies of an engine's stores: one that does waits for the others.
func (s Seen) settles(engine v1alpha1.StoreEngine) bool {
	feature, decides := settling[engine]
	if !decides {
		return false
	}
	for _, r := range s.Regions {
		if r.Slice != nil && !stdslices.Contains(r.Slice.Status.Features, feature) {
			return false
		}
	}
	return true
}

// withoutConflicts takes policies out of a slice, but for those of stores whose engine settles; nil: all.
func withoutConflicts(rs *v1alpha1.RegionalService, settles func(v1alpha1.StoreEngine) bool) {
	for i := range rs.Spec.Stores {
		if settles != nil && settles(rs.Spec.Stores[i].Engine) {
			continue
		}
		for j := range rs.Spec.Stores[i].Classes {
			rs.Spec.Stores[i].Classes[j].Conflict = nil
		}
	}
}

// conflictNotActedOn says why a class's conflict policy is not acted on; empty where it is.
func (s Seen) conflictNotActedOn(c v1alpha1.DataClass) string {
	sync := slices.StorageReplication(c)
	if c.Conflict == nil {
		return ""
	}
	if sync == nil {
		return "without sync StorageReplication there are no rows to decide on"
	}
	switch d := s.Stores[sync.Store]; {
	case d == nil:
		return "" // conditions say so
	case settling[d.Spec.Engine] == "" || d.Spec.Management == v1alpha1.StoreObserved || d.Spec.Management == v1alpha1.StoreExternal:
		return fmt.Sprintf("DataStore %s has no servers of MariaDB, MySQL or PostgreSQL with management Managed: what does not fit stops its link", sync.Store)
	case d.Spec.Engine == v1alpha1.EnginePostgreSQL && d.Spec.Topology.Type != v1alpha1.TopologyMesh:
		return fmt.Sprintf("DataStore %s has PostgreSQL servers with topology PrimaryReplica: this is done in a Mesh", sync.Store)
	case len(sync.Tables) == 0:
		return "sync names no tables"
	case !s.settles(d.Spec.Engine):
		return "the member of a region is of an earlier version: upgrade it"
	}
	return ""
}

// stores tells whether every store that the service names is ready in all of its regions.
func (r reporter) stores() {
	const kind = v1alpha1.ConditionStoresReady
	if r.deleting(kind) {
		return
	}
	names := slices.StoreNames(r.mas.Spec)
	if len(names) == 0 {
		r.set.True(kind, v1alpha1.ReasonNoStores, "no data class is replicated by a store")
		return
	}
	var problems []problem
	acted := false
	for _, name := range names {
		if reason, message := r.seen.storeRefusal(r.mas, name); reason != "" {
			problems = append(problems, no("", reason, message))
			continue
		}
		acted = acted || r.seen.Stores[name].Spec.Management != v1alpha1.StoreExternal
		problems = append(problems, r.endpoints(name)...)
	}
	if acted {
		problems = append(problems, r.oldMembers()...)
		problems = append(problems, r.fromRegions(kind)...)
	}
	r.settle(kind, problems, v1alpha1.ReasonAsDeclared, "every store is ready in every region")
}

// endpoints finds the service's regions in which a store has no server.
func (r reporter) endpoints(name string) []problem {
	var out []problem
	for _, declared := range r.mas.Spec.Regions {
		if slices.StoreEndpointIn(r.seen.Stores[name], declared.Name) == nil {
			out = append(out, no(declared.Name, v1alpha1.ReasonStoreWithoutEndpoint,
				fmt.Sprintf("DataStore %s has no server in the region: ask the platform team to add one to its spec.endpoints", name)))
		}
	}
	return out
}

// oldMembers finds the regions whose members do not act on stores.
func (r reporter) oldMembers() []problem {
	var out []problem
	for _, declared := range r.mas.Spec.Regions {
		if slice := r.seen.region(declared.Name).Slice; slice != nil && withoutStores(slice) {
			out = append(out, no(declared.Name, v1alpha1.ReasonNotSupportedYet, "the region's member knows nothing of stores: upgrade it"))
		}
	}
	return out
}
