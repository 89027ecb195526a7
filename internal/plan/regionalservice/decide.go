package regionalservice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
)

// How soon to look again at what nothing announces.
const (
	recheckRouting = time.Second
	recheckProblem = 30 * time.Second
	recheckLag     = 15 * time.Second
)

// wanted is an object that should be there. One that is not to be written now (held) is neither
// written nor removed.
type wanted struct {
	object    regional.Object
	as        string
	condition string
	held      bool
}

// Decide compares the slice with what was seen.
func Decide(rs *v1alpha1.RegionalService, seen Seen, o regional.Options) (Plan, error) {
	if rs.DeletionTimestamp != nil {
		return remove(rs, seen), nil
	}
	if regional.Stale(rs) {
		return Plan{RecheckAfter: recheckProblem}, nil // what runs goes on as it is
	}
	var p Plan
	if !regional.Acted(rs) {
		p.Steps = append(p.Steps, Step{Kind: StepRecordStamp, Reason: "before anything of the slice is acted on"})
	}
	if !slices.Contains(rs.Finalizers, Finalizer) {
		p.Steps = append(p.Steps, Step{Kind: StepAddFinalizer, Reason: "before anything is made"})
	}
	if seen.HasConfiguration {
		p.Flows = regional.FlowStates(&rs.Spec, seen.Configuration)
	}
	p.Steps = append(p.Steps, Step{Kind: StepTopics, Condition: v1alpha1.ConditionTopicsReady})
	list := p.workload(rs, seen)
	list = append(list, p.additional(rs, seen)...)
	list = append(list, p.gateway(rs, seen.Quiet, o)...)
	if err := p.apply(list, seen); err != nil {
		return p, err
	}
	p.prune(list, seen)
	p.publish(rs, seen)
	p.recheck(rs, seen)
	return p, nil
}

// remove takes down what was made, the routing first. The member removes what it made by its own
// rights: an account that is gone or has lost its roles must not keep a service from going.
func remove(rs *v1alpha1.RegionalService, seen Seen) Plan {
	p := Plan{Steps: []Step{{Kind: StepWithdraw, Reason: "the service is being deleted"}}}
	topics := Doomed(rs)
	switch {
	case len(topics) == 0:
		p.Steps = append(p.Steps, Step{Kind: StepForgetTopics})
	case len(seen.Receiving) == 0 && len(seen.Owned) == 0:
		// No consumer and no mirror is left that would make them again.
		p.Steps = append(p.Steps, Step{Kind: StepDeleteTopics, Condition: v1alpha1.ConditionTopicsReady})
	default:
		p.Steps = append(p.Steps, Step{Kind: StepForgetTopics})
		p.RecheckAfter = recheckRouting
	}
	for _, obj := range seen.Owned {
		if obj.GetDeletionTimestamp() == nil {
			p.Steps = append(p.Steps, Step{Kind: StepDelete, Object: obj, Condition: v1alpha1.ConditionReady, Reason: "the service is being deleted"})
		}
	}
	gone := len(topics) == 0 || len(seen.Receiving) == 0 && seen.Topics.Deleted
	if len(seen.Owned) == 0 && gone && slices.Contains(rs.Finalizers, Finalizer) {
		p.Steps = append(p.Steps, Step{Kind: StepRemoveFinalizer, Reason: "nothing is left"})
	}
	return p
}

func (p *Plan) workload(rs *v1alpha1.RegionalService, seen Seen) []wanted {
	w := &rs.Spec.Workload
	const condition = v1alpha1.ConditionWorkloadAvailable
	switch w.Type {
	case v1alpha1.WorkloadManaged:
		if w.Template == nil || w.Port == 0 || w.ServiceAccountName == "" {
			p.problem(v1alpha1.ReasonInvalidObject, "a Managed workload needs template, port and serviceAccountName; declare them in the MultiActiveService")
			return managed(rs, seen, true)
		}
		// How many replicas a survivor has is not known before the regions' agreement is.
		return managed(rs, seen, regional.Scales(w) && (!seen.HasConfiguration || seen.Quiet))
	case v1alpha1.WorkloadDeploymentRef:
		if w.DeploymentRef == nil || w.Port == 0 {
			p.problem(v1alpha1.ReasonInvalidObject, "a DeploymentRef workload needs deploymentRef and port; declare them in the MultiActiveService")
			return []wanted{{object: regional.Service(rs, nil), held: true}}
		}
		if seen.Deployment == nil {
			p.problem(v1alpha1.ReasonNotFound, fmt.Sprintf("there is no Deployment %s in namespace %s; deploy it, or name another in workload.deploymentRef", w.DeploymentRef.Name, rs.Namespace))
			return []wanted{{object: regional.Service(rs, nil), held: true}}
		}
		selector := seen.Deployment.Spec.Selector.MatchLabels
		if len(seen.Deployment.Spec.Selector.MatchExpressions) > 0 {
			selector = seen.Deployment.Spec.Template.Labels // a Service knows no expressions
		}
		return []wanted{{object: regional.Service(rs, maps.Clone(selector)), condition: condition}}
	case v1alpha1.WorkloadServiceRef:
		if w.ServiceRef != nil && seen.Service == nil {
			p.problem(v1alpha1.ReasonNotFound, fmt.Sprintf("there is no Service %s in namespace %s; create it, or name another in workload.serviceRef", w.ServiceRef.Name, rs.Namespace))
		}
	}
	return nil
}

