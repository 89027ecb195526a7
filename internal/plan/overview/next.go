package overview

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/regionincident"
)

// Urgency says how soon a step is due.
type Urgency string

// The urgencies, most urgent first.
const (
	// Now: users of core flows are hit, or something waits for a person.
	Now Urgency = "Now"
	// Soon: something is not as declared.
	Soon Urgency = "Soon"
	// Note: on its way; nothing to do.
	Note Urgency = "Note"
)

var urgencies = []Urgency{Now, Soon, Note}

// Step is something to do, or to know.
type Step struct {
	Urgency Urgency `json:"urgency"`
	// About is the object, such as region/beijing or service/accounts/user.
	About string `json:"about"`
	// Reason of the condition that tells it.
	Reason string `json:"reason"`
	// Text says what is wrong, and what to do.
	Text string `json:"text"`
}

// waitsForPerson are the reasons of what goes on only after an order.
var waitsForPerson = []string{v1alpha1.ReasonHandbackAwaited, v1alpha1.ReasonFailoverAwaited}

// steps collects what there is to do.
type steps struct{ all []Step }

func (s *steps) add(u Urgency, about, reason, text string) {
	if !slices.ContainsFunc(s.all, func(have Step) bool { return have.Reason == reason && have.Text == text }) {
		s.all = append(s.all, Step{u, about, reason, text})
	}
}

// next says what to do, most urgent first.
func next(in Input) []Step {
	var s steps
	for i := range in.Services {
		s.service(&in.Services[i], in)
	}
	for i := range in.Incidents {
		s.incident(&in.Incidents[i])
	}
	for _, name := range names(in.Regions) {
		s.region(in.Regions[name], in)
	}
	for i := range in.Orders {
		s.order(&in.Orders[i])
	}
	slices.SortStableFunc(s.all, func(a, b Step) int { return slices.Index(urgencies, a.Urgency) - slices.Index(urgencies, b.Urgency) })
	return s.all
}

// good are the conditions of a service that a person has to know of when they are not so.
var good = []struct {
	kind   string
	status metav1.ConditionStatus
}{
	{v1alpha1.ConditionCoreAvailable, metav1.ConditionTrue},
	{v1alpha1.ConditionRegionsHealthy, metav1.ConditionTrue},
	{v1alpha1.ConditionDegraded, metav1.ConditionFalse},
	{v1alpha1.ConditionWorkloadsAvailable, metav1.ConditionTrue},
	{v1alpha1.ConditionTopicsReady, metav1.ConditionTrue},
	{v1alpha1.ConditionStoresReady, metav1.ConditionTrue},
	{v1alpha1.ConditionReplicationHealthy, metav1.ConditionTrue},
	{v1alpha1.ConditionRoutingReady, metav1.ConditionTrue},
	{v1alpha1.ConditionSpecInSync, metav1.ConditionTrue},
}

func (s *steps) service(mas *v1alpha1.MultiActiveService, in Input) {
	about := "service/" + mas.Namespace + "/" + mas.Name
	if mas.Status.ObservedGeneration == 0 {
		s.add(Soon, about, v1alpha1.ReasonNotYetObserved, "the hub has not looked at it yet: does the hub's manager run?")
		return
	}
	if !mas.DeletionTimestamp.IsZero() {
		s.condition(Soon, about, meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionReady))
		return
	}
	for _, g := range good {
		c := meta.FindStatusCondition(mas.Status.Conditions, g.kind)
		if c == nil || c.Status == g.status || g.kind == v1alpha1.ConditionRegionsHealthy && toldElsewhere(mas, c.Reason, in) {
			continue
		}
		if c.Status == metav1.ConditionUnknown && c.Reason == v1alpha1.ReasonRegionUnreachable {
			continue // the Region tells it
		}
		urgency := Soon
		switch {
		case g.kind == v1alpha1.ConditionCoreAvailable && c.Status == metav1.ConditionFalse, slices.Contains(waitsForPerson, c.Reason):
			urgency = Now
		case c.Reason == v1alpha1.ReasonProgressing, c.Reason == v1alpha1.ReasonSurvivorsScaling, c.Reason == v1alpha1.ReasonOwnershipChangePending, c.Reason == v1alpha1.ReasonNotYetObserved,
			c.Reason == v1alpha1.ReasonRegionInDrill:
			urgency = Note
		}
		s.condition(urgency, about, c)
	}
}

