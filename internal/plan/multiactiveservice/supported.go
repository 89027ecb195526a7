package multiactiveservice

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/plan/copies"
)

// declaration reports what of the declaration is not acted on, and what cannot be.
func (r reporter) declaration() {
	r.specInSync()
	fields := append(NotActedOn(r.mas.Spec), unknownEndpoints(r.mas.Spec, r.seen.Regions)...)
	for _, c := range r.mas.Spec.DataClasses {
		if why := r.seen.conflictNotActedOn(c); why != "" {
			fields = append(fields, fmt.Sprintf("dataClasses[%s].conflict (%s)", c.Name, why))
		}
	}
	if len(fields) > 0 {
		r.set.False(v1alpha1.ConditionFieldsActedOn, v1alpha1.ReasonNotSupportedYet,
			"this version does not act on: %s", strings.Join(fields, "; "))
	} else {
		r.set.True(v1alpha1.ConditionFieldsActedOn, v1alpha1.ReasonAsDeclared, "every declared field is acted on")
	}
	flaws := design(r.mas.Spec)
	if len(flaws) == 0 {
		r.linted()
		return
	}
	messages := make([]string, len(flaws))
	for i, f := range flaws {
		messages[i] = f.message
	}
	r.set.False(v1alpha1.ConditionDesignSound, flaws[0].reason, "%s", strings.Join(messages, "; "))
}

// specInSync tells whether the copies of the declaration agree.
func (r reporter) specInSync() {
	const kind = v1alpha1.ConditionSpecInSync
	switch p := r.seen.Peers; {
	case p == nil:
		r.set.True(kind, v1alpha1.ReasonSingleCopy, "the hub has the only copy")
	case p.Verdict.Outcome == copies.Agreed && len(p.Unsettled) > 0:
		r.set.False(kind, v1alpha1.ReasonNoMajority, "%s", p.frozen())
	default:
		report := p.Verdict.Report()
		r.set.Put(kind, report.Status, report.Reason, report.Message)
	}
}

// notActedOn sets Ready to False when this cluster's copy is not what is acted on, and reports that.
func (r reporter) notActedOn() bool {
	p := r.seen.Peers
	if p == nil || p.frozen() == "" && p.Verdict.ActedOn(p.Region) {
		return false
	}
	c := r.set.Get(v1alpha1.ConditionSpecInSync)
	r.set.False(v1alpha1.ConditionReady, c.Reason, "%s: %s", c.Type, c.Message)
	return true
}

// NotActedOn names the declared fields that this version does not act on, and what it does instead.
func NotActedOn(spec v1alpha1.MultiActiveServiceSpec) []string {
	out := keysNotActedOn(spec)
	for _, r := range spec.Regions {
		if spec.Workload.Autoscaling != nil && r.Overrides != nil && r.Overrides.Replicas != nil {
			out = append(out, fmt.Sprintf("regions[%s].overrides.replicas (workload.autoscaling chooses them)", r.Name))
		}
	}
	for _, c := range spec.DataClasses {
		out = append(out, classNotActedOn(spec, c)...)
	}
	if spec.Failover != nil && spec.Failover.Survivors == v1alpha1.SurvivorsScale && spec.Workload.Replicas == nil && spec.Workload.Autoscaling == nil {
		out = append(out, "failover.survivors Scale (neither workload.replicas nor workload.autoscaling is declared)")
	}
	return out
}

func keysNotActedOn(spec v1alpha1.MultiActiveServiceSpec) []string {
	if spec.Partition == nil || desired.Stamped(desired.Sessions(spec)) {
		return nil
	}
	var out []string
	for _, k := range spec.Partition.Keys {
		for _, from := range k.From {
			if from.Type == v1alpha1.KeySourceSession {
				out = append(out, fmt.Sprintf("partition.keys[%s].from Session (no data class has sync OriginRead, which says where the token is, and has its tokens stamped: those without originClaim are)", k.Name))
			}
		}
	}
	return out
}

