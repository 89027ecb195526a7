package multiactiveservice

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/condition"
)

// owned are the conditions of a MultiActiveService, all of which are always present.
var owned = []string{
	v1alpha1.ConditionReady, v1alpha1.ConditionCoreAvailable, v1alpha1.ConditionDegraded,
	v1alpha1.ConditionWorkloadsAvailable, v1alpha1.ConditionTopicsReady, v1alpha1.ConditionStoresReady, v1alpha1.ConditionReplicationHealthy,
	v1alpha1.ConditionRoutingReady, v1alpha1.ConditionRegionsHealthy, v1alpha1.ConditionDesignSound,
	v1alpha1.ConditionSpecInSync, v1alpha1.ConditionFieldsActedOn, v1alpha1.ConditionPeersAuthenticated,
	v1alpha1.ConditionDNSReady,
}

// reporter fills one service's status.
type reporter struct {
	mas  *v1alpha1.MultiActiveService
	seen Seen
	plan Plan
	set  condition.Set
	now  time.Time
}

// Report fills the service's status from what was seen and decided. observed is false when reading
// failed: then only what is absent is filled in, and Ready tells it.
func Report(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen, plan Plan, observed bool) {
	r := reporter{mas: mas, seen: seen, plan: plan, now: now}
	r.set = condition.Set{List: &mas.Status.Conditions, Generation: mas.Generation, Now: now}
	if !observed {
		r.set.Fill(owned...)
		r.set.Unknown(v1alpha1.ConditionReady, v1alpha1.ReasonNotYetObserved, "reading the service's surroundings failed; see the manager's log")
		return
	}
	mas.Status.ObservedGeneration = mas.Generation
	mas.Status.Rollout = plan.Rollout
	r.regions()
	r.flows()
	r.workloads()
	r.topics()
	r.stores()
	r.dataClasses()
	r.routing()
	r.peersAuthenticated()
	r.declaration()
	r.dns()
	r.lastIncident()
	r.ready()
	r.set.Fill(owned...)
}

// fromRegions collects what the regions' members say of one of their conditions.
func (r reporter) fromRegions(kind string) []problem {
	var out []problem
	for _, declared := range r.mas.Spec.Regions {
		if reason, _ := r.seen.refusal(r.mas, declared.Name); reason != "" {
			continue // RegionsHealthy tells it
		}
		if p, bad := r.fromRegion(declared.Name, kind); bad {
			out = append(out, p)
		}
	}
	return out
}

func (r reporter) fromRegion(name, kind string) (problem, bool) {
	is := func(status metav1.ConditionStatus, reason, message string) (problem, bool) {
		return problem{region: name, status: status, reason: reason, message: message}, true
	}
	at := r.seen.region(name)
	switch {
	case at.Connection == Connecting:
		return is(metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "connecting to the cluster")
	case at.Connection == Unusable:
		return is(metav1.ConditionUnknown, v1alpha1.ReasonRegionUnreachable, "not known, the hub cannot use the cluster")
	case at.StageError != nil:
		return is(metav1.ConditionFalse, at.StageError.Reason, at.StageError.Message)
	case foreign(r.mas, at.Slice):
		return is(metav1.ConditionFalse, v1alpha1.ReasonNotOurs, fmt.Sprintf(
			"the cluster has a RegionalService %s/%s that belongs to another service: delete it there, or rename this one",
			r.mas.Namespace, r.mas.Name))
	case at.Slice == nil && r.seen.Peers != nil && r.seen.Peers.Ballot == 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "being written by the hub in region "+r.seen.Configuration.LeadingRegion()+
			", which leads: if it stays so, the copy there says why")
	case at.Slice == nil:
		return is(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "being written")
	}
	c := meta.FindStatusCondition(at.Slice.Status.Conditions, kind)
	ready := meta.FindStatusCondition(at.Slice.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready != nil && ready.Reason == v1alpha1.ReasonStaleSlice && ready.ObservedGeneration == at.Slice.Generation:
		return is(metav1.ConditionFalse, ready.Reason, ready.Message)
	case c == nil || c.ObservedGeneration != at.Slice.Generation:
		return is(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "waiting for the region's member to act")
	case c.Status != metav1.ConditionTrue:
		return is(c.Status, c.Reason, c.Message)
	}
	return problem{}, false
}