// toldElsewhere reports whether an incident, or a Region, says the same of the service's regions once for all services.
func toldElsewhere(mas *v1alpha1.MultiActiveService, reason string, in Input) bool {
	about := func(region string) bool {
		return slices.ContainsFunc(mas.Spec.Regions, func(r v1alpha1.ServiceRegion) bool { return r.Name == region })
	}
	switch reason {
	case v1alpha1.ReasonRegionLost, v1alpha1.ReasonRegionReturning, v1alpha1.ReasonHandbackAwaited, v1alpha1.ReasonFailoverAwaited:
		return slices.ContainsFunc(in.Incidents, func(i v1alpha1.RegionIncident) bool {
			c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionResolved)
			return about(i.Spec.Region) && !regionincident.Over(i.Status.State) && c != nil && (c.Reason == reason || !slices.Contains(waitsForPerson, reason))
		})
	case v1alpha1.ReasonRegionDrained:
		for name, rg := range in.Regions {
			if about(name) && rg.Status.State == v1alpha1.RegionDrained {
				return true
			}
		}
	case v1alpha1.ReasonRegionInDrill:
		for name, rg := range in.Regions {
			if c := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionServing); about(name) && c != nil && c.Reason == reason {
				return true
			}
		}
	}
	return false
}

// whole are the conditions whose messages need no title.
var whole = []string{v1alpha1.ConditionCoreAvailable, v1alpha1.ConditionRegionsHealthy, v1alpha1.ConditionDegraded, v1alpha1.ConditionReady}

// condition adds what a condition says.
func (s *steps) condition(u Urgency, about string, c *metav1.Condition) {
	switch {
	case c == nil:
	case slices.Contains(whole, c.Type):
		s.add(u, about, c.Reason, c.Message)
	default:
		s.add(u, about, c.Reason, c.Type+": "+c.Message)
	}
}

func (s *steps) incident(i *v1alpha1.RegionIncident) {
	if regionincident.Over(i.Status.State) {
		return
	}
	c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionResolved)
	switch {
	case c == nil || c.Status == metav1.ConditionTrue:
	case slices.Contains(waitsForPerson, c.Reason):
		s.add(Now, "incident/"+i.Name, c.Reason, c.Message)
	case i.Status.State == v1alpha1.IncidentLost || i.Status.State == v1alpha1.IncidentReturning: // the Region says more
	default:
		s.add(Soon, "incident/"+i.Name, c.Reason, c.Message)
	}
}

// region says what is wrong with a region, unless an incident says that it waits for a person. Of one that is lost it
// says what keeps it from returning; that its cluster does not answer goes without saying.
func (s *steps) region(rg *v1alpha1.Region, in Input) {
	about := "region/" + rg.Name
	c := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionReady)
	serving := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionServing)
	switch {
	case c == nil:
		s.add(Soon, about, v1alpha1.ReasonNotYetObserved, "the hub has not looked at it yet: does the hub's manager run?")
	case c.Status == metav1.ConditionTrue:
	case serving != nil && slices.Contains(waitsForPerson, serving.Reason):
		if !outageOf(rg.Name, in) { // else the incident says it
			s.add(Now, about, serving.Reason, serving.Message)
		}
	case serving != nil && (serving.Reason == v1alpha1.ReasonRegionLost || serving.Reason == v1alpha1.ReasonRegionReturning):
		s.add(Soon, about, serving.Reason, serving.Message)
	case c.Reason == v1alpha1.ReasonRegionDrained, c.Reason == v1alpha1.ReasonRegionInDrill:
		s.add(Note, about, c.Reason, strings.TrimPrefix(c.Message, v1alpha1.ConditionServing+": "))
	default:
		s.add(Soon, about, c.Reason, c.Message)
	}
}

// outageOf reports whether a region has an open incident.
func outageOf(region string, in Input) bool {
	return slices.ContainsFunc(in.Incidents, func(i v1alpha1.RegionIncident) bool {
		return i.Spec.Region == region && !regionincident.Over(i.Status.State)
	})
}

func (s *steps) order(op *v1alpha1.Operation) {
	o := orderOf(op)
	switch o.State {
	case v1alpha1.OperationPending, v1alpha1.OperationRunning:
		said := ""
		if o.Text != "" {
			said = fmt.Sprintf("%q; ", o.Text)
		}
		s.add(Note, "order/"+o.Name, string(o.Type), fmt.Sprintf("%s %s is %s: %s%s", o.Type, strings.TrimSpace(o.Region+" "+o.Service), strings.ToLower(string(o.State)), said, o.Message))
	case v1alpha1.OperationSucceeded, v1alpha1.OperationFailed, v1alpha1.OperationRefused:
	}
}

func names(regions map[string]*v1alpha1.Region) []string {
	out := make([]string, 0, len(regions))
	for name := range regions {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