// unknownEndpoints names the endpoints that flows have outcomes told to and regions of the service do not have.
func unknownEndpoints(spec v1alpha1.MultiActiveServiceSpec, regions map[string]*RegionSeen) []string {
	var out []string
	for _, f := range spec.Flows {
		if f.OnHomeLoss == nil || f.OnHomeLoss.Defer == nil || f.OnHomeLoss.Defer.Notify == nil {
			continue
		}
		endpoint := f.OnHomeLoss.Defer.Notify.EndpointRef
		var without []string
		for _, r := range spec.Regions {
			seen := regions[r.Name]
			known := func(e v1alpha1.NotifyEndpoint) bool { return e.Name == endpoint }
			if seen != nil && seen.Region != nil && !slices.ContainsFunc(seen.Region.Spec.NotifyEndpoints, known) {
				without = append(without, r.Name)
			}
		}
		if len(without) > 0 {
			out = append(out, fmt.Sprintf("flows[%s].onHomeLoss.defer.notify.endpointRef %s (nobody is told what comes of requests that are accepted in: %s; "+
				"add it to spec.notifyEndpoints of these Regions)", f.Name, endpoint, strings.Join(without, ", ")))
		}
	}
	return out
}

func classNotActedOn(spec v1alpha1.MultiActiveServiceSpec, c v1alpha1.DataClass) []string {
	var out []string
	for _, s := range c.Sync {
		name := fmt.Sprintf("dataClasses[%s].sync %s", c.Name, s.Method)
		switch s.Method {
		case v1alpha1.SyncMessageQueue, v1alpha1.SyncStorageReplication:
		case v1alpha1.SyncSecondRead:
			if why := secondReadNotActedOn(spec, c); why != "" {
				out = append(out, name+" ("+why+")")
			}
		case v1alpha1.SyncOriginRead:
			if why := originReadNotActedOn(spec, c); why != "" {
				out = append(out, name+" ("+why+")")
			}
		case v1alpha1.SyncRegenerate:
			if desired.Sync(c, v1alpha1.SyncOriginRead) == nil {
				out = append(out, name+" (without OriginRead, which says where the token is)")
			}
		}
	}
	return out
}

// secondReadNotActedOn names the flows that read a class and do not ask its home after a miss.
func secondReadNotActedOn(spec v1alpha1.MultiActiveServiceSpec, c v1alpha1.DataClass) string {
	if !slices.ContainsFunc(spec.Flows, func(f v1alpha1.Flow) bool { return desired.SecondReads(spec, f, c) }) {
		return "no flow with servedBy AnyRegion reads it by the key of its home"
	}
	var elsewhere []string
	for _, f := range spec.Flows {
		if desired.ReadElsewhere(spec, f, c) {
			elsewhere = append(elsewhere, f.Name)
		}
	}
	if len(elsewhere) == 0 {
		return ""
	}
	return "a miss does not ask its home in flows that have no key of it, or also read a class with another home: " + strings.Join(elsewhere, ", ")
}

func originReadNotActedOn(spec v1alpha1.MultiActiveServiceSpec, c v1alpha1.DataClass) string {
	if !slices.ContainsFunc(desired.Sessions(spec), func(s v1alpha1.SessionSlice) bool { return s.DataClass == c.Name }) {
		return "another class has its token in the same place"
	}
	if desired.Sync(c, v1alpha1.SyncOriginRead).OriginRead.Type != v1alpha1.OriginForwardRequest {
		return ""
	}
	var home []string
	for _, f := range spec.Flows {
		if f.ServedBy == v1alpha1.ServedByHomeRegion && slices.Contains(f.Reads, c.Name) {
			home = append(home, f.Name)
		}
	}
	if len(home) == 0 {
		return ""
	}
	return "ForwardRequest is not for flows with servedBy HomeRegion, use FetchSession: " + strings.Join(home, ", ")
}
