package region

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/condition"
	"multiactive.dev/operator/internal/plan/order"
)

var owned = []string{
	v1alpha1.ConditionReady, v1alpha1.ConditionClusterReachable,
	v1alpha1.ConditionServing, v1alpha1.ConditionLeaseHeld,
}

// Report fills the region's status from what was seen and decided. observed is false when reading
// failed: then only what is absent is filled in, and Ready tells it.
func Report(now time.Time, rg *v1alpha1.Region, seen Seen, plan Plan, observed bool) {
	set := condition.Set{List: &rg.Status.Conditions, Generation: rg.Generation, Now: now}
	if !observed {
		set.Fill(owned...)
		set.Unknown(v1alpha1.ConditionReady, v1alpha1.ReasonNotYetObserved, "reading the region's surroundings failed; see the manager's log")
		return
	}
	rg.Status.ObservedGeneration = rg.Generation
	reportCluster(set, rg, seen)
	reportView(now, set, rg, seen)
	reportLease(set, rg, seen)
	rg.Status.ObserversSummary = observers(rg.Name, seen)
	if outage := lastOutage(rg.Name, seen); outage != nil {
		rg.Status.LastOutage = outage
	}
	reportCopies(set, seen)
	reportReady(set, rg, seen, plan)
	set.Fill(owned...)
}

func reportCluster(set condition.Set, rg *v1alpha1.Region, seen Seen) {
	const kind = v1alpha1.ConditionClusterReachable
	switch c := seen.Cluster; {
	case rg.Spec.Cluster == nil:
		set.Unknown(kind, v1alpha1.ReasonNoCluster, "the region has no cluster")
	case c.Reason == "":
		set.Unknown(kind, v1alpha1.ReasonProgressing, "connecting")
	case c.Reason == v1alpha1.ReasonConnected:
		set.True(kind, c.Reason, "the API server answers")
	default:
		set.False(kind, c.Reason, "%s", c.Message)
	}
}

// storeUnknown sets a condition to Unknown while the agreed view is not known, and reports that.
func storeUnknown(set condition.Set, kind string, seen Seen) bool {
	if seen.StoreKnown && seen.StoreConnected {
		return false
	}
	set.Unknown(kind, v1alpha1.ReasonStoreUnreachable, "%s", condition.StoreUnread(seen.StoreProblem))
	return true
}

func reportView(now time.Time, set condition.Set, rg *v1alpha1.Region, seen Seen) {
	const kind = v1alpha1.ConditionServing
	rec, known := seen.Configuration.View.Regions[rg.Name]
	if storeUnknown(set, kind, seen) {
		state(rg, v1alpha1.RegionUnknown, now)
		return
	}
	why := held(rg.Name, seen)
	if !known {
		state(rg, v1alpha1.RegionUnknown, now)
		set.Unknown(kind, v1alpha1.ReasonRegionUnknown, "not in the agreed view yet: it appears once the region's member runs and beats%s", why)
		return
	}
	if drill := order.Drill(rec); drill != "" {
		phase := v1alpha1.RegionReturning
		if rec.State == ownership.RegionDrained {
			phase = v1alpha1.RegionDrained
		}
		state(rg, phase, rec.Since)
		set.False(kind, v1alpha1.ReasonRegionInDrill, "%s%s", drill, why)
		return
	}
	switch rec.State {
	case ownership.RegionServing:
		if rec.Suspect {
			state(rg, v1alpha1.RegionSuspect, rec.Since)
			set.True(kind, v1alpha1.ReasonRegionSuspect, "the region serves; some observers cannot reach it%s", why)
			return
		}
		state(rg, v1alpha1.RegionUp, rec.Since)
		set.True(kind, v1alpha1.ReasonRegionServing, "the region serves%s", why)
	case ownership.RegionLost:
		state(rg, v1alpha1.RegionDown, rec.Since)
		set.False(kind, v1alpha1.ReasonRegionLost, "the region is lost; the others go on without it. See incident %s%s", rec.Incident, why)
	case ownership.RegionReturning:
		state(rg, v1alpha1.RegionReturning, rec.Since)
		if names := order.Services(seen.Configuration, rg.Name, order.AwaitsHandback); len(names) > 0 {
			set.False(kind, v1alpha1.ReasonHandbackAwaited, "the region is back and serves what any region may; the keys of %s go back to it once this "+
				"is ordered: %s%s", order.List(names), order.Command(v1alpha1.OperationHandback, rg.Name, nil), why)
			return
		}
		set.False(kind, v1alpha1.ReasonRegionReturning, "the region is back and serves again once it has been reachable for a while%s", why)
	case ownership.RegionDrained:
		state(rg, v1alpha1.RegionDrained, rec.Since)
		set.False(kind, v1alpha1.ReasonRegionDrained, "the region was emptied on purpose; to end that, order: %s%s",
			order.Command(v1alpha1.OperationUndrain, rg.Name, nil), why)
	}
}

// state sets the state; its time moves only with it.
func state(rg *v1alpha1.Region, to v1alpha1.RegionPhase, since time.Time) {
	if rg.Status.State == to && rg.Status.StateSince != nil {
		return
	}
	at := metav1.NewTime(since.UTC().Truncate(time.Second))
	rg.Status.State, rg.Status.StateSince = to, &at
}