func (r reporter) workloads() {
	if r.deleting(v1alpha1.ConditionWorkloadsAvailable) {
		return
	}
	problems := r.scaling(r.fromRegions(v1alpha1.ConditionWorkloadAvailable))
	if ro := r.plan.Rollout; ro != nil {
		switch ro.State {
		case RolloutStopped:
			problems = append([]problem{no("", v1alpha1.ReasonRolloutStopped, "the rollout has stopped at region "+ro.Region+
				", which did not become available in time: mend it, or change the workload (back)")}, problems...)
		case RolloutFrozen:
			problems = append(problems, no("", v1alpha1.ReasonRolloutFrozen, "the rollout waits before region "+ro.Region+
				" until incident "+r.seen.openIncident(r.mas)+" is closed"))
		}
	}
	r.settle(v1alpha1.ConditionWorkloadsAvailable, problems, v1alpha1.ReasonAsDeclared, "every region's workload is available")
}

func (r reporter) topics() {
	if r.deleting(v1alpha1.ConditionTopicsReady) {
		return
	}
	var problems []problem
	declared := 0
	for _, c := range r.mas.Spec.DataClasses {
		if slices.MessageQueue(c) != nil {
			declared++
		}
	}
	if declared == 0 {
		r.set.True(v1alpha1.ConditionTopicsReady, v1alpha1.ReasonNoTopics, "no data class uses a message queue")
		return
	}
	for _, t := range slices.RefusedTopics(r.mas, r.seen.regions()) {
		taken := "a copy from region " + t.Region
		if t.Region == "" {
			taken = "one of the operator's own"
		}
		problems = append(problems, no("", v1alpha1.ReasonTopicNameRefused, fmt.Sprintf(
			"dataClasses[%s]: topic %s would be taken for %s: run the service in a namespace that is not named like a region, nor multiactive",
			t.DataClass, t.Name, taken)))
	}
	for _, t := range slices.ShortTopics(r.mas) {
		problems = append(problems, no("", v1alpha1.ReasonRetentionShort, fmt.Sprintf(
			"dataClasses[%s]: retention %s is shorter than the objective while a region is lost, %s: what a region misses may be deleted before it is back; raise messageQueue.retention, or lower staleness.outage",
			t.DataClass, t.Retention, t.Outage)))
	}
	for _, t := range slices.SharedTopics(r.mas) {
		problems = append(problems, no("", v1alpha1.ReasonTopicConflict, fmt.Sprintf(
			"dataClasses[%s] and dataClasses[%s] both name topic %s, and only the settings of %s count: give each its own topic, or make them one class",
			t.First, t.Other, t.Name, t.First)))
	}
	for _, declared := range r.mas.Spec.Regions {
		region := r.seen.region(declared.Name).Region
		switch {
		case region == nil:
		case region.Spec.Kafka == nil:
			problems = append(problems, no(declared.Name, v1alpha1.ReasonNoKafka, "the Region has no spec.kafka: ask the platform team to add it"))
		default:
			if p, bad := r.fromRegion(declared.Name, v1alpha1.ConditionTopicsReady); bad {
				problems = append(problems, p)
			}
		}
	}
	r.settle(v1alpha1.ConditionTopicsReady, problems, v1alpha1.ReasonAsDeclared, "every topic is as declared in every region")
}

// routing tells whether the gateways act on what was agreed.
func (r reporter) routing() {
	const kind = v1alpha1.ConditionRoutingReady
	if r.deleting(kind) || r.storeUnknown(kind) {
		return
	}
	record, accepted := r.seen.record(string(r.mas.UID))
	if !accepted {
		r.set.False(kind, v1alpha1.ReasonProgressing,
			"waiting for the regions to have the service, and then for the coordination store's leader to accept it")
		return
	}
	var problems []problem
	if p, pending := r.ownershipChange(record); pending {
		problems = append(problems, p)
	}
	for _, declared := range r.mas.Spec.Regions {
		if p, bad := r.regionRouted(declared.Name); bad {
			problems = append(problems, p)
		}
	}
	r.settle(kind, problems, v1alpha1.ReasonAsDeclared, "every region's gateways act on the agreed view")
}

