package multiactiveservice

import (
	stdslices "slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/dns"
	"multiactive.dev/operator/internal/plan/condition"
	"multiactive.dev/operator/internal/plan/flows"
	"multiactive.dev/operator/internal/plan/recheck"
)

// DNSSeen is what one cluster has of a service's DNSEndpoint. With several hubs every one of them keeps that of its
// own cluster, from the view that all agree on, so that they are the same: were it the leader's alone, each change of
// leader would take records away in one cluster before another has written them.
type DNSSeen struct {
	// Owner is the UID of the cluster's own object of the service.
	Owner types.UID
	// Object is nil when there is none; after a step what it has made.
	Object *unstructured.Unstructured
	// Problem is why it could not be read, or written in this pass.
	Problem *StageError
}

// How soon a DNSEndpoint is looked at again: it is not watched, for a watch could not begin before ExternalDNS is
// installed.
const (
	dnsSettled   = 10 * time.Minute
	dnsUnsettled = time.Minute
)

// LooksForDNS reports whether a service may have a DNSEndpoint: it declares one, or did when it was last reported on.
func LooksForDNS(mas *v1alpha1.MultiActiveService) bool {
	c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionDNSReady)
	return mas.Spec.DNS != nil || c != nil && c.Reason != v1alpha1.ReasonNoDNS && c.Reason != v1alpha1.ReasonNotYetObserved
}

// decideDNS adds what to do about this cluster's DNSEndpoint. One of a service that is deleted goes with it.
func (s Seen) decideDNS(mas *v1alpha1.MultiActiveService, plan *Plan) {
	if s.DNS == nil || !mas.DeletionTimestamp.IsZero() {
		return
	}
	if mas.Spec.DNS == nil {
		if s.DNS.Object != nil && s.DNS.Problem == nil && dns.Owned(s.DNS.Object, mas) && !s.frozen() {
			plan.Steps = append(plan.Steps, Step{Kind: StepDeleteDNS})
		}
		return
	}
	again := dnsUnsettled
	if _, hindered := s.dnsHindrance(mas); !hindered {
		want := dns.Endpoint(mas, s.DNS.Owner, s.resolved(mas))
		if s.writtenDNS(want) {
			again = dnsSettled
		} else {
			plan.Steps = append(plan.Steps, Step{Kind: StepWriteDNS, DNS: want})
		}
	}
	plan.RecheckAfter = recheck.Sooner(plan.RecheckAfter, again)
}

func (s Seen) frozen() bool { return s.Peers != nil && s.Peers.frozen() != "" }

// writtenDNS reports whether the cluster has the object. One that cannot be compared is written.
func (s Seen) writtenDNS(want *unstructured.Unstructured) bool {
	if s.DNS.Object == nil {
		return false
	}
	same, err := dns.UpToDate(want, s.DNS.Object)
	return err == nil && same
}

// dnsHindrance says why the records are left as they are.
func (s Seen) dnsHindrance(mas *v1alpha1.MultiActiveService) (problem, bool) {
	is := func(status metav1.ConditionStatus, reason, message string) (problem, bool) {
		return problem{status: status, reason: reason, message: message}, true
	}
	host := mas.Spec.DNS.Host
	_, accepted := s.record(string(mas.UID))
	switch flaw := dns.Flaw(mas.Spec); {
	case !s.StoreKnown || !s.StoreConnected:
		return is(metav1.ConditionUnknown, v1alpha1.ReasonStoreUnreachable, condition.StoreUnread(s.StoreProblem))
	case s.frozen():
		return is(metav1.ConditionFalse, v1alpha1.ReasonNoMajority, s.Peers.frozen())
	case !dns.Allowed(s.DNSHosts, host):
		return is(metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed, "namespace "+mas.Namespace+" may not have records of "+host+
			": ask the platform team to add it to the namespace's annotation "+v1alpha1.AnnotationDNSHosts)
	case s.DNSHostOf != "":
		return is(metav1.ConditionFalse, v1alpha1.ReasonHostTaken, "service "+s.DNSHostOf+" declared "+host+
			" before this one, and has its records: name another host, or take dns out there")
	case flaw != "":
		return is(metav1.ConditionFalse, v1alpha1.ReasonTargetsUnfit, flaw)
	case s.DNS == nil:
		return is(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the service is let go of in this cluster")
	case s.DNS.Problem != nil:
		return is(metav1.ConditionFalse, s.DNS.Problem.Reason, s.DNS.Problem.Message)
	case s.DNS.Object != nil && !dns.Owned(s.DNS.Object, mas):
		return is(metav1.ConditionFalse, v1alpha1.ReasonNotOurs, "DNSEndpoint "+mas.Namespace+"/"+mas.Name+
			" was not made for this service and is left alone: delete it, or rename the service")
	case !accepted:
		return is(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "waiting for the coordination store's leader to accept the service")
	case len(s.resolved(mas)) == 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonNoServingRegion, "no region serves the service; records that were written stay as they are")
	}
	return problem{}, false
}

