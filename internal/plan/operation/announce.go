package operation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/announcement"
	"multiactive.dev/operator/internal/plan/order"
)

// Show is the step of an Announce: from when a region has the text until it is taken away.
const Show = "Show"

// decideAnnounce has a text shown for a while. That takes no leader: the service's controller puts the texts of orders that
// are Running into the regions' slices, and takes them out when their time is up.
func decideAnnounce(now time.Time, o *v1alpha1.Operation, seen Seen) Plan {
	if o.Spec.Announce == nil || o.Spec.Service == nil {
		return refuseAnnounce(v1alpha1.ReasonOrderInvalid, "spec.announce: there is no text. Order anew with one")
	}
	begun := o.Status.State == v1alpha1.OperationRunning
	if reason, message := unannounceable(o.Spec, seen.Service); !begun && reason != "" {
		return refuseAnnounce(reason, message)
	}
	a, later := announcement.Joined(o, seen.Orders)
	switch {
	case a.Ended:
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "it is not shown any more: spec.announce.course says End")
	case later != "":
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "it is not shown any more: Operation "+later+
			", which is later, says something else for the same flows and regions")
	case seen.Service == nil || !seen.Service.DeletionTimestamp.IsZero():
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, fmt.Sprintf("it is not shown any more: MultiActiveService %s is gone",
			key(o.Spec.Service)))
	case !now.Before(a.Until) && begun:
		return answered(v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "it was shown until its time was up")
	case !now.Before(a.Until):
		return answered(v1alpha1.OperationFailed, v1alpha1.ReasonOrderFailed, "nobody took it up before its time was up, which counts from its "+
			"creation. Order it anew")
	}
	plan := showing(a, seen)
	plan.RecheckAfter = a.Until.Sub(now)
	return plan
}

func refuseAnnounce(reason, message string) Plan {
	return answered(v1alpha1.OperationRefused, reason, "refused, nothing was done: "+message)
}

// unannounceable says why an announcement cannot be shown, "" if it can: what it names is not there.
func unannounceable(spec v1alpha1.OperationSpec, mas *v1alpha1.MultiActiveService) (reason, message string) {
	switch {
	case mas == nil:
		return v1alpha1.ReasonOrderInvalid, noService(spec.Service)
	case !mas.DeletionTimestamp.IsZero():
		return v1alpha1.ReasonOrderRefused, fmt.Sprintf("spec.service: MultiActiveService %s is being deleted", key(spec.Service))
	}
	var flows []string
	for _, f := range mas.Spec.Flows {
		flows = append(flows, f.Name)
	}
	if unknown := missing(spec.Announce.Flows, append(flows, "*")); len(unknown) > 0 {
		return v1alpha1.ReasonOrderInvalid, fmt.Sprintf("spec.announce.flows: MultiActiveService %s has no flow %s; it has: %s. Order anew with these, or \"*\" for all",
			key(spec.Service), order.List(unknown), order.List(flows))
	}
	if unknown := missing(spec.Announce.Regions, regionsOf(mas)); len(unknown) > 0 {
		return v1alpha1.ReasonOrderInvalid, fmt.Sprintf("spec.announce.regions: MultiActiveService %s does not run in region %s; it runs in: %s. "+
			"Order anew with these, or without regions for all", key(spec.Service), order.List(unknown), order.List(regionsOf(mas)))
	}
	return "", ""
}

// missing returns what is named and not there.
func missing(named, there []string) []string {
	return slices.DeleteFunc(slices.Clone(named), func(n string) bool { return slices.Contains(there, n) })
}

// showing says which regions have the text, and which are waited for.
func showing(a announcement.Ordered, seen Seen) Plan {
	var in, waits []string
	for _, r := range seen.Service.Spec.Regions {
		if len(a.Regions) > 0 && !slices.Contains(a.Regions, r.Name) {
			continue
		}
		if why := withheld(a, r.Name, seen); why != "" {
			waits = append(waits, r.Name+" ("+why+")")
			continue
		}
		in = append(in, r.Name)
	}
	var said []string
	if len(in) > 0 {
		said = append(said, "gateways have it in "+strings.Join(in, ", "))
	}
	if len(waits) > 0 {
		said = append(said, "waits for "+strings.Join(waits, ", "))
	}
	message := fmt.Sprintf("%s; it ends at %s, or with spec.announce.course End", strings.Join(said, "; "), a.Until.UTC().Format(time.RFC3339))
	reason := v1alpha1.ReasonAnnounced
	if len(waits) > 0 {
		reason = v1alpha1.ReasonOrderRunning
	}
	plan := answered(v1alpha1.OperationRunning, reason, message)
	plan.shownIn = in
	return plan
}

// withheld says why a region's gateways do not have the text, "" when they do.
func withheld(a announcement.Ordered, region string, seen Seen) string {
	if len(seen.Services) == 0 {
		return onItsWay
	}
	slice, usable := seen.Services[0].Slices[region]
	switch {
	case !usable:
		return "the hub cannot use its cluster"
	case slice == nil || !announcement.Has(slice.Spec.Announcements, a):
		return onItsWay
	}
	c := meta.FindStatusCondition(slice.Status.Conditions, v1alpha1.ConditionGatewayReady)
	if c == nil || c.ObservedGeneration != slice.Generation {
		return "its member has not acted on it"
	}
	return ""
}

const onItsWay = "it is on its way"

// shown notes from when to when a text was shown.
func shown(now time.Time, o *v1alpha1.Operation, plan Plan) {
	if o.Spec.Type != v1alpha1.OperationAnnounce {
		return
	}
	switch {
	case len(plan.shownIn) > 0:
		s := step(o, Show)
		if s.StartedAt == nil {
			s.StartedAt = second(now)
		}
		s.Message = cut("in " + strings.Join(plan.shownIn, ", "))
	case has(o, Show) && Ended(o.Status.State) && step(o, Show).EndedAt == nil:
		step(o, Show).EndedAt = second(now)
	}
}