func (r reporter) regionRouted(name string) (problem, bool) {
	if reason, _ := r.seen.refusal(r.mas, name); reason != "" {
		return problem{}, false
	}
	switch r.seen.Configuration.View.Regions[name].State {
	case ownership.RegionServing, ownership.RegionReturning:
	default:
		return problem{}, false // nobody is routed there
	}
	if p, bad := r.refusedRouting(name); bad {
		return p, true
	}
	if p, bad := r.fromRegion(name, v1alpha1.ConditionGatewayReady); bad {
		return p, true
	}
	slice := r.seen.region(name).Slice
	wanted := slice.Spec.Gateway.Replicas == nil || *slice.Spec.Gateway.Replicas > 0
	if wanted && slice.Status.Epoch < r.seen.Configuration.View.Epoch {
		return no(name, v1alpha1.ReasonGatewaysBehind, "some gateway has not acted on the agreed view yet"), true
	}
	return problem{}, false
}

// refusedRouting repeats what the region's member says of gateways that refuse their routing: such a
// gateway may be ready, and behind, or not become ready.
func (r reporter) refusedRouting(name string) (problem, bool) {
	p, bad := r.fromRegion(name, v1alpha1.ConditionRouted)
	return p, bad && p.reason == v1alpha1.ReasonGatewaysRefuse
}

// storeUnknown sets a condition to Unknown when the agreed view is not known, and reports that.
func (r reporter) storeUnknown(kind string) bool {
	if r.seen.StoreKnown && r.seen.StoreConnected {
		return false
	}
	r.set.Unknown(kind, v1alpha1.ReasonStoreUnreachable, "%s", condition.StoreUnread(r.seen.StoreProblem))
	return true
}

// deleting sets a condition to False while the service is being deleted, and reports that: what the
// regions say of it is not what anybody waits for.
func (r reporter) deleting(kind string) bool {
	if r.mas.DeletionTimestamp.IsZero() {
		return false
	}
	r.set.False(kind, v1alpha1.ReasonDeleting, "the service is being deleted: %s",
		cmp.Or(r.plan.Blocked, "the regions let go of it"))
	return true
}

// ready sums up. What lint would say, fields that are not acted on, records that are not written and sources of a key
// that count for nothing do not keep a service from being ready: their conditions stand beside it.
func (r reporter) ready() {
	if r.deleting(v1alpha1.ConditionReady) {
		return
	}
	if r.notActedOn() {
		return
	}
	var bad, unknown *metav1.Condition
	for _, n := range []struct {
		kind string
		good metav1.ConditionStatus
	}{
		{v1alpha1.ConditionRegionsHealthy, metav1.ConditionTrue},
		{v1alpha1.ConditionCoreAvailable, metav1.ConditionTrue},
		{v1alpha1.ConditionDegraded, metav1.ConditionFalse},
		{v1alpha1.ConditionWorkloadsAvailable, metav1.ConditionTrue},
		{v1alpha1.ConditionTopicsReady, metav1.ConditionTrue},
		{v1alpha1.ConditionStoresReady, metav1.ConditionTrue},
		{v1alpha1.ConditionReplicationHealthy, metav1.ConditionTrue},
		{v1alpha1.ConditionRoutingReady, metav1.ConditionTrue},
	} {
		c := r.set.Get(n.kind)
		switch c.Status {
		case n.good:
		case metav1.ConditionUnknown:
			if unknown == nil {
				unknown = &c
			}
		default:
			if bad == nil {
				bad = &c
			}
		}
	}
	c := r.set.Get(v1alpha1.ConditionDesignSound)
	switch {
	case bad == nil && (c.Reason == v1alpha1.ReasonFlowWithoutHome || c.Reason == v1alpha1.ReasonKeyNeverFound):
		r.set.False(v1alpha1.ConditionReady, c.Reason, "%s: %s", c.Type, c.Message)
	case bad != nil:
		r.set.False(v1alpha1.ConditionReady, bad.Reason, "%s: %s", bad.Type, bad.Message)
	case unknown != nil:
		r.set.Unknown(v1alpha1.ConditionReady, unknown.Reason, "%s: %s", unknown.Type, unknown.Message)
	case r.set.Get(v1alpha1.ConditionFieldsActedOn).Status == metav1.ConditionFalse:
		r.set.True(v1alpha1.ConditionReady, v1alpha1.ReasonAsDeclared, "everything that this version acts on is as declared; FieldsActedOn names the rest")
	default:
		r.set.True(v1alpha1.ConditionReady, v1alpha1.ReasonAsDeclared, "everything is as declared")
	}
}