// resolved returns the declared regions that users are to be sent to.
func (s Seen) resolved(mas *v1alpha1.MultiActiveService) []string {
	var out []string
	for _, r := range mas.Spec.Regions {
		if s.unresolved(mas, r.Name) == "" {
			out = append(out, r.Name)
		}
	}
	return out
}

// unresolved says why users are not sent to a region; empty when they are.
func (s Seen) unresolved(mas *v1alpha1.MultiActiveService, name string) string {
	record, _ := s.record(string(mas.UID))
	reason, _ := s.refusal(mas, name)
	at := s.region(name)
	reports := at.Slice != nil && at.Slice.Status.Gateway != nil && !foreign(mas, at.Slice)
	switch state := s.Configuration.View.Regions[name].State; {
	case reason != "":
		return "may not run it"
	case !flows.Serves(s.Configuration.View, name) && state == "":
		return "not in the agreed view"
	case !flows.Serves(s.Configuration.View, name):
		return strings.ToLower(string(state))
	case !stdslices.Contains(record.Regions, name):
		return "not accepted yet"
	case stdslices.Contains(record.Excluded, name):
		return "drained"
	case reports && at.Slice.Status.Gateway.Desired > 0 && at.Slice.Status.Gateway.Ready == 0:
		return "no gateway is ready"
	}
	return ""
}

// dns tells whether the records lead to the regions that serve.
func (r reporter) dns() {
	const kind = v1alpha1.ConditionDNSReady
	d := r.seen.DNS
	if r.mas.Spec.DNS == nil {
		r.noDNS(d)
		return
	}
	if r.deleting(kind) {
		return
	}
	if p, hindered := r.seen.dnsHindrance(r.mas); hindered {
		r.set.Put(kind, p.status, p.reason, p.message)
		return
	}
	resolved := r.seen.resolved(r.mas)
	if !r.seen.writtenDNS(dns.Endpoint(r.mas, d.Owner, resolved)) {
		r.set.False(kind, v1alpha1.ReasonProgressing, "being written")
		return
	}
	var out []string
	for _, declared := range r.mas.Spec.Regions {
		if why := r.seen.unresolved(r.mas, declared.Name); why != "" {
			out = append(out, declared.Name+" ("+why+")")
		}
	}
	left := ""
	if len(out) > 0 {
		left = "; left out: " + strings.Join(out, ", ")
	}
	r.set.True(kind, v1alpha1.ReasonAsDeclared, "DNSEndpoint %s/%s has %s lead to %s%s", r.mas.Namespace, r.mas.Name, r.mas.Spec.DNS.Host,
		strings.Join(resolved, ", "), left)
}

// noDNS tells of a service without dns, which may have had a DNSEndpoint.
func (r reporter) noDNS(d *DNSSeen) {
	const kind, undeclared = v1alpha1.ConditionDNSReady, "the service declares no dns"
	switch {
	case d != nil && d.Problem != nil:
		r.set.False(kind, d.Problem.Reason, undeclared+" any more, and its DNSEndpoint is to be deleted: %s", d.Problem.Message)
	case d != nil && d.Object != nil && dns.Owned(d.Object, r.mas):
		r.set.False(kind, v1alpha1.ReasonProgressing, undeclared+" any more, and its DNSEndpoint is to be deleted")
	default:
		r.set.True(kind, v1alpha1.ReasonNoDNS, undeclared)
	}
}