// managed are the objects of a Managed workload. Those of a declaration that cannot be acted on are
// held: what runs goes on.
func managed(rs *v1alpha1.RegionalService, seen Seen, held bool) []wanted {
	const condition = v1alpha1.ConditionWorkloadAvailable
	d, n := regional.Workload(rs), regional.Replicas(&rs.Spec, seen.Configuration)
	var list []wanted
	if rs.Spec.Workload.Autoscaling == nil {
		d.Spec.Replicas = n
	} else {
		list = append(list, wanted{object: regional.Autoscaler(rs, *n), condition: condition, held: held})
	}
	return append(list, []wanted{
		{object: d, as: rs.Spec.Workload.ServiceAccountName, condition: condition, held: held},
		{object: regional.Service(rs, nil), condition: condition, held: held},
		{object: regional.Budget(rs, rs.Name, regional.ComponentApplication), condition: condition, held: held},
		{object: regional.ApplicationPolicy(rs), condition: condition, held: held},
	}...)
}

func (p *Plan) additional(rs *v1alpha1.RegionalService, seen Seen) []wanted {
	const condition = v1alpha1.ConditionWorkloadAvailable
	var list []wanted
	for i := range rs.Spec.Workload.Additional {
		a := &rs.Spec.Workload.Additional[i]
		switch {
		case regional.ReservedAdditionalName(a.Name):
			p.problem(v1alpha1.ReasonInvalidObject, fmt.Sprintf("additional workload %q: the name is taken by an object of the service's own; choose another", a.Name))
			continue
		case rs.Spec.Workload.ServiceAccountName == "":
			p.problem(v1alpha1.ReasonInvalidObject, fmt.Sprintf("additional workload %q: it is written as workload.serviceAccountName, and none is declared", a.Name))
			list = append(list, wanted{object: regional.Additional(rs, a, true), held: true})
			continue
		}
		ownerOnly := a.Activation == v1alpha1.ActivationOwnerOnly
		runs := !ownerOnly || ownerRegion(rs, seen)
		list = append(list, wanted{
			object: regional.Additional(rs, a, runs),
			as:     rs.Spec.Workload.ServiceAccountName, condition: condition,
			// What is to stop stops at once: others may wait for it (R8).
			held: ownerOnly && (!seen.HasConfiguration || !seen.LeaseSettled || runs && seen.Quiet),
		})
	}
	return list
}

// ownerRegion reports whether OwnerOnly workloads run here now: the configuration must let them, and the
// region must hold its lease.
func ownerRegion(rs *v1alpha1.RegionalService, seen Seen) bool {
	return seen.LeaseHeld && OwnerOnlyRuns(rs, seen.Configuration)
}

// OwnerOnlyRuns reports whether the configuration lets the service's OwnerOnly workloads run in its
// region.
func OwnerOnlyRuns(rs *v1alpha1.RegionalService, c ownership.Configuration) bool {
	return regional.MayRunOwnerOnly(&rs.Spec, rs.Spec.Region, c)
}

func (p *Plan) gateway(rs *v1alpha1.RegionalService, quiet bool, o regional.Options) []wanted {
	const condition = v1alpha1.ConditionGatewayReady
	list := []wanted{
		{object: regional.GatewayDeployment(rs, o), condition: condition},
		{object: regional.GatewayService(rs), condition: condition},
	}
	if regional.GatewayReplicas(rs) > 1 { // of one Pod a budget would hold back none, but one that is broken
		list = append(list, wanted{object: regional.Budget(rs, regional.GatewayName(rs.Name), regional.ComponentGateway), condition: condition})
	}
	list = append(list, wanted{object: regional.GatewayPolicy(rs), condition: condition})
	return append(list, wanted{object: regional.Flags(rs, p.Flows), condition: condition, held: p.Flows == nil || quiet})
}

