// Package datastore reports on a DataStore: values in, values out. This version does not act on
// stores and says so. It must never call a store ready that nobody has looked at.
package datastore

import (
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/condition"
)

// Report fills the status in.
func Report(now time.Time, d *v1alpha1.DataStore) {
	d.Status.ObservedGeneration = d.Generation
	set := condition.Set{List: &d.Status.Conditions, Generation: d.Generation, Now: now}
	set.False(v1alpha1.ConditionReady, v1alpha1.ReasonNotSupportedYet, "%s", message(d.Spec))
}

func message(spec v1alpha1.DataStoreSpec) string {
	const idle = "this version does not act on stores: it does not connect to this one, and does not replicate, watch or fence it. "
	switch spec.Management {
	case v1alpha1.StoreExternal:
		return idle + "The store goes on by itself, as management External says"
	case v1alpha1.StoreObserved:
		return idle + "The replication that exists goes on; watch it by its own means"
	case v1alpha1.StoreManaged:
	}
	return idle + "Set " + string(spec.Engine) + "'s replication up and watch it by its own means, or carry create-only data by sync method MessageQueue"
}
