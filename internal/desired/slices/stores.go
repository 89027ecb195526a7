package slices

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// StorageReplication returns the class's replication by a DataStore, or nil.
func StorageReplication(c v1alpha1.DataClass) *v1alpha1.StorageReplicationSync {
	for _, s := range c.Sync {
		if s.Method == v1alpha1.SyncStorageReplication {
			return s.StorageReplication
		}
	}
	return nil
}

// StoreNames returns the DataStores that the service names, in the order in which it does.
func StoreNames(spec v1alpha1.MultiActiveServiceSpec) []string {
	var out []string
	for _, c := range spec.DataClasses {
		if s := StorageReplication(c); s != nil && !slices.Contains(out, s.Store) {
			out = append(out, s.Store)
		}
	}
	return out
}

// StoreEndpointIn returns the store's server in a region, or nil.
func StoreEndpointIn(d *v1alpha1.DataStore, region string) *v1alpha1.StoreEndpoint {
	i := slices.IndexFunc(d.Spec.Endpoints, func(e v1alpha1.StoreEndpoint) bool { return e.Region == region })
	if i < 0 {
		return nil
	}
	return &d.Spec.Endpoints[i]
}

// stores are those that the region has a server of. External ones are nobody's business there.
func stores(in Input, region string) []v1alpha1.StoreSlice {
	var out []v1alpha1.StoreSlice
	for _, name := range StoreNames(in.Service.Spec) {
		d := in.Stores[name]
		if d == nil || d.Spec.Management == v1alpha1.StoreExternal || StoreEndpointIn(d, region) == nil {
			continue // conditions say so
		}
		s := v1alpha1.StoreSlice{
			Name: name, StoreID: string(d.UID), Generation: d.Generation, Engine: d.Spec.Engine, Topology: d.Spec.Topology,
			Management:     cmp.Or(d.Spec.Management, v1alpha1.StoreManaged),
			ManageSettings: d.Spec.ManageSettings, ReplicationSecretRef: d.Spec.ReplicationSecretRef,
			Database: d.Spec.Database, Endpoints: d.Spec.Endpoints,
		}
		for _, c := range in.Service.Spec.DataClasses {
			if r := StorageReplication(c); r != nil && r.Store == name {
				normal, outage := Objectives(c)
				s.Classes = append(s.Classes, v1alpha1.StoreClass{
					Name: c.Name, Tables: r.Tables,
					Objective: &metav1.Duration{Duration: normal}, Outage: &metav1.Duration{Duration: outage}, Conflict: c.Conflict,
				})
			}
		}
		out = append(out, s)
	}
	return out
}