// apply plans the writes that would change something.
func (p *Plan) apply(list []wanted, seen Seen) error {
	for _, w := range list {
		if w.held {
			continue
		}
		if err := regional.Stamp(w.object); err != nil {
			return err
		}
		reason := "it is missing"
		if live := find(seen.Owned, w.object); live != nil {
			same, err := regional.UpToDate(w.object, live)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			reason = "it is not as declared"
		}
		p.Steps = append(p.Steps, Step{Kind: StepApply, Object: w.object, As: w.as, Condition: w.condition, Reason: reason})
	}
	return nil
}

// prune removes what was made for an earlier declaration.
func (p *Plan) prune(list []wanted, seen Seen) {
	for _, obj := range seen.Owned {
		needed := slices.ContainsFunc(list, func(w wanted) bool { return identity(w.object) == identity(obj) })
		if !needed && obj.GetDeletionTimestamp() == nil {
			p.Steps = append(p.Steps, Step{Kind: StepDelete, Object: obj, Condition: v1alpha1.ConditionWorkloadAvailable, Reason: "it is not declared any more"})
		}
	}
}

// publish plans the routing as soon as the application's address is known. Without one, gateways
// keep what they have.
func (p *Plan) publish(rs *v1alpha1.RegionalService, seen Seen) {
	svc, port := seen.Service, int32(0)
	if rs.Spec.Workload.Type == v1alpha1.WorkloadServiceRef {
		if rs.Spec.Workload.ServiceRef != nil && rs.Spec.Workload.ServiceRef.Port != 0 {
			port = rs.Spec.Workload.ServiceRef.Port
		}
	} else {
		svc, _ = find(seen.Owned, regional.Service(rs, nil)).(*corev1.Service)
	}
	if svc == nil {
		return
	}
	upstream, err := upstreamURL(svc, port)
	if err != nil {
		p.problem(v1alpha1.ReasonInvalidObject, err.Error())
		return
	}
	if upstream != "" {
		p.Upstream = upstream
		p.Steps = append(p.Steps, Step{Kind: StepPublish, Upstream: upstream, Condition: v1alpha1.ConditionRouted})
	}
}

// upstreamURL returns the base URL of a Service; port 0 means its only one. It is empty while the
// Service has no address.
func upstreamURL(svc *corev1.Service, port int32) (string, error) {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return "", fmt.Errorf("Service %s is of type ExternalName: gateways dial Services of the cluster alone; name one with a selector in workload.serviceRef", svc.Name) //nolint:staticcheck // begins with a kind
	}
	if port == 0 {
		if len(svc.Spec.Ports) != 1 {
			return "", fmt.Errorf("Service %s has several ports; name one in workload.serviceRef.port", svc.Name) //nolint:staticcheck // begins with a kind
		}
		port = svc.Spec.Ports[0].Port
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if i < 0 {
		return "", fmt.Errorf("Service %s has no port %d; name one of its ports in workload.serviceRef.port", svc.Name, port) //nolint:staticcheck // begins with a kind
	}
	host := svc.Spec.ClusterIP
	switch {
	case host == corev1.ClusterIPNone:
		// Its name leads to the Pods themselves, where the Service's port means nothing.
		host = svc.Name + "." + svc.Namespace + ".svc"
		port = cmp.Or(svc.Spec.Ports[i].TargetPort.IntVal, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	case host == "":
		return "", nil
	}
	return "http://" + host + ":" + strconv.Itoa(int(port)), nil
}

// recheck asks for another look where no watch will announce the change.
func (p *Plan) recheck(rs *v1alpha1.RegionalService, seen Seen) {
	again := func(after time.Duration) {
		if p.RecheckAfter == 0 || after < p.RecheckAfter {
			p.RecheckAfter = after
		}
	}
	if p.Upstream != "" && gatewaysBehind(rs, seen) {
		again(recheckRouting)
	}
	if !seen.LeaseSettled {
		again(recheckRouting)
	}
	if len(p.Problems) > 0 {
		again(recheckProblem)
	}
	for _, in := range seen.incoming(rs) {
		// A lag within its objective can leave it after the rest of that at the earliest.
		again(max(in.within-in.Age, recheckLag))
		if !in.Known {
			again(recheckLag)
		}
	}
}

// problem notes what keeps the workload from being as declared.
func (p *Plan) problem(reason, message string) {
	p.Problems = append(p.Problems, Problem{Condition: v1alpha1.ConditionWorkloadAvailable, Reason: reason, Message: message})
}

// identity names an object whatever it was read from: its Go type and its name.
func identity(obj regional.Object) string { return fmt.Sprintf("%T/%s", obj, obj.GetName()) }

// find returns the object of the same kind and name, or nil.
func find(list []regional.Object, like regional.Object) regional.Object {
	for _, obj := range list {
		if identity(obj) == identity(like) {
			return obj
		}
	}
	return nil
}
