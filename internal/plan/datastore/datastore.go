// Package datastore reports on a DataStore in the hub, from what the regions' members say of their
// servers: values in, values out. It must never call a store ready that nobody has looked at.
package datastore

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/condition"
)

// Finalizer keeps a store that services use: their regions would take its links down.
const Finalizer = "multiactive.dev/hub"

// Seen is what was read for one pass.
type Seen struct {
	// UsedBy are the services that name the store, as namespace/name, sorted.
	UsedBy []string
	// Regions in which services use the store, as their members see it. Ready is Unknown where nobody says anything.
	Regions []v1alpha1.StoreRegionStatus
}

// Step is what is due of the finalizer.
type Step string

// The steps.
const (
	StepNone            Step = ""
	StepAddFinalizer    Step = "AddFinalizer"
	StepRemoveFinalizer Step = "RemoveFinalizer"
)

// Decide keeps a store for as long as a service names it.
func Decide(d *v1alpha1.DataStore, seen Seen) Step {
	kept := slices.Contains(d.Finalizers, Finalizer)
	switch {
	case d.DeletionTimestamp.IsZero() && !kept:
		return StepAddFinalizer
	case !d.DeletionTimestamp.IsZero() && kept && len(seen.UsedBy) == 0:
		return StepRemoveFinalizer
	}
	return StepNone
}

// listed bounds how many services a message names.
const listed = 5

// Add takes what one service's member in a region says of the store. Services that share a store are told alike, but
// for one whose slice is just being written: the worst counts.
func (s *Seen) Add(status v1alpha1.StoreRegionStatus) {
	i := slices.IndexFunc(s.Regions, func(r v1alpha1.StoreRegionStatus) bool { return r.Region == status.Region })
	switch {
	case i < 0:
		s.Regions = append(s.Regions, status)
	case rank(status.Ready) < rank(s.Regions[i].Ready):
		s.Regions[i] = status
	}
}

func rank(ready metav1.ConditionStatus) int {
	switch ready {
	case metav1.ConditionFalse:
		return 0
	case metav1.ConditionUnknown:
		return 1
	case metav1.ConditionTrue:
	}
	return 2
}

// Report fills the status in.
func Report(now time.Time, d *v1alpha1.DataStore, seen Seen) {
	d.Status.ObservedGeneration = d.Generation
	set := condition.Set{List: &d.Status.Conditions, Generation: d.Generation, Now: now}
	order := func(region string) int {
		return slices.IndexFunc(d.Spec.Endpoints, func(e v1alpha1.StoreEndpoint) bool { return e.Region == region })
	}
	slices.SortFunc(seen.Regions, func(a, b v1alpha1.StoreRegionStatus) int {
		return cmp.Or(cmp.Compare(order(a.Region), order(b.Region)), strings.Compare(a.Region, b.Region))
	})
	d.Status.Regions, d.Status.RegionsReady = seen.Regions, ""
	if len(seen.Regions) > 0 {
		ready := 0
		for _, r := range seen.Regions {
			if r.Ready == metav1.ConditionTrue {
				ready++
			}
		}
		d.Status.RegionsReady = fmt.Sprintf("%d/%d", ready, len(seen.Regions))
	}
	const kind = v1alpha1.ConditionReady
	if !d.DeletionTimestamp.IsZero() {
		names := seen.UsedBy
		if len(names) > listed {
			names = append(slices.Clone(names[:listed]), "and others")
		}
		set.False(kind, v1alpha1.ReasonDeleting, "the store is deleted once no service names it: take it out of dataClasses.sync of %s", strings.Join(names, ", "))
		return
	}
	if d.Spec.Management == v1alpha1.StoreExternal {
		d.Status.Regions, d.Status.RegionsReady = nil, ""
		set.True(kind, v1alpha1.ReasonExternal, "%s", "the store is consistent by itself, as management External says: the operator neither connects to it nor replicates it")
		return
	}
	if len(seen.Regions) == 0 {
		set.Unknown(kind, v1alpha1.ReasonNotUsed, "%s", "no data class of a service names the store (dataClasses.sync StorageReplication), so no region looks at it")
		return
	}
	worst := slices.MinFunc(seen.Regions, func(a, b v1alpha1.StoreRegionStatus) int { return rank(a.Ready) - rank(b.Ready) })
	if worst.Ready == metav1.ConditionTrue {
		set.True(kind, v1alpha1.ReasonAsDeclared, "%s", "every region's server is ready")
		return
	}
	var texts []string
	for _, r := range seen.Regions {
		if r.Ready != metav1.ConditionTrue {
			texts = append(texts, r.Region+": "+r.Message)
		}
	}
	set.Put(kind, worst.Ready, cmp.Or(worst.Reason, v1alpha1.ReasonNotYetObserved), strings.Join(texts, "; "))
}