func reportLease(set condition.Set, rg *v1alpha1.Region, seen Seen) {
	const kind = v1alpha1.ConditionLeaseHeld
	if storeUnknown(set, kind, seen) {
		return
	}
	rg.Status.Coordination = &v1alpha1.RegionCoordination{Agent: "Never", Leads: v1alpha1.ChoiceNo, Epoch: seen.Configuration.View.Epoch}
	if seen.Configuration.LeadingRegion() == rg.Name {
		rg.Status.Coordination.Leads = v1alpha1.ChoiceYes
	}
	_, beaten := seen.Configuration.Beats[rg.Name]
	switch {
	case !beaten:
		set.False(kind, v1alpha1.ReasonAgentNeverSeen, "the region's agent has never beaten: install the member there, and give it every endpoint of the coordination store")
	case !seen.Configuration.Gates[rg.Name].Open:
		rg.Status.Coordination.Agent = "Silent"
		set.False(kind, v1alpha1.ReasonAgentSilent, "the region's gate is closed: it holds no lease until its agent asks again and the leader opens it%s", storeBroken(seen))
	case !seen.Beating[rg.Name]:
		rg.Status.Coordination.Agent = "Silent"
		set.False(kind, v1alpha1.ReasonAgentSilent, "the region's agent does not beat: see its member's log and its way to the coordination store%s", storeBroken(seen))
	default:
		rg.Status.Coordination.Agent = "Active"
		set.True(kind, v1alpha1.ReasonAgentBeating, "the region's agent beats")
	}
}

// storeBroken says what is known to keep the store from serving, for the end of a message.
func storeBroken(seen Seen) string {
	if seen.StoreProblem == "" {
		return ""
	}
	return ". The coordination store: " + seen.StoreProblem
}

// observers returns how many of the other regions' beating agents have no complaint about the
// region. While no agent of it has beaten there is nothing to complain about, which says nothing.
func observers(name string, seen Seen) string {
	if !seen.StoreKnown || !seen.StoreConnected {
		return ""
	}
	if _, beaten := seen.Configuration.Beats[name]; !beaten {
		return ""
	}
	all, reach := 0, 0
	for other := range seen.Configuration.RegionIntents {
		if other == name || !seen.Beating[other] {
			continue
		}
		all++
		e := seen.Configuration.Evidence[other]
		if !slices.Contains(e.Unreachable, name) && !slices.Contains(e.Failing, name) {
			reach++
		}
	}
	return fmt.Sprintf("%d/%d", reach, all)
}

func lastOutage(name string, seen Seen) *v1alpha1.RegionOutage {
	var newest *ownership.Incident
	for _, i := range seen.Configuration.Incidents {
		if i.Region == name && len(i.Timeline) > 0 &&
			(newest == nil || i.Timeline[0].At.After(newest.Timeline[0].At)) {
			newest = &i
		}
	}
	if newest == nil {
		return nil
	}
	out := &v1alpha1.RegionOutage{Incident: newest.Name}
	for _, step := range newest.Timeline {
		at := metav1.NewTime(step.At.UTC().Truncate(time.Second))
		switch step.Step {
		case ownership.StepSuspected:
			out.StartedAt = &at
		case ownership.StepServing, ownership.StepFalseAlarm:
			out.EndedAt = &at
		}
	}
	return out
}

// reportCopies tells in peer mode whether the copies of the Region agree.
func reportCopies(set condition.Set, seen Seen) {
	if seen.Peers != nil {
		report := seen.Peers.Verdict.Report()
		set.Put(v1alpha1.ConditionSpecInSync, report.Status, report.Reason, report.Message)
	}
}

func reportReady(set condition.Set, rg *v1alpha1.Region, seen Seen, plan Plan) {
	if !rg.DeletionTimestamp.IsZero() {
		message := plan.Blocked
		if message == "" {
			message = "letting go of the region"
		}
		set.False(v1alpha1.ConditionReady, v1alpha1.ReasonDeleting, "%s", message)
		return
	}
	if reportRival(set, rg, seen) {
		return
	}
	if seen.Contested {
		set.False(v1alpha1.ConditionReady, v1alpha1.ReasonHubContested, "something else proposes another role or other probes for this region "+
			"to the coordination store: a second hub? Run one, or give each its own --coordination-prefix")
		return
	}
	if p := seen.Peers; p != nil && !p.Verdict.ActedOn(p.Region) {
		c := set.Get(v1alpha1.ConditionSpecInSync)
		set.False(v1alpha1.ConditionReady, c.Reason, "%s: %s", c.Type, c.Message)
		return
	}
	kinds := []string{v1alpha1.ConditionClusterReachable, v1alpha1.ConditionServing, v1alpha1.ConditionLeaseHeld}
	if rg.Spec.Cluster == nil {
		kinds = kinds[1:]
	}
	for _, wanted := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, kind := range kinds {
			if c := set.Get(kind); c.Status == wanted {
				set.Put(v1alpha1.ConditionReady, wanted, c.Reason, c.Type+": "+c.Message)
				return
			}
		}
	}
	set.True(v1alpha1.ConditionReady, v1alpha1.ReasonAsDeclared, "the region is reachable and serves")
}

// reportRival says in Ready that a second process would act for the region, and reports that.
func reportRival(set condition.Set, rg *v1alpha1.Region, seen Seen) bool {
	rival, there := seen.Configuration.Rivals[rg.Name]
	if !there || !seen.StoreKnown || !seen.StoreConnected {
		return false
	}
	where := "the same cluster"
	if rival.Place != seen.Configuration.Agents[rg.Name].Place {
		where = "another cluster"
	}
	set.False(v1alpha1.ConditionReady, v1alpha1.ReasonAgentContested, "a second member runs with --region=%s, in %s (%s): it does nothing while the first beats, "+
		"and its gateways accept no home write. Give it another --region, or stop it", rg.Name, where, rival.Process)
	return true
}
