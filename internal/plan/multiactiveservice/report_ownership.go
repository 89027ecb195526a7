package multiactiveservice

import (
	stdslices "slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
	"multiactive.dev/operator/internal/plan/order"
)

// ownershipChange reports a declared ownership that is not in force yet.
func (r reporter) ownershipChange(record ownership.ServiceRecord) (problem, bool) {
	if record.SpecHash == slices.Ownership(r.mas).Hash && !r.changesOwners(record) {
		return problem{}, false
	}
	reason := v1alpha1.ReasonOwnershipChangePending
	var waits []string
	for _, o := range r.seen.obstacles(r.mas) {
		if o.blocks {
			reason = v1alpha1.ReasonOwnershipChangeBlocked
		}
		waits = append(waits, o.message)
	}
	const what = "the declared regions, weights, keys, flows or unmatched are not in force yet, the former ones are: "
	waits = append(waits, r.lagging()...)
	if len(waits) == 0 {
		return problem{status: metav1.ConditionFalse, reason: reason, message: what + "owners are about to change"}, true
	}
	return problem{status: metav1.ConditionFalse, reason: reason, message: what + strings.Join(waits, "; ")}, true
}

// changesOwners reports whether the change under way gives the service another ownership spec.
func (r reporter) changesOwners(record ownership.ServiceRecord) bool {
	before, _, closing := r.seen.Configuration.Before(record)
	return closing && before.SpecHash != record.SpecHash
}

// lagging names the regions that would own keys and lack what others have.
func (r reporter) lagging() []string {
	var out []string
	for _, declared := range r.mas.Spec.Regions {
		lagging := r.seen.Configuration.Evidence[declared.Name].Lagging
		if stdslices.Contains(lagging, string(r.mas.UID)) || stdslices.Contains(lagging, ownership.LaggingAll) {
			out = append(out, "region "+declared.Name+" lags behind the others: see ReplicationHealthy")
		}
	}
	return out
}

// inForce returns the ownership in force; the declared one where nobody has it.
func (r reporter) inForce() v1alpha1.OwnershipSlice {
	if kept := r.seen.kept(r.mas); kept != nil {
		return kept.Ownership
	}
	return slices.Ownership(r.mas)
}

// lostRegion says of a lost region what others do about its keys.
func (r reporter) lostRegion(name string, rec ownership.RegionRecord) (reason, message string) {
	incident := ""
	if rec.Incident != "" {
		incident = ". See incident " + rec.Incident
	}
	record, _ := r.seen.record(string(r.mas.UID))
	switch {
	case rec.Gone:
		return v1alpha1.ReasonRegionLost, "the region was declared lost for good: take it out of spec.regions" + incident
	case order.AwaitsApproval(r.seen.Configuration, name, record):
		return v1alpha1.ReasonFailoverAwaited, "the region is lost, and with failover.mode Manual nobody takes over its keys before this is ordered: " +
			order.Command(v1alpha1.OperationApproveFailover, name, r.key()) + incident
	}
	return v1alpha1.ReasonRegionLost, "the region is lost; the others go on without it" + incident
}

// returningRegion says what a region that is back waits for.
func (r reporter) returningRegion(name string) (reason, message string) {
	record, _ := r.seen.record(string(r.mas.UID))
	switch c := r.seen.Configuration; {
	case order.AwaitsHandback(c, name, record):
		return v1alpha1.ReasonHandbackAwaited, "the region serves what any region may, and owns its keys again once this is ordered: " +
			order.Command(v1alpha1.OperationHandback, name, nil)
	case flows.Owns(r.seen.Configuration, record, name):
		return v1alpha1.ReasonRegionReturning, "the region owns its keys of this service again; other services are still to be handed back"
	}
	return v1alpha1.ReasonRegionReturning, "the region is back and takes its keys back once it has been reachable for long enough, has caught up and has a ready replica"
}

// excludedRegion says of a region that serves that it was emptied of this service.
func (r reporter) excludedRegion(name string) (message string, excluded bool) {
	record, _ := r.seen.record(string(r.mas.UID))
	if !stdslices.Contains(record.Excluded, name) {
		return "", false
	}
	return "the region was emptied of this service on purpose; to end that, order: " +
		order.Command(v1alpha1.OperationUndrain, name, r.key()), true
}

func (r reporter) key() *v1alpha1.ServiceKey {
	return &v1alpha1.ServiceKey{Namespace: r.mas.Namespace, Name: r.mas.Name}
}
